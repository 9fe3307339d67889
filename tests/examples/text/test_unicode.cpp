// SPDX-License-Identifier: Apache-2.0
/// \file  UTF-8 and BERT's normalisation, from their definitions. What belongs to which class was also
/// compared with Hugging Face's tokenizers for every code point; the characters here are those where versions
/// of Unicode differ.
#include <string>
#include <string_view>

#include <smx/core/check.hpp>

#include "examples/common/text/unicode.hpp"
#include "tests/catch.hpp"

using namespace smx_examples;

namespace {

std::string utf8(std::u32string_view text) { return encode_utf8(text); }

/// Each step alone.
constexpr bert_normalizer no_step{
    .clean_text = false, .handle_chinese_chars = false, .strip_accents = false, .lowercase = false};

std::string cleaned(std::u32string_view text) {
  auto n = no_step;
  n.clean_text = true;
  return n(utf8(text));
}
std::string spaced(std::u32string_view text) {
  auto n = no_step;
  n.handle_chinese_chars = true;
  return n(utf8(text));
}
std::string stripped(std::u32string_view text) {
  auto n = no_step;
  n.strip_accents = true;
  return n(utf8(text));
}
std::string lowered(std::u32string_view text) {
  auto n = no_step;
  n.lowercase = true;
  return n(utf8(text));
}

}  // namespace

TEST_CASE("UTF-8: the first and last code point of each length, both ways") {
  for (char32_t const c : {U'\0', U'\x7F', U'\x80', U'\u07FF', U'\u0800', U'\uD7FF', U'\uE000', U'\uFFFF',
                           U'\U00010000', U'\U0010FFFF'}) {
    std::string const text = utf8({&c, 1});
    CAPTURE(static_cast<unsigned long>(c));
    CHECK(find_invalid_utf8(text) == std::string_view::npos);
    CHECK(decode_utf8(text) == std::u32string(1, c));
    CHECK(first_code_point(text).value == c);
    CHECK(first_code_point(text).bytes == text.size());
  }
  CHECK(utf8(U"\u00E9") == "\xC3\xA9");
  CHECK(utf8(U"\u20AC") == "\xE2\x82\xAC");
  CHECK(utf8(U"\U0001F600") == "\xF0\x9F\x98\x80");
  CHECK(decode_utf8("").empty());
}

TEST_CASE("UTF-8: what is not well-formed is found at its first byte") {
  using namespace std::string_view_literals;
  struct bad {
    std::string_view text;
    std::size_t at;
  };
  for (auto const& [text, at] : {
           bad{"\x80", 0},              // a continuation byte alone
           bad{"ab\xFF", 2},            // never a byte of UTF-8
           bad{"\xC0\xAF", 0},          // '/' in two bytes
           bad{"\xC1\xBF", 0},          // overlong as well
           bad{"\xE0\x80\xAF", 0},      // '/' in three
           bad{"\xE0\x9F\xBF", 0},      // U+07FF in three
           bad{"\xF0\x80\x80\xAF", 0},  // '/' in four
           bad{"\xF0\x8F\xBF\xBF", 0},  // U+FFFF in four
           bad{"\xED\xA0\x80", 0},      // a surrogate
           bad{"\xED\xBF\xBF", 0},      //
           bad{"\xF4\x90\x80\x80", 0},  // U+110000
           bad{"\xF5\x80\x80\x80", 0},  //
           bad{"x\xC3", 1},             // ends too soon
           bad{"x\xE2\x82", 1},         //
           bad{"x\xF0\x9F\x98", 1},     //
           bad{"\xC3\xA9\xC3(", 2},     // a lead byte without its continuation
           bad{"\xE2\x82(", 0},         //
           bad{"\xF0\x9F\x98(", 0},     //
           bad{"a\0b\xE9"sv, 3},        // Latin-1, after a NUL
       }) {
    CAPTURE(std::string(text));
    CHECK(find_invalid_utf8(text) == at);
    CHECK_THROWS_AS(decode_utf8(text), smx::precondition_error);
  }
  CHECK_THROWS_WITH(expects_utf8("caf\xE9!", "line 7"),
                    test::contains("line 7: expected UTF-8, got byte 0xe9 at offset 3"));
  CHECK_THROWS_WITH(bert_normalizer{}("\xFF"),
                    test::contains("text: expected UTF-8, got byte 0xff at offset 0"));
}

TEST_CASE("BERT's normalisation: cleaning drops control characters and makes blanks of white space") {
  CHECK(cleaned(std::u32string_view(U"a\0b\x07\x1F\x7F\x85z", 8)) == "abz");
  CHECK(cleaned(U"\t\n\r") == "   ");
  CHECK(cleaned(U"a\x0B\x0C z") == "a z");  // Cc, although they are white space
  CHECK(cleaned(U"\u00A0\u1680\u2003\u2028\u2029\u202F\u205F\u3000") == "        ");
  CHECK(cleaned(U"\uFFFD\u200B\u200D\u00AD\uFEFF\U000E0041") == "");             // U+FFFD and Cf
  CHECK(cleaned(U"\uE000\U0010FFFD") == "");                                     // Co
  CHECK(cleaned(U"\u0378\U0003FFFE") == utf8(U"\u0378\U0003FFFE"));              // not assigned: stays
  CHECK(cleaned(U"\u08E2\u0890\U000110CD") == utf8(U"\u08E2\u0890\U000110CD"));  // Cf after Unicode 8: stays
  CHECK(cleaned(U"\u0600\uFE0F") == utf8(U"\uFE0F"));  // Cf of before; a variation selector is Mn
}

TEST_CASE("BERT's normalisation: blanks around ideographs, by block and not by script") {
  CHECK(spaced(U"ab\u4E2D\u6587c") == utf8(U"ab \u4E2D  \u6587 c"));
  for (auto const& [first, last] :
       {std::pair{U'\u4E00', U'\u9FFF'}, std::pair{U'\u3400', U'\u4DBF'},
        std::pair{U'\U00020000', U'\U0002A6DF'}, std::pair{U'\U0002A700', U'\U0002B73F'},
        std::pair{U'\U0002B740', U'\U0002B81F'}, std::pair{U'\U0002B920', U'\U0002CEAF'},
        std::pair{U'\uF900', U'\uFAFF'}, std::pair{U'\U0002F800', U'\U0002FA1F'}}) {
    for (char32_t const c : {first, last}) {
      CAPTURE(static_cast<unsigned long>(c));
      CHECK(spaced({&c, 1}) == utf8(std::u32string{U' ', c, U' '}));
    }
  }
  for (char32_t const c : {U'\u33FF', U'\u4DC0', U'\uA000', U'\U0001FFFF', U'\U0002A6E0', U'\U0002B820',
                           U'\U0002B91F', U'\U0002CEB0', U'\uF8FF', U'\uFB00', U'\U0002F7FF', U'\U0002FA20',
                           U'\U00030000', U'\u3042', U'\u30A2', U'\uAC00'}) {
    CAPTURE(static_cast<unsigned long>(c));
    CHECK(spaced({&c, 1}) == utf8({&c, 1}));
  }
}

TEST_CASE("BERT's normalisation: accents go with NFD, in canonical order") {
  CHECK(stripped(U"\u00E9\u00C5\u00FC\u00F1\u00E7") == "eAunc");
  CHECK(stripped(U"\u00D8\u00F8\u0142\u00DF") == utf8(U"\u00D8\u00F8\u0142\u00DF"));  // no decomposition
  CHECK(stripped(U"\u1EA5") == "a");                                                  // a, circumflex, acute
  CHECK(stripped(U"o\u0328\u0304x") == "ox");
  CHECK(stripped(U"\uAC01") == utf8(U"\u1100\u1161\u11A8"));  // Hangul into jamo
  CHECK(stripped(U"\uAC00") == utf8(U"\u1100\u1161"));
  CHECK(stripped(U"\u2126\u212B") == utf8(U"\u03A9") + "A");        // ohm, angstrom
  CHECK(stripped(U"\uFB01\u00BD") == utf8(U"\uFB01\u00BD"));        // compatibility is not canonical
  CHECK(stripped(U"\u0915\u094D\u093F") == utf8(U"\u0915\u093F"));  // virama is Mn, the vowel sign Mc
  CHECK(stripped(U"\u08E0\u1ABF\U0001E944") == utf8(U"\u08E0\u1ABF\U0001E944"));  // Mn after Unicode 8: stay
  CHECK(stripped(U"\u1734") == "");                                               // was Mn in Unicode 8
  // Reordered: class 224 before 226 (musical, Mc); U+16FF0 came after Unicode 9, so nothing moves past it.
  CHECK(stripped(U"\U0001D16D\u302E") == utf8(U"\u302E\U0001D16D"));
  CHECK(stripped(U"\U0001D16D\U00016FF0\u302E") == utf8(U"\U0001D16D\U00016FF0\u302E"));
}

TEST_CASE("BERT's normalisation: lower case maps each code point alone") {
  CHECK(lowered(U"ABC xyz") == "abc xyz");
  CHECK(lowered(U"\u00C9\u00D6\u0416\u0394") == utf8(U"\u00E9\u00F6\u0436\u03B4"));
  CHECK(lowered(U"\u0130") == utf8(U"i\u0307"));  // Turkish dotted I becomes two
  CHECK(lowered(U"I\u0131") == utf8(U"i\u0131"));
  CHECK(lowered(U"\u1E9E\u00DF") == utf8(U"\u00DF\u00DF"));
  CHECK(lowered(U"\u039F\u03A3") == utf8(U"\u03BF\u03C3"));  // no final sigma
  CHECK(lowered(U"\u01C5\u01C4") == utf8(U"\u01C6\u01C6"));
  CHECK(lowered(U"\U00010400") == utf8(U"\U00010428"));
  CHECK(lowered(U"\uA7CB\U00010D50\U00016EA0") == utf8(U"\u0264\U00010D70\U00016EBB"));  // Unicode 16 and 17
}

TEST_CASE("BERT's normalisation: the steps, their order and their defaults") {
  bert_normalizer const uncased;
  CHECK(uncased("H\xC3\xA9llo\tW\xC3\x96RLD") == "hello world");
  CHECK(uncased(utf8(U"\u0130\u0049")) == "ii");  // the dot above is stripped before lower case
  CHECK(uncased("") == "");
  CHECK(uncased(utf8(U"\uF900")) == utf8(U" \u8C48 "));  // spaced before NFD replaces it

  bert_normalizer cased{.lowercase = false};
  CHECK(cased("H\xC3\xA9llo") == "H\xC3\xA9llo");  // without a value, accents go with lower case only
  cased.strip_accents = true;
  CHECK(cased("H\xC3\xA9llo") == "Hello");
  bert_normalizer const accents_stay{.strip_accents = false};
  CHECK(accents_stay("H\xC3\x89llo") == "h\xC3\xA9llo");
}

TEST_CASE("Character classes") {
  for (char32_t const c :
       std::u32string_view(U"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\u00BF\u2014\u2026\u3002\u300C\uFF0C\u055A"))
    CHECK(is_bert_punctuation(c));
  for (char32_t const c : std::u32string_view(U"a0 \u00B4\u00A9\u20AC\u2190\u4E2D\u061D\u2E43\u2E5D"))
    CHECK_FALSE(is_bert_punctuation(c));  // the last three: P after Unicode 8
  CHECK(is_bert_punctuation(0x166D));     // was P in Unicode 8
  for (char32_t const c :
       std::u32string_view(U"aZ\u00AA\u00E9\u0561\u4E2D\uAC00\u02B0\u01C5\U0001D400\u1C89\U0002EBF0"))
    CHECK((is_letter(c) && !is_number(c)));
  for (char32_t const c : std::u32string_view(U"09\u00B2\u00BD\u2460\u216B\u0665\U00010D40"))
    CHECK((is_number(c) && !is_letter(c)));
  for (char32_t const c : std::u32string_view(U" _\u0301\u20AC\u200D"))
    CHECK_FALSE((is_number(c) || is_letter(c)));
  for (char32_t const c :
       std::u32string_view(U"\t\n\x0B\x0C\r \x85\u00A0\u1680\u2000\u200A\u2028\u2029\u202F\u205F\u3000"))
    CHECK(is_whitespace(c));
  for (char32_t const c : std::u32string_view(U"\x08\x1C\u180E\u200B\u2060\uFEFF_"))
    CHECK_FALSE(is_whitespace(c));
}
