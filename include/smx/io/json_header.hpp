// SPDX-License-Identifier: Apache-2.0
/// \file  The part of JSON (RFC 8259) that headers of tensor files consist of: objects, arrays, strings and
/// non-negative
///        integers, read by a cursor from left to right. O(n) time.
///
/// The caller asks for what may come next, so nothing is read recursively and no nesting of the input can
/// exhaust the stack. Text is untrusted: every error is a file_error with the byte where it stands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include <smx/io/file_error.hpp>

namespace smx::detail {

/// Bytes of the UTF-8 sequence that begins at `at`, 0 when there is none (overlong forms and surrogates are
/// none).
constexpr std::size_t utf8_length(std::string_view text, std::size_t at) {
  auto const byte = [&](std::size_t n) -> unsigned {
    return at + n < text.size() ? static_cast<unsigned char>(text[at + n]) : 0u;
  };
  unsigned const b0 = byte(0), b1 = byte(1);
  if (at >= text.size()) return 0;
  if (b0 < 0x80) return 1;
  bool const tail1 = (b1 & 0xC0u) == 0x80u, tail2 = (byte(2) & 0xC0u) == 0x80u,
             tail3 = (byte(3) & 0xC0u) == 0x80u;
  if (b0 >= 0xC2 && b0 <= 0xDF) return tail1 ? 2 : 0;
  if (b0 >= 0xE0 && b0 <= 0xEF) {
    if (!tail1 || !tail2 || (b0 == 0xE0 && b1 < 0xA0) || (b0 == 0xED && b1 > 0x9F)) return 0;
    return 3;
  }
  if (b0 >= 0xF0 && b0 <= 0xF4) {
    if (!tail1 || !tail2 || !tail3 || (b0 == 0xF0 && b1 < 0x90) || (b0 == 0xF4 && b1 > 0x8F)) return 0;
    return 4;
  }
  return 0;
}

/// Whether all of `text` is UTF-8.
constexpr bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    std::size_t const length = utf8_length(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

/// Reads JSON tokens; blanks between tokens are skipped. `path` is named in errors and must outlive the
/// cursor.
class json_cursor {
 public:
  json_cursor(std::string_view text, std::string const& path) : text_(text), path_(&path) {}

  /// Takes the character when it comes next.
  bool accept(char c) {
    skip_blanks();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void expect(char c) {
    if (!accept(c)) fail(std::string("expected '") + c + "', got " + next());
  }

  /// Nothing but blanks may follow.
  void expect_end() {
    skip_blanks();
    if (at_ != text_.size()) fail("expected the end of the header, got " + next());
  }

  /// A string, unescaped, as UTF-8.
  std::string string() {
    expect('"');
    std::string out;
    for (;;) {
      if (at_ >= text_.size()) fail("the string does not end");
      char const c = text_[at_];
      if (c == '"') break;
      if (static_cast<unsigned char>(c) < 0x20) fail("control character in a string");
      if (c == '\\') {
        ++at_;
        append_escape(out);
      } else {
        std::size_t const length = utf8_length(text_, at_);
        if (length == 0) fail("text that is not UTF-8");
        out.append(text_, at_, length);
        at_ += length;
      }
    }
    ++at_;
    return out;
  }

  /// A number without sign, fraction and exponent, below 2^63.
  std::int64_t non_negative_integer() {
    skip_blanks();
    std::size_t const first = at_;
    std::int64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      if (__builtin_mul_overflow(value, std::int64_t{10}, &value) ||
          __builtin_add_overflow(value, std::int64_t{text_[at_] - '0'}, &value))
        fail("a number of 2^63 or more");
    if (at_ == first) fail("expected a non-negative integer, got " + next());
    if (at_ - first > 1 && text_[first] == '0') fail("a number with a leading zero");
    if (at_ < text_.size() && (text_[at_] == '.' || text_[at_] == 'e' || text_[at_] == 'E'))
      fail("expected a non-negative integer, got a fraction");
    return value;
  }

  [[noreturn, gnu::cold]] void fail(std::string const& what) const {
    raise<file_error>(*path_, "header byte " + std::to_string(at_) + ": " + what);
  }

 private:
  void skip_blanks() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
      ++at_;
  }

  /// What comes next, for errors.
  std::string next() const {
    if (at_ >= text_.size()) return "the end of the header";
    char const c = text_[at_];
    if (c > ' ' && c < 0x7F) return std::string("'") + c + "'";
    char code[16];
    std::snprintf(code, sizeof code, "byte 0x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    return code;
  }

  void append_escape(std::string& out) {
    char const c = at_ < text_.size() ? text_[at_] : '\0';
    static constexpr char letters[] = "\"\\/bfnrt", characters[] = "\"\\/\b\f\n\r\t";
    for (std::size_t n = 0; n + 1 < sizeof letters; ++n)
      if (c == letters[n]) {
        out += characters[n];
        ++at_;
        return;
      }
    if (c != 'u') fail("unknown escape in a string");
    ++at_;
    std::uint32_t code = hex4();
    if (code >= 0xDC00 && code <= 0xDFFF) fail("half of a surrogate pair");
    if (code >= 0xD800 && code <= 0xDBFF) {
      if (text_.substr(at_, 2) != "\\u") fail("half of a surrogate pair");
      at_ += 2;
      std::uint32_t const low = hex4();
      if (low < 0xDC00 || low > 0xDFFF) fail("half of a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(out, code);
  }

  std::uint32_t hex4() {
    std::uint32_t value = 0;
    for (int n = 0; n < 4; ++n, ++at_) {
      char const c = at_ < text_.size() ? text_[at_] : '\0';
      int const digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail("expected four hexadecimal digits");
      value = value * 16 + static_cast<std::uint32_t>(digit);
    }
    return value;
  }

  static void append_utf8(std::string& out, std::uint32_t code) {
    auto const put = [&](std::uint32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xC0 | (code >> 6)), put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      put(0xE0 | (code >> 12)), put(0x80 | ((code >> 6) & 0x3F)), put(0x80 | (code & 0x3F));
    } else {
      put(0xF0 | (code >> 18)), put(0x80 | ((code >> 12) & 0x3F));
      put(0x80 | ((code >> 6) & 0x3F)), put(0x80 | (code & 0x3F));
    }
  }

  std::string_view text_;
  std::string const* path_;
  std::size_t at_ = 0;
};

}  // namespace smx::detail
