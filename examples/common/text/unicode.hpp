// SPDX-License-Identifier: Apache-2.0
/// \file  Text as Unicode: strict UTF-8, character classes, and the normalisation of BERT's tokenizer.
///
/// Classes and decompositions come from utf8proc. Where the tables of Hugging Face's `tokenizers` are of
/// another version of Unicode, theirs count (unicode_versions.hpp): a vocabulary was made with them, and an
/// id that differs is a wrong embedding. Every function is linear in the text.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace smx_examples {

/// Where `text` stops to be well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF), or npos.
std::size_t find_invalid_utf8(std::string_view text);

/// Throws precondition_error naming `argument`, the byte and its offset unless `text` is well-formed UTF-8.
void expects_utf8(std::string_view text, char const* argument = "text");

/// The code points. Throws as expects_utf8 does.
std::u32string decode_utf8(std::string_view text, char const* argument = "text");

/// `c` must be a code point that is not a surrogate.
void append_utf8(std::string& out, char32_t c);
std::string encode_utf8(std::u32string_view text);

/// The first code point of text that is not empty and known to be well-formed.
struct code_point {
  char32_t value;
  std::size_t bytes;
};
code_point first_code_point(std::string_view text);

/// Unicode's White_Space.
bool is_whitespace(char32_t c);
/// General category L, and N, of Unicode 16: what \p{L} and \p{N} of GPT-2's pattern match.
bool is_letter(char32_t c);
bool is_number(char32_t c);
/// What BERT splits off as punctuation: all of ASCII but letters, digits and blanks, and general category P.
bool is_bert_punctuation(char32_t c);

/// BertNormalizer of a tokenizer.json. Its four steps run in this order.
struct bert_normalizer {
  bool clean_text = true;            ///< Drops NUL, U+FFFD and Cc, Cf, Co; a white space becomes a blank.
  bool handle_chinese_chars = true;  ///< A blank before and after each CJK ideograph.
  std::optional<bool> strip_accents = std::nullopt;  ///< NFD without Mn. Without a value: as `lowercase`.
  bool lowercase = true;  ///< Full mapping of each code point alone: no final sigma.

  /// The text in this form; it must be UTF-8.
  std::string operator()(std::string_view text) const;

  friend bool operator==(bert_normalizer const&, bert_normalizer const&) = default;
};

}  // namespace smx_examples
