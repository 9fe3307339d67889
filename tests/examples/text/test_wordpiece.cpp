// SPDX-License-Identifier: Apache-2.0
/// \file  WordPiece by hand: small vocabularies, every rule and every refusal.
#include <string>
#include <thread>
#include <vector>

#include <smx/core/check.hpp>
#include <smx/io/file_error.hpp>

#include "examples/common/text/wordpiece.hpp"
#include "tests/catch.hpp"
#include "tests/examples/text/tokenizer_json.hpp"

using namespace smx_examples;
using ids = std::vector<token_id>;

namespace {

constexpr token_id unk = 1, cls = 2, sep = 3, mask = 4, first_word = 5;

wordpiece_tokenizer make(nlohmann::json const& json) {
  return wordpiece_tokenizer::from_tokenizer_json(json, "tokenizer.json");
}

/// The words' ids without [CLS] and [SEP]; a word of the vocabulary is its place in it.
ids body(wordpiece_tokenizer const& t, std::string const& text) {
  ids out = t.encode(text, wordpiece_tokenizer::no_limit, special_tokens::without);
  for (token_id& id : out)
    if (id >= first_word) id += 100 - first_word;
  return out;
}

}  // namespace

TEST_CASE("WordPiece: the longest match first, the rest with ##") {
  auto const t = make(test::wordpiece_json({"un", "##aff", "##able", "unaff", "##a", "##b", "a", "##af"}));
  CHECK(body(t, "unaffable") == ids{103, 102});  // "unaff" before "un" "##aff"
  CHECK(body(t, "unaf") == ids{100, 107});       //
  CHECK(body(t, "ab") == ids{106, 105});         //
  CHECK(body(t, "a b") == ids{106, unk});        // "##b" does not begin a word
  CHECK(body(t, "unaffx") == ids{unk});          // no rest, so nothing of it
  CHECK(body(t, "xun un") == ids{unk, 100});     //
  CHECK(body(t, "unaffaab") == ids{103, 104, 104, 105});
  CHECK(body(t, "").empty());
  CHECK(body(t, " \t\n ").empty());
  CHECK(t.encode("") == ids{cls, sep});
  CHECK(t.encode("un") == ids{cls, first_word, sep});
  CHECK(t.vocabulary_size() == 13);
  CHECK(t.tokens().token(first_word + 2) == "##able");
  CHECK(t.mask() == mask);
  CHECK(t.padding() == 0);
  CHECK(t.unknown() == unk);
}

TEST_CASE("WordPiece: 100 characters are a word, 101 are unknown; bytes do not count") {
  auto const t = make(test::wordpiece_json({"a", "##a", "\u0436", "##\u0436"}));
  CHECK(body(t, std::string(100, 'a')).size() == 100);
  CHECK(body(t, std::string(101, 'a')) == ids{unk});
  std::string text;
  for (int i = 0; i < 100; ++i) text += "\u0436";
  CHECK(body(t, text).size() == 100);
  CHECK(body(t, text + "\u0436") == ids{unk});
  CHECK(body(t, text + "a " + std::string(2, 'a')) == ids{unk, 100, 101});
  auto json = test::wordpiece_json({"a", "##a"});
  json["model"]["max_input_chars_per_word"] = 3;
  CHECK(body(make(json), "aaa aaaa") == ids{100, 101, 101, unk});
}

TEST_CASE("WordPiece: words end at white space and around punctuation") {
  auto const t = make(test::wordpiece_json({"a", "b", ".", "-", "'", "\u3002", "$", "\u4E2D", "##b"}));
  CHECK(body(t, "a.b") == ids{100, 102, 101});
  CHECK(body(t, "..") == ids{102, 102});
  CHECK(body(t, "a-b'a") == ids{100, 103, 101, 104, 100});
  CHECK(body(t, "a\u3002b") == ids{100, 105, 101});
  CHECK(body(t, "$a") == ids{106, 100});  // ASCII, although not category P
  CHECK(body(t, "a\u4E2Db") == ids{100, 107, 101});
  CHECK(body(t, "a\u00A0b\u2028a\r\nb") == ids{100, 101, 100, 101});
  CHECK(body(t, "a\u200Bb") == ids{100, 108});  // dropped, so that these are one word
  CHECK(body(t, "\u00C1B\u0301") == ids{100, 108});
}

TEST_CASE("WordPiece: special tokens inside a text, before it is normalised") {
  auto const t = make(test::wordpiece_json({"a", "[", "]", "mask", "##mask"}));
  CHECK(body(t, "a [MASK] a") == ids{100, mask, 100});
  CHECK(body(t, "a[MASK]a") == ids{100, mask, 100});
  CHECK(body(t, "[MASK][CLS]") == ids{mask, cls});
  CHECK(body(t, "[mask]") == ids{101, 103, 102});
  CHECK(body(t, "[MASK") == ids{101, 103});
  CHECK(body(t, "[[MASK]]") == ids{101, mask, 102});
  CHECK(t.encode("[CLS] [SEP]") == ids{cls, cls, sep, sep});
}

TEST_CASE("WordPiece: added tokens: normalised ones, the longest, white space beside them") {
  auto json = test::wordpiece_json({"hello", "world", "hello##", "##o", "foo"});
  json["added_tokens"].push_back(test::added_token("Hello W", 10, false));
  json["added_tokens"].push_back(test::added_token("Hello World", 11, false));
  json["added_tokens"].push_back(test::added_token("<b>", 12));
  json["added_tokens"].back()["lstrip"] = json["added_tokens"].back()["rstrip"] = true;
  json["added_tokens"].push_back(test::added_token("<r>", 13));
  json["added_tokens"].push_back(test::added_token("foox", 14));
  auto const t = make(json);
  auto const plain = [&](char const* text) {
    return t.encode(text, wordpiece_tokenizer::no_limit, special_tokens::without);
  };
  CHECK(plain("hello world") == ids{11});  // both are normalised
  CHECK(plain("H\u00C9LLO world!") == ids{11, unk});
  CHECK(plain("hello wo") == ids{10, unk});
  CHECK(plain("hello  world") == ids{5, 6});
  CHECK(plain("foox FOOX") == ids{14, unk});  // not part of the model: after normalisation it is no word
  CHECK(plain("<B>") == ids{unk, unk, unk});
  CHECK(plain("hello \t<b>\u3000 world") == ids{5, 12, 6});
  CHECK(t.vocabulary_size() == 15);
  CHECK(t.decode(ids{5, 12, 6}, special_tokens::with) == "hello <b> world");
  CHECK(t.decode(ids{5, 12, 6}) == "hello world");
}

TEST_CASE("WordPiece: what is too long is cut before [SEP]") {
  auto const t = make(test::wordpiece_json({"a", "b", "c", "##c"}));
  CHECK(t.encode("a b cc a", 6) == ids{cls, 5, 6, 7, 8, sep});
  CHECK(t.encode("a b cc a", 5) == ids{cls, 5, 6, 7, sep});  // in the middle of a word
  CHECK(t.encode("a b [MASK] a", 5) == ids{cls, 5, 6, mask, sep});
  CHECK(t.encode("a b", 3) == ids{cls, 5, sep});
  CHECK(t.encode("a b", 2) == ids{cls, sep});
  CHECK(t.encode("a b", 100) == ids{cls, 5, 6, sep});
  CHECK(t.encode("a b", 1, special_tokens::without) == ids{5});
  CHECK_THROWS_WITH(t.encode("a", 1), test::contains("max_tokens: expected at least 2, got 1"));
  CHECK_THROWS_WITH(t.encode("a", 0, special_tokens::without),
                    test::contains("max_tokens: expected at least 1, got 0"));
  CHECK_THROWS_AS(t.encode("a", -5), smx::precondition_error);
  CHECK_THROWS_WITH(t.encode("a b\xC0 c"), test::contains("text: expected UTF-8, got byte 0xc0 at offset 3"));
  CHECK_THROWS_AS(t.encode("a b c\xC0", 3), smx::precondition_error);  // beyond what is kept, too
}

TEST_CASE("WordPiece: decoding joins words and takes the blank before punctuation away") {
  auto const t =
      make(test::wordpiece_json({"do", "##es", "n", "##'t", "not", ".", ",", "'", "s", "it", "!", "?"}));
  auto const text = [&](std::string const& words) { return t.decode(t.encode(words)); };
  CHECK(text("it does.") == "it does.");
  CHECK(text("it, it! it?") == "it, it! it?");
  CHECK(t.decode(ids{cls, 5, 6, 0, 0, sep}) == "does");
  CHECK(t.decode(ids{cls, 5, 6, sep}, special_tokens::with) == "[CLS] does [SEP]");
  CHECK(t.decode(ids{6, 5}) == "##es do");  // the first keeps its prefix
  CHECK(t.decode(ids{}) == "");
  CHECK_THROWS_WITH(t.decode(ids{17}),
                    test::contains("token id: expected that of a token, below 17, got 17"));
  CHECK_THROWS_AS(t.decode(ids{-1}), smx::precondition_error);

  auto json = test::wordpiece_json({"a", "."});
  json["decoder"]["cleanup"] = false;
  CHECK(make(json).decode(ids{5, 6}) == "a .");
}

TEST_CASE("WordPiece: vocab.txt") {
  test::temporary_folder const folder;
  auto const load = [&](std::string const& text, bert_normalizer const& n = {}) {
    test::write_file(folder / "vocab.txt", text);
    return wordpiece_tokenizer::from_vocabulary_file(folder / "vocab.txt", n);
  };
  std::string const special = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  CHECK(load(special + "a\n##b\n").encode("AB [MASK] x") == ids{cls, 5, 6, mask, unk, sep});
  CHECK(load(special + "a\n##b").encode("ab") == ids{cls, 5, 6, sep});  // no newline at the end
  CHECK(load("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\na\r\n").encode("a [MASK]") ==
        ids{cls, 4, unk, unk, unk, sep});
  CHECK(load(special + "a\n", {.lowercase = false}).encode("A a") == ids{cls, unk, 5, sep});
  CHECK_THROWS_WITH(load(special + "a\n\nb\n"), test::contains("vocab.txt: line 7 is empty"));
  CHECK_THROWS_WITH(load(special + "a\na\n"),
                    test::contains("token 'a' is there twice, with the ids 5 and 6"));
  CHECK_THROWS_WITH(load("[UNK]\n[CLS]\n"), test::contains("vocab.txt: the vocabulary has no token '[SEP]'"));
  CHECK_THROWS_WITH(load(special + "a\xFF\n"),
                    test::contains("vocabulary: expected UTF-8, got byte 0xff at offset 32"));
  CHECK_THROWS_AS(load(""), smx::file_error);
  CHECK_THROWS_AS(wordpiece_tokenizer::from_vocabulary_file(folder / "missing"), smx::file_error);
  CHECK_THROWS_WITH(wordpiece_tokenizer::from_vocabulary_file(folder / "."), test::contains("directory"));
}

TEST_CASE("WordPiece: tokenizer.json: BertProcessing, no post-processor, no normaliser, no added tokens") {
  auto json = test::wordpiece_json({"a", "A"});
  json["post_processor"] = {{"type", "BertProcessing"}, {"sep", {"[SEP]", 3}}, {"cls", {"[CLS]", 2}}};
  CHECK(make(json).encode("a") == ids{cls, 5, sep});
  json["post_processor"] = nullptr;
  CHECK(make(json).encode("a") == ids{5});
  json.erase("post_processor");
  json["normalizer"] = nullptr;
  CHECK(make(json).encode("A") == ids{6});
  json.erase("added_tokens");
  CHECK(make(json).encode("[MASK]") == ids{unk, unk, unk});
  json["truncation"] = {{"max_length", 1}};  // whoever encodes says how many
  CHECK(make(json).encode("a a") == ids{5, 5});
}

TEST_CASE("WordPiece: tokenizer.json: what is not supported or wrong is refused by name") {
  struct wrong {
    char const* pointer;
    nlohmann::json value;
    char const* message;
  };
  for (auto const& [pointer, value, message] : {
           wrong{"/model/type", "Unigram", "model.type: expected WordPiece, got \"Unigram\""},
           wrong{"/model/unk_token", "<unk>",
                 "model.unk_token: expected a token of the vocabulary, got \"<unk>\""},
           wrong{"/model/max_input_chars_per_word", 0,
                 "model.max_input_chars_per_word: expected 1 to 10000, got 0"},
           wrong{"/model/max_input_chars_per_word", 1.5,
                 "model.max_input_chars_per_word: expected an integer, got 1.5"},
           wrong{"/model/max_input_chars_per_word", ~0ull,
                 "model.max_input_chars_per_word: expected an integer"},
           wrong{"/model/new_option", 1, "model.new_option: not supported"},
           wrong{"/model/vocab", nlohmann::json::array(), "model.vocab: expected an object"},
           wrong{"/model/vocab/a", "x", "model.vocab: expected an integer as the id of 'a'"},
           wrong{"/model/vocab/a", 2, "its id 2 is that of"},
           wrong{"/model/vocab/a", -1, "model.vocab: token 'a': expected an id from 0 to 16777215, got -1"},
           wrong{"/model/vocab/a", 1 << 24, "got 16777216"},
           wrong{"/model", 3, "model: expected an object, got 3"},
           wrong{"/normalizer/type", "Sequence",
                 "normalizer.type: expected BertNormalizer, got \"Sequence\""},
           wrong{"/normalizer/lowercase", "yes", "normalizer.lowercase: expected true or false, got \"yes\""},
           wrong{"/normalizer/extra", true, "normalizer.extra: not supported"},
           wrong{"/pre_tokenizer/type", "Whitespace", "pre_tokenizer.type: expected BertPreTokenizer"},
           wrong{"/pre_tokenizer", nullptr, "pre_tokenizer: expected an object, got null"},
           wrong{"/decoder/type", "BPEDecoder", "decoder.type: expected WordPiece, got \"BPEDecoder\""},
           wrong{"/post_processor/type", "Roberta",
                 "post_processor.type: expected TemplateProcessing, BertProcessing"},
           wrong{"/post_processor/single", nlohmann::json::array(),
                 "post_processor.single: expected the text A"},
           wrong{"/post_processor/single/1/Sequence/id", "B", "post_processor.single: expected the text A"},
           wrong{"/post_processor/single/0/SpecialToken/id", "[X]",
                 "post_processor.special_tokens.[X]: missing"},
           wrong{"/post_processor/special_tokens/[CLS]/ids/0", 7,
                 "post_processor.special_tokens.[CLS].ids: expected the ids"},
           wrong{"/added_tokens/0/single_word", true,
                 "added_tokens[0].single_word: expected null or false, got true"},
           wrong{"/added_tokens/1/id", 9,
                 "added_tokens[1].id: expected 1, the id of '[UNK]' in the vocabulary, got 9"},
           wrong{"/added_tokens/1/content", "",
                 "added_tokens[1].content: token '': its id 1 is that of '[UNK]'"},
           wrong{"/added_tokens/1/content", "[PAD]", "added_tokens[1].id: expected 0"},
           wrong{"/version", "2.0", "version: expected 1.0, got \"2.0\""},
           wrong{"/surprise", 1, "surprise: not supported"},
       }) {
    auto json = test::wordpiece_json({"a"});
    json[nlohmann::json::json_pointer(pointer)] = value;
    CAPTURE(pointer);
    CHECK_THROWS_WITH(make(json), test::contains("tokenizer.json: ") && test::contains(message));
    CHECK_THROWS_AS(make(json), smx::file_error);
  }
  for (char const* const part : {"model", "pre_tokenizer"}) {
    auto json = test::wordpiece_json({"a"});
    json.erase(part);
    CHECK_THROWS_WITH(make(json), test::contains(std::string("tokenizer.json: ") + part + ": missing"));
  }
  test::temporary_folder const folder;
  test::write_file(folder / "t.json", "{\"model\": ");
  CHECK_THROWS_WITH(wordpiece_tokenizer::from_tokenizer_json(folder / "t.json"),
                    test::contains("t.json: not JSON"));
  test::write_file(folder / "t.json", "[]");
  CHECK_THROWS_WITH(wordpiece_tokenizer::from_tokenizer_json(folder / "t.json"),
                    test::contains("expected an object"));
}

TEST_CASE("WordPiece: threads share one tokenizer") {
  auto const t = make(test::wordpiece_json({"a", "##b", "."}));
  std::string text;
  for (int i = 0; i < 200; ++i) text += i % 3 == 0 ? "ab. " : "\u00C1 [MASK]";
  auto const expected = t.encode(text);
  std::vector<ids> got(4);
  std::vector<std::thread> threads;
  for (auto& out : got) threads.emplace_back([&] { out = t.encode(text); });
  for (auto& thread : threads) thread.join();
  for (auto const& out : got) CHECK(out == expected);
}
