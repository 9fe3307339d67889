// SPDX-License-Identifier: Apache-2.0
/// \file  Byte pairs and bytes by hand: GPT-2's pattern, the order of merges, exactness, refusals.
#include <string>
#include <string_view>
#include <vector>

#include <smx/core/check.hpp>
#include <smx/io/file_error.hpp>

#include "examples/common/text/byte_pair.hpp"
#include "examples/common/text/tokenizer.hpp"
#include "tests/catch.hpp"
#include "tests/examples/text/tokenizer_json.hpp"

using namespace smx_examples;
using ids = std::vector<token_id>;

namespace {

byte_pair_tokenizer make(nlohmann::json const& json) {
  return byte_pair_tokenizer::from_tokenizer_json(json, "tokenizer.json");
}
byte_pair_tokenizer with_merges(std::vector<std::string> const& merges) {
  return make(test::byte_pair_json(merges));
}

/// The pieces with a bar between them.
std::string pieces(std::string_view text) {
  std::string out;
  for (auto const piece : split_as_gpt2(text)) {
    if (!out.empty()) out += '|';
    out += piece;
  }
  return out;
}

constexpr token_id byte(char c) { return static_cast<unsigned char>(c) + 1; }

}  // namespace

TEST_CASE("GPT-2's pattern") {
  CHECK(pieces("") == "");
  CHECK(pieces("Hello world") == "Hello| world");
  CHECK(pieces("abc123 45x") == "abc|123| 45|x");
  CHECK(pieces("wait... what?!") == "wait|...| what|?!");
  CHECK(pieces("a_b $5") == "a|_|b| $|5");
  // contractions: lower case only, before all else, and not after another sign of their run
  CHECK(pieces("I've you're he'd it's can't I'm we'll") ==
        "I|'ve| you|'re| he|'d| it|'s| can|'t| I|'m| we|'ll");
  CHECK(pieces("IT'S") == "IT|'|S");
  CHECK(pieces("'sabc") == "'s|abc");
  CHECK(pieces("x 'sx") == "x| '|sx");
  CHECK(pieces("!'s") == "!'|s");
  CHECK(pieces("''s") == "''|s");
  CHECK(pieces("'r") == "'|r");
  // white space: the last one goes with what follows if it is a blank
  CHECK(pieces("a  b") == "a| | b");
  CHECK(pieces("a   b") == "a|  | b");
  CHECK(pieces("a\nb") == "a|\n|b");
  CHECK(pieces("a\n\nb") == "a|\n|\n|b");
  CHECK(pieces("a \nb") == "a| |\n|b");
  CHECK(pieces("a\n b") == "a|\n| b");
  CHECK(pieces("a\t b") == "a|\t| b");
  CHECK(pieces("a  ") == "a|  ");
  CHECK(pieces(" ") == " ");
  CHECK(pieces("  ") == "  ");
  CHECK(pieces(" a") == " a");
  CHECK(pieces("a\u00A0b") == "a|\u00A0|b");
  CHECK(pieces("a\u3000\u3000 b") == "a|\u3000\u3000| b");
  CHECK(pieces("a\u200Bb") == "a|\u200B|b");  // not white space
  // categories: letters of any script, numbers of any kind, marks are neither
  CHECK(pieces("\u00E9t\u00E9 \u4E2D\u6587\u0436") == "\u00E9t\u00E9| \u4E2D\u6587\u0436");
  CHECK(pieces("x\u00B2\u00BD\u2460") == "x|\u00B2\u00BD\u2460");
  CHECK(pieces("e\u0301x") == "e|\u0301|x");
  CHECK(pieces(" \U0001F600\u20AC.") == " \U0001F600\u20AC.");
}

TEST_CASE("Byte pairs: the lowest rank first, the leftmost of equals") {
  auto const t = with_merges({"a b", "b c", "ab c", "a a"});  // 257 ab, 258 bc, 259 abc, 260 aa
  CHECK(t.encode("abc") == ids{259});
  CHECK(t.encode("bc") == ids{258});
  CHECK(t.encode("xbcx") == ids{byte('x'), 258, byte('x')});
  CHECK(t.encode("aaa") == ids{260, byte('a')});
  CHECK(t.encode("aab") == ids{byte('a'), 257});  // ab has the lower rank
  CHECK(t.encode("aaaaa") == ids{260, 260, byte('a')});
  CHECK(t.encode("a b") == ids{byte('a'), byte(' '), byte('b')});  // never across pieces
  CHECK(t.encode("").empty());
  CHECK(with_merges({"b c", "a b", "a bc"}).encode("abc") == ids{259});
  CHECK(t.vocabulary_size() == 261);
}

TEST_CASE("Byte pairs: bytes of characters and blanks, merges as pairs") {
  auto json = test::byte_pair_json({"\u0120 t", "\u00C3 \u00A9"});  // " t", and the two bytes of e acute
  json["model"]["merges"] = nlohmann::json::parse(R"([["\u0120", "t"], ["\u00C3", "\u00A9"]])");
  auto const t = make(json);
  CHECK(t.encode("a t") == ids{byte('a'), 257});
  CHECK(t.encode("\u00E9") == ids{258});
  CHECK(t.decode(ids{258}) == "\u00E9");
  CHECK(t.decode(ids{257, byte('\xC3')}) == " t\xC3");  // half a character is given as it is
}

TEST_CASE("Byte pairs: every text comes back") {
  auto const t = with_merges({"t h", "th e", "\u0120 the", "e r", "\u0120 \u0120", "\u00C3 \u00A9"});
  std::string every;
  for (char32_t c = 0; c < 0x3000; c += c < 0x180 ? 1 : 37) append_utf8(every, c);
  append_utf8(every, 0x1F600);
  for (std::string const& text :
       {std::string("the other  there\n\n the "), every, std::string("<|end|> a <|end|>"),
        std::string("\0\0", 2), std::string("\u00E9\u00E9 e\u0301")}) {
    CHECK(t.decode(t.encode(text)) == text);
  }
  CHECK(t.encode("a<|end|>b") == ids{byte('a'), 0, byte('b')});
  CHECK(t.decode(ids{byte('a'), 0, byte('b')}, special_tokens::without) == "ab");
  CHECK_THROWS_WITH(t.decode(ids{263}),
                    test::contains("token id: expected that of a token, below 263, got 263"));
}

TEST_CASE("Byte pairs: a long piece does not take quadratic time") {
  auto const t = with_merges({"a a", "aa aa", "aaaa aaaa"});
  CHECK(t.encode(std::string(1 << 20, 'a')).size() == 1 << 17);
}

TEST_CASE(
    "Byte pairs: options: a blank before the text, no pattern, whole pieces, added tokens, a template") {
  auto json = test::byte_pair_json({"\u0120 a", "a b"});
  json["pre_tokenizer"]["add_prefix_space"] = true;
  CHECK(make(json).encode("a") == ids{257});
  CHECK(make(json).encode(" a") == ids{257});
  CHECK(make(json).encode("\ta") == ids{byte(' '), byte('\t'), byte('a')});
  CHECK(make(json).encode("a<|end|>ab") == ids{257, 0, 257, byte('b')});
  CHECK(make(json).encode("").empty());

  json = test::byte_pair_json({"a \u0120", "a b"});
  CHECK(make(json).encode("a b") == ids{byte('a'), byte(' '), byte('b')});
  json["pre_tokenizer"]["use_regex"] = false;
  CHECK(make(json).encode("a b") == ids{257, byte('b')});

  json = test::byte_pair_json({"a b", "b c", "a bc"});
  json["model"]["merges"] = {"a b", "b c"};
  CHECK(make(json).encode("abc abcx") == ids{257, byte('c'), byte(' '), 257, byte('c'), byte('x')});
  json["model"]["ignore_merges"] = true;
  CHECK(make(json).encode("abc abcx") == ids{259, byte(' '), 257, byte('c'), byte('x')});

  json = test::byte_pair_json({"a b"});
  json["added_tokens"].push_back(test::added_token("\u00E9 x", 258));  // not spelled in bytes
  json["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, {{"SpecialToken", {{"id", "end"}, {"type_id", 0}}}}}},
      {"pair", nlohmann::json::array()},
      {"special_tokens", {{"end", {{"id", "end"}, {"ids", {0}}, {"tokens", {"<|end|>"}}}}}}};
  auto const t = make(json);
  CHECK(t.encode("ab\u00E9 x") == ids{257, 258, 0});
  CHECK(t.decode(ids{257, 258}) == "ab\u00E9 x");
  CHECK(t.encode("abx", 2) == ids{257, 0});
  CHECK(t.encode("abx", 2, special_tokens::without) == ids{257, byte('x')});
  CHECK_THROWS_WITH(t.encode("a", 0), test::contains("max_tokens: expected at least 1, got 0"));
  CHECK_THROWS_WITH(t.encode("a\x80"), test::contains("text: expected UTF-8, got byte 0x80 at offset 1"));
}

TEST_CASE("Byte pairs: what is not supported or wrong is refused by name") {
  struct wrong {
    char const* pointer;
    nlohmann::json value;
    char const* message;
  };
  for (auto const& [pointer, value, message] : {
           wrong{"/model/type", "WordPiece", "model.type: expected BPE, got \"WordPiece\""},
           wrong{"/model/dropout", 0.1, "model.dropout: expected null or 0.0, got 0.1"},
           wrong{"/model/byte_fallback", true, "model.byte_fallback: expected null or false, got true"},
           wrong{"/model/end_of_word_suffix", "</w>",
                 "model.end_of_word_suffix: expected null or \"\", got \"</w>\""},
           wrong{"/model/continuing_subword_prefix", "##",
                 "model.continuing_subword_prefix: expected null or \"\""},
           wrong{"/model/merges/0", "a b c",
                 "model.merges[0]: expected two tokens and a blank between them, got 'a b c'"},
           wrong{"/model/merges/0", "ab", "model.merges[0]: expected two tokens and a blank"},
           wrong{"/model/merges/0", 7, "model.merges[0]: expected two tokens"},
           wrong{"/model/merges/0", "a xyz", "model.merges[0]: 'xyz' is not in the vocabulary"},
           wrong{"/model/merges/0", "b a", "model.merges[0]: 'ba' is not in the vocabulary"},
           wrong{"/model/merges/1", "a b", "model.merges[1]: 'a' and 'b' are there twice"},
           wrong{"/model/merges", nullptr, "model.merges: expected an array, got null"},
           wrong{"/normalizer", {{"type", "NFC"}}, "normalizer: expected null, got an object"},
           wrong{"/pre_tokenizer/type", "Sequence",
                 "pre_tokenizer.type: expected ByteLevel, got \"Sequence\""},
           wrong{"/pre_tokenizer/pattern", "x", "pre_tokenizer.pattern: not supported"},
           wrong{"/decoder/type", "Metaspace", "decoder.type: expected ByteLevel, got \"Metaspace\""},
           wrong{"/post_processor/type", "RobertaProcessing",
                 "post_processor.type: expected TemplateProcessing"},
       }) {
    auto json = test::byte_pair_json({"a b", "b c"});
    json[nlohmann::json::json_pointer(pointer)] = value;
    CAPTURE(pointer);
    CHECK_THROWS_WITH(make(json), test::contains(std::string("tokenizer.json: ") + message));
    CHECK_THROWS_AS(make(json), smx::file_error);
  }
  auto json = test::byte_pair_json({"a b"});
  json["model"]["vocab"].erase("\u0100");
  CHECK_THROWS_WITH(make(json), test::contains("model.vocab: expected all 256 bytes, got none for byte 0"));
}

TEST_CASE("Bytes are a tokenizer") {
  byte_tokenizer const t;
  std::string every;
  for (int b = 0; b < 256; ++b) every += static_cast<char>(b);
  CHECK(t.decode(t.encode(every)) == every);
  CHECK(t.encode("a\xFF") == ids{97, 255});
  CHECK(t.encode("abc", 2) == ids{97, 98});
  CHECK(t.encode("").empty());
  CHECK(t.vocabulary_size() == 256);
  CHECK_THROWS_WITH(t.decode(ids{256}), test::contains("token id: expected a byte, got 256"));
  CHECK_THROWS_AS(t.decode(ids{-1}), smx::precondition_error);
  CHECK_THROWS_AS(t.encode("a", 0), smx::precondition_error);
}

TEST_CASE("A tokenizer of any kind") {
  test::temporary_folder const folder;
  tokenizer const bytes;
  CHECK(bytes.encode("ab") == ids{97, 98});
  CHECK(bytes.decode(ids{97, 98}) == "ab");
  CHECK(bytes.vocabulary_size() == 256);
  CHECK(std::string(bytes.kind()) == "bytes");

  test::write_file(folder / "vocab.txt", "[UNK]\n[CLS]\n[SEP]\na\n");
  tokenizer const words = tokenizer::load(folder / "");
  CHECK(words.encode("a b") == ids{1, 3, 0, 2});
  CHECK(words.encode("a b", 3) == ids{1, 3, 2});
  CHECK(words.decode(ids{1, 3, 2}, special_tokens::without) == "a");
  CHECK(std::string(words.kind()) == "word pieces");
  CHECK(std::holds_alternative<wordpiece_tokenizer>(words.which()));

  test::write_file(folder / "tokenizer.json", test::byte_pair_json({"a b"}).dump());
  tokenizer const pairs = tokenizer::load(folder / "");  // before vocab.txt
  CHECK(pairs.encode("ab") == ids{257});
  CHECK(pairs.vocabulary_size() == 258);
  CHECK(std::string(pairs.kind()) == "byte pairs");
  test::write_file(folder / "w.json", test::wordpiece_json({"a"}).dump());
  CHECK(tokenizer::load(folder / "w.json").encode("a") == ids{2, 5, 3});

  test::write_file(folder / "x.json", R"({"model": {"type": "Unigram"}})");
  CHECK_THROWS_WITH(tokenizer::load(folder / "x.json"),
                    test::contains("x.json: model.type: expected BPE or WordPiece"));
  CHECK_THROWS_AS(tokenizer::load(folder / "missing.json"), smx::file_error);
  std::filesystem::create_directory(folder / "empty");
  CHECK_THROWS_WITH(tokenizer::load(folder / "empty"),
                    test::contains("expected a tokenizer.json or a vocab.txt"));
}
