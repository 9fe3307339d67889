// SPDX-License-Identifier: Apache-2.0
#include "examples/common/text/unicode.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <utility>

#include <utf8proc.h>

#include <smx/core/check.hpp>

#include "examples/common/text/unicode_versions.hpp"

namespace smx_examples {
namespace {

/// Bytes of the well-formed sequence at the start of `text`, 0 when there is none (Unicode, table 3-7).
std::size_t sequence_length(std::string_view text) {
  auto const byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned const lead = byte(0);
  if (lead < 0x80) return 1;
  std::size_t const length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  unsigned const low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned const high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i)
    if (byte(i) < 0x80 || byte(i) > 0xBF) return 0;
  return length;
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

bool is_cjk_ideograph(char32_t c) {
  // 0x2B920: as tokenizers has it. The block begins at 0x2B820.
  constexpr std::pair<char32_t, char32_t> blocks[] = {
      {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
      {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  return std::ranges::any_of(blocks, [c](auto const& b) { return c >= b.first && c <= b.second; });
}

bool is_removed(char32_t c) {
  if (c == 0 || c == 0xFFFD) return true;
  if (c == '\t' || c == '\n' || c == '\r') return false;
  utf8proc_category_t const k = category(c);
  return k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CO ||
         (k == UTF8PROC_CATEGORY_CF && !unicode_versions::format_after_8(c));
}

bool is_accent(char32_t c) {
  if (c == 0x1734 || c == 0x1171E) return true;  // became Mc after Unicode 8
  return category(c) == UTF8PROC_CATEGORY_MN && !unicode_versions::mark_after_8(c);
}

int combining_class(char32_t c) {
  if (unicode_versions::combining_after_9(c)) return 0;
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
}

void append_decomposition(std::u32string& out, char32_t c) {
  if (c < 0x80 || unicode_versions::decomposed_after_9(c)) {
    out += c;
    return;
  }
  std::array<utf8proc_int32_t, 32> to;  // the longest canonical decomposition has 4
  int last_class = UTF8PROC_BOUNDCLASS_START;
  utf8proc_ssize_t const n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), to.data(), to.size(),
                                                     UTF8PROC_DECOMPOSE, &last_class);
  smx::expects(n > 0 && n <= static_cast<utf8proc_ssize_t>(to.size()), "utf8proc: no decomposition");
  for (utf8proc_ssize_t i = 0; i < n; ++i) out += static_cast<char32_t>(to[static_cast<std::size_t>(i)]);
}

/// Normalisation form D.
std::u32string decomposed(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size() + text.size() / 4);
  for (char32_t const c : text) append_decomposition(out, c);
  auto const is_starter = [](char32_t c) { return c < 0x300 || combining_class(c) == 0; };
  for (auto at = out.begin(); at != out.end();) {
    auto const begin = std::find_if_not(at, out.end(), is_starter);
    at = std::find_if(begin, out.end(), is_starter);
    if (at - begin > 1)
      std::stable_sort(begin, at,
                       [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
  }
  return out;
}

void append_lower(std::u32string& out, char32_t c) {
  if (c < 0x80) {
    out += c >= 'A' && c <= 'Z' ? c + 32 : c;
  } else if (c == 0x130) {  // the only one whose lower case is two: i and a dot above
    out += U"i\u0307";
  } else if (char32_t const lower = unicode_versions::lower_after_15(c); lower != 0) {
    out += lower;
  } else {
    out += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
  }
}

}  // namespace

std::size_t find_invalid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    std::size_t const n = sequence_length(text.substr(at));
    if (n == 0) return at;
    at += n;
  }
  return std::string_view::npos;
}

void expects_utf8(std::string_view text, char const* argument) {
  std::size_t const at = find_invalid_utf8(text);
  if (at == std::string_view::npos) return;
  char what[256];
  std::snprintf(what, sizeof what, "%.128s: expected UTF-8, got byte 0x%02x at offset %zu", argument,
                static_cast<unsigned>(static_cast<unsigned char>(text[at])), at);
  throw smx::precondition_error(what);
}

code_point first_code_point(std::string_view text) {
  auto const low = [&](std::size_t i) { return static_cast<char32_t>(text[i] & 0x3F); };
  auto const lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1Fu) << 6 | low(1), 2};
  if (lead < 0xF0) return {(lead & 0x0Fu) << 12 | low(1) << 6 | low(2), 3};
  return {(lead & 0x07u) << 18 | low(1) << 12 | low(2) << 6 | low(3), 4};
}

std::u32string decode_utf8(std::string_view text, char const* argument) {
  expects_utf8(text, argument);
  std::u32string out;
  out.reserve(text.size());
  while (!text.empty()) {
    auto const [c, bytes] = first_code_point(text);
    out += c;
    text.remove_prefix(bytes);
  }
  return out;
}

void append_utf8(std::string& out, char32_t c) {
  auto const put = [&](char32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  }
}

std::string encode_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char32_t const c : text) append_utf8(out, c);
  return out;
}

bool is_whitespace(char32_t c) {
  return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_letter(char32_t c) {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  utf8proc_category_t const k = category(c);
  return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) || unicode_versions::letter_of_16(c);
}

bool is_number(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  utf8proc_category_t const k = category(c);
  return (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO) || unicode_versions::number_of_16(c);
}

bool is_bert_punctuation(char32_t c) {
  if (c < 0x80) return is_ascii_punctuation(c);
  if (c == 0x166D || c == 0x111C9) return true;  // left category P after Unicode 8
  utf8proc_category_t const k = category(c);
  return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO && !unicode_versions::punctuation_after_8(c);
}

std::string bert_normalizer::operator()(std::string_view text) const {
  std::u32string now = decode_utf8(text);
  if (clean_text) {
    std::erase_if(now, is_removed);
    std::ranges::replace_if(now, is_whitespace, U' ');
  }
  if (handle_chinese_chars && std::ranges::any_of(now, is_cjk_ideograph)) {
    std::u32string spaced;
    spaced.reserve(3 * now.size());
    for (char32_t const c : now)
      if (is_cjk_ideograph(c))
        spaced += {U' ', c, U' '};
      else
        spaced += c;
    now = std::move(spaced);
  }
  if (strip_accents.value_or(lowercase)) {
    now = decomposed(now);
    std::erase_if(now, is_accent);
  }
  if (lowercase) {
    std::u32string lower;
    lower.reserve(now.size());
    for (char32_t const c : now) append_lower(lower, c);
    now = std::move(lower);
  }
  return encode_utf8(now);
}

}  // namespace smx_examples
