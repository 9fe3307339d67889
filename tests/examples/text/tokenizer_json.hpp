// SPDX-License-Identifier: Apache-2.0
/// \file  Small tokenizer.json files for the tests, to be changed in one place each.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "examples/common/text/unicode.hpp"
#include "tests/io/temporary_folder.hpp"

namespace test {

inline nlohmann::json added_token(std::string const& content, int id, bool special = true) {
  return {{"id", id},        {"content", content},     {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", !special}, {"special", special}};
}

/// WordPiece with the words given, after [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4.
inline nlohmann::json wordpiece_json(std::vector<std::string> const& words) {
  nlohmann::json vocab, added = nlohmann::json::array();
  int id = 0;
  for (char const* const token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) {
    added.push_back(added_token(token, id));
    vocab[token] = id++;
  }
  for (auto const& word : words) vocab[word] = id++;
  nlohmann::json const cls{{"SpecialToken", {{"id", "[CLS]"}, {"type_id", 0}}}};
  nlohmann::json const sep{{"SpecialToken", {{"id", "[SEP]"}, {"type_id", 0}}}};
  nlohmann::json const text{{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer",
           {{"type", "BertNormalizer"},
            {"clean_text", true},
            {"handle_chinese_chars", true},
            {"strip_accents", nullptr},
            {"lowercase", true}}},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single", nlohmann::json::array({cls, text, sep})},
            {"pair", nlohmann::json::array()},
            {"special_tokens",
             {{"[CLS]", {{"id", "[CLS]"}, {"ids", {2}}, {"tokens", {"[CLS]"}}}},
              {"[SEP]", {{"id", "[SEP]"}, {"ids", {3}}, {"tokens", {"[SEP]"}}}}}}}},
          {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
          {"model",
           {{"type", "WordPiece"},
            {"unk_token", "[UNK]"},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 100},
            {"vocab", vocab}}}};
}

/// Byte pairs: <|end|> is 0, the byte b has the id b + 1, the result of merge m has 257 + m.
inline nlohmann::json byte_pair_json(std::vector<std::string> const& merges) {
  nlohmann::json vocab{{"<|end|>", 0}};
  char32_t next = 0x100;
  for (char32_t b = 0; b < 256; ++b) {
    bool const shows = (b > 0x20 && b < 0x7F) || (b > 0xA0 && b != 0xAD);
    char32_t const c = shows ? b : next++;
    vocab[smx_examples::encode_utf8({&c, 1})] = b + 1;
  }
  int id = 257;
  for (std::string merged : merges) {
    merged.erase(merged.find(' '), 1);
    vocab[merged] = id++;
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", nlohmann::json::array({added_token("<|end|>", 0)})},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
          {"post_processor", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", false}}},
          {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", ""},
            {"end_of_word_suffix", ""},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"vocab", vocab},
            {"merges", merges}}}};
}

}  // namespace test
