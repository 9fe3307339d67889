// SPDX-License-Identifier: Apache-2.0
#include "examples/common/text/wordpiece.hpp"

#include <algorithm>
#include <utility>

#include <smx/core/check.hpp>
#include <smx/io/file_error.hpp>
#include <smx/io/mapped_file.hpp>

namespace smx_examples {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

/// What `tokenizers` makes of each token after the blank was put before it.
void clean_up(std::string& token) {
  constexpr std::pair<std::string_view, std::string_view> rules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (auto const& [from, to] : rules) replace_all(token, from, to);
}

}  // namespace

wordpiece_tokenizer wordpiece_tokenizer::from_vocabulary_file(std::string const& file,
                                                              bert_normalizer const& normaliser) {
  smx::mapped_file const mapped(file);
  std::string_view text(reinterpret_cast<char const*>(mapped.bytes().data()), mapped.bytes().size());
  wordpiece_tokenizer out;
  out.normaliser_ = normaliser;
  try {
    expects_utf8(text, "vocabulary");
    for (token_id id = 0; !text.empty(); ++id) {
      std::size_t const end = text.find('\n');
      std::string_view line = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.empty()) throw smx::precondition_error("line " + std::to_string(id + 1) + " is empty");
      out.tokens_.add(std::string(line), id);
    }
    out.model_ = out.tokens_;
    out.unknown_ = out.tokens_.at("[UNK]");
    out.frame_ = {{out.tokens_.at("[CLS]")}, {out.tokens_.at("[SEP]")}};
  } catch (smx::precondition_error const& e) { throw smx::file_error(file, e.what()); }
  for (char const* const name : {"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"})
    if (auto const id = out.tokens_.find(name)) out.added_.add({.content = name, .id = *id}, name);
  return out;
}

wordpiece_tokenizer wordpiece_tokenizer::from_tokenizer_json(std::string const& file) {
  return from_tokenizer_json(read_json(file), file);
}

wordpiece_tokenizer wordpiece_tokenizer::from_tokenizer_json(nlohmann::json const& json,
                                                             std::string const& file) {
  wordpiece_tokenizer out;
  json_fields root(json, file);
  check_version(root);

  json_fields model = root.object("model");
  if (model.text("type") != "WordPiece") model.fail_expected("type", "WordPiece");
  out.tokens_ = out.model_ = read_vocabulary(model);
  auto const unknown = out.model_.find(model.text("unk_token"));
  if (!unknown) model.fail_expected("unk_token", "a token of the vocabulary");
  out.unknown_ = *unknown;
  out.prefix_ = model.text("continuing_subword_prefix");
  auto const longest = model.integer("max_input_chars_per_word");
  if (longest < 1 || longest > 10000) model.fail_expected("max_input_chars_per_word", "1 to 10000");
  out.max_characters_ = static_cast<std::size_t>(longest);
  model.done();

  out.normaliser_ = {
      .clean_text = false, .handle_chinese_chars = false, .strip_accents = false, .lowercase = false};
  if (root.has("normalizer")) {
    json_fields normalizer = root.object("normalizer");
    if (normalizer.text("type") != "BertNormalizer") normalizer.fail_expected("type", "BertNormalizer");
    out.normaliser_.clean_text = normalizer.flag("clean_text");
    out.normaliser_.handle_chinese_chars = normalizer.flag("handle_chinese_chars");
    out.normaliser_.lowercase = normalizer.flag("lowercase");
    if (normalizer.has("strip_accents"))
      out.normaliser_.strip_accents = normalizer.flag("strip_accents");
    else
      out.normaliser_.strip_accents.reset();
    normalizer.done();
  }

  json_fields words = root.object("pre_tokenizer");
  if (words.text("type") != "BertPreTokenizer") words.fail_expected("type", "BertPreTokenizer");
  words.done();

  if (root.has("decoder")) {
    json_fields decoder = root.object("decoder");
    if (decoder.text("type") != "WordPiece") decoder.fail_expected("type", "WordPiece");
    out.decoder_prefix_ = decoder.text("prefix");
    out.clean_up_ = decoder.flag("cleanup");
    decoder.done();
  }

  out.added_ = read_added_tokens(root, out.tokens_, &out.normaliser_);
  out.frame_ = read_frame(root, out.tokens_);
  root.done();
  return out;
}

std::vector<token_id> wordpiece_tokenizer::encode(std::string_view text, token_id max_tokens,
                                                  special_tokens special) const {
  expects_utf8(text);
  std::size_t const limit = room_for_text(frame_, max_tokens, special);
  std::vector<token_id> ids;
  for (text_part const& raw : added_.split(text, false)) {
    if (ids.size() >= limit) break;
    if (raw.token != nullptr) {
      ids.push_back(raw.token->id);
      continue;
    }
    std::string const normal = normaliser_(raw.text);
    for (text_part const& part : added_.split(normal, true))
      if (part.token != nullptr)
        ids.push_back(part.token->id);
      else
        append_words(ids, part.text, limit);
  }
  return framed(std::move(ids), frame_, max_tokens, special);
}

/// Stops when there are `limit` ids.
void wordpiece_tokenizer::append_words(std::vector<token_id>& out, std::string_view text,
                                       std::size_t limit) const {
  std::size_t begin = 0, characters = 0;  // the word before `at`
  for (std::size_t at = 0; at < text.size() && out.size() < limit;) {
    auto const [c, bytes] = first_code_point(text.substr(at));
    bool const blank = is_whitespace(c), alone = is_bert_punctuation(c);
    if (blank || alone) {
      if (characters > 0) append_pieces(out, text.substr(begin, at - begin), characters);
      if (alone) append_pieces(out, text.substr(at, bytes), 1);
      begin = at + bytes;
      characters = 0;
    } else {
      ++characters;
    }
    at += bytes;
  }
  if (characters > 0 && out.size() < limit) append_pieces(out, text.substr(begin), characters);
}

void wordpiece_tokenizer::append_pieces(std::vector<token_id>& out, std::string_view word,
                                        std::size_t characters) const {
  if (characters > max_characters_) {
    out.push_back(unknown_);
    return;
  }
  std::size_t const before = out.size();
  std::string piece;
  for (std::string_view rest = word; !rest.empty();) {
    piece = rest.size() == word.size() ? "" : prefix_;
    std::size_t const lead = piece.size();
    piece += rest.substr(0, model_.longest());  // nothing longer can be found
    std::optional<token_id> id;
    while (piece.size() > lead && !(id = model_.find(piece))) {
      while ((static_cast<unsigned char>(piece.back()) & 0xC0) == 0x80) piece.pop_back();
      piece.pop_back();
    }
    if (!id) {
      out.resize(before);
      out.push_back(unknown_);
      return;
    }
    out.push_back(*id);
    rest.remove_prefix(piece.size() - lead);
  }
}

std::string wordpiece_tokenizer::decode(std::span<token_id const> ids, special_tokens special) const {
  std::string text;
  bool first = true;
  for (token_id const id : ids) {
    std::string token = tokens_.token(id);
    if (added_token const* const added = added_.find(id);
        added != nullptr && added->special && special == special_tokens::without)
      continue;
    if (!std::exchange(first, false)) {
      if (!decoder_prefix_.empty() && token.starts_with(decoder_prefix_))
        token.erase(0, decoder_prefix_.size());
      else
        token.insert(0, " ");
    }
    if (clean_up_) clean_up(token);
    text += token;
  }
  return text;
}

}  // namespace smx_examples
