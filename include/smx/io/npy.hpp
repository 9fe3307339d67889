// SPDX-License-Identifier: Apache-2.0
/// \file  NumPy's .npy files, one array each: "\x93NUMPY", two bytes of version, the length of the header (2
/// bytes in version 1, 4 in versions 2 and 3), the header as a Python dictionary, the elements.
///
///   {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
///
/// Files are untrusted: opening checks every length, that the elements are as many bytes as the shape needs,
/// and that the header says its three things and nothing else. O(header); elements are memory-mapped, may
/// stand at any address and are copied out. Format: NEP 1 and numpy.lib.format.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <smx/core/view.hpp>
#include <smx/io/safetensors.hpp>
#include <smx/io/safetensors_writer.hpp>

namespace smx {

static_assert(std::endian::native == std::endian::little, "npy files are read and written as little-endian");

namespace detail {

struct npy_type {
  stored_dtype dtype;
  char const* name;  ///< without the byte order
};
inline constexpr npy_type npy_types[] = {
    {stored_dtype::boolean, "b1"}, {stored_dtype::u8, "u1"},  {stored_dtype::i8, "i1"},
    {stored_dtype::i16, "i2"},     {stored_dtype::u16, "u2"}, {stored_dtype::i32, "i4"},
    {stored_dtype::u32, "u4"},     {stored_dtype::i64, "i8"}, {stored_dtype::u64, "u8"},
    {stored_dtype::f16, "f2"},     {stored_dtype::f32, "f4"}, {stored_dtype::f64, "f8"}};

/// The part of Python's literals that a header consists of, read from left to right.
class npy_header {
 public:
  npy_header(std::string_view text, std::string const& path) : text_(text), path_(&path) {}

  bool accept(std::string_view word) {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  void expect(std::string_view word) {
    if (!accept(word)) fail("expected '" + std::string(word) + "'");
  }
  std::string string() {
    char const quote = accept("'") ? '\'' : accept("\"") ? '"' : '\0';
    if (quote == '\0') fail("expected a text in quotes");
    std::size_t const end = text_.find(quote, at_);
    if (end == text_.npos) fail("the text does not end");
    std::string const inside(text_.substr(at_, end - at_));
    at_ = end + 1;
    return inside;
  }
  bool boolean() {
    if (accept("True")) return true;
    expect("False");
    return false;
  }
  std::vector<index_t> tuple() {
    std::vector<index_t> numbers;
    expect("(");
    while (!accept(")")) {
      numbers.push_back(number());
      if (accept(",")) continue;
      expect(")");
      break;
    }
    return numbers;
  }
  void expect_end() {
    accept("");
    if (at_ != text_.size()) fail("expected the end of the header");
  }
  [[noreturn]] void fail(std::string const& what) const {
    raise<file_error>(*path_, "header byte " + std::to_string(at_) + ": " + what);
  }

 private:
  index_t number() {
    accept("");
    std::size_t const first = at_;
    index_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      if (__builtin_mul_overflow(value, index_t{10}, &value) ||
          __builtin_add_overflow(value, index_t{text_[at_] - '0'}, &value))
        fail("a number of 2^63 or more");
    if (at_ == first) fail("expected a number that is not negative");
    accept("L");  // as Python 2 wrote them
    return value;
  }

  std::string_view text_;
  std::string const* path_;
  std::size_t at_ = 0;
};

template <class T> constexpr char const* npy_descr() {
  if constexpr (std::same_as<T, float>)
    return "<f4";
  else if constexpr (std::same_as<T, double>)
    return "<f8";
  else if constexpr (std::same_as<T, std::int32_t>)
    return "<i4";
  else if constexpr (std::same_as<T, std::int64_t>)
    return "<i8";
  else if constexpr (std::same_as<T, std::uint8_t>)
    return "|u1";
  else
    static_assert(sizeof(T) == 0, "write_npy: no such element type");
}

}  // namespace detail

/// A .npy file, open for reading: versions 1 to 3, C and Fortran order, little-endian booleans, integers and
/// floating point. Throws file_error for everything that is wrong with it.
class npy_file {
 public:
  static constexpr std::uint32_t largest_header = 65536;  // bytes; numpy itself stops at 10000

  explicit npy_file(std::string const& path) : path_(path), file_(std::in_place, path) {
    parse(file_->bytes());
  }
  /// The same over memory that outlives this object; `label` takes the path's place in messages.
  npy_file(std::span<std::byte const> bytes, std::string label) : path_(std::move(label)) { parse(bytes); }

  std::string const& path() const { return path_; }
  stored_dtype dtype() const { return dtype_; }
  /// Outermost first; empty for a scalar; extents may be 0.
  std::vector<index_t> const& shape() const { return shape_; }
  bool fortran_order() const { return fortran_order_; }
  index_t size() const { return static_cast<index_t>(data_.size() / size_of(dtype_)); }

  /// All elements in row-major order, converted to T (float, double; std::int64_t for integers and booleans).
  template <class T> std::vector<T> read() const {
    auto const reader = detail::element_reader<T>(dtype_);
    if (reader == nullptr)
      fail(std::string("expected ") + (Compute<T> ? "a real" : "an integer") + " type, got " +
           name_of(dtype_));
    std::size_t const step = size_of(dtype_);
    std::vector<T> to(static_cast<std::size_t>(size()));
    if (!fortran_order_) {
      for (std::size_t n = 0; n < to.size(); ++n) to[n] = reader(data_.data() + n * step);
      return to;
    }
    std::vector<index_t> i(shape_.size()), stride(shape_.size());
    index_t whole = 1;
    for (std::size_t r = 0; r < shape_.size(); ++r) {
      stride[r] = whole;
      whole *= shape_[r];
    }
    for (T& value : to) {
      index_t offset = 0;
      for (std::size_t r = 0; r < i.size(); ++r) offset += i[r] * stride[r];
      value = reader(data_.data() + static_cast<std::size_t>(offset) * step);
      for (std::size_t r = i.size(); r-- > 0 && ++i[r] == shape_[r];) i[r] = 0;
    }
    return to;
  }

 private:
  [[noreturn, gnu::cold]] void fail(std::string const& what) const { detail::raise<file_error>(path_, what); }

  void parse(std::span<std::byte const> bytes) {
    constexpr std::string_view magic = "\x93NUMPY";
    std::string_view const text(reinterpret_cast<char const*>(bytes.data()), bytes.size());
    if (!text.starts_with(magic)) fail("expected a .npy file, which begins with \"\\x93NUMPY\"");
    if (text.size() < magic.size() + 4)
      fail("expected at least 10 bytes, got " + std::to_string(text.size()));
    int const major = static_cast<unsigned char>(text[6]);
    if (major < 1 || major > 3) fail("version: expected 1, 2 or 3, got " + std::to_string(major));
    std::size_t const length_bytes = major == 1 ? 2 : 4, begin = magic.size() + 2 + length_bytes;
    std::uint32_t length = 0;
    if (text.size() >= begin) std::memcpy(&length, text.data() + begin - length_bytes, length_bytes);
    if (text.size() < begin || length > largest_header || length > text.size() - begin)
      fail("header length: expected at most " +
           std::to_string(text.size() < begin ? 0
                                              : std::min<std::size_t>(largest_header, text.size() - begin)) +
           " bytes, got " + std::to_string(length));
    parse_header(text.substr(begin, length));
    data_ = bytes.subspan(begin + length);
    auto expected = static_cast<index_t>(size_of(dtype_));
    for (index_t const n : shape_)
      if (__builtin_mul_overflow(expected, n, &expected))
        fail("shape: " + detail::print_shape(shape_) + " needs 2^63 bytes or more");
    if (static_cast<std::size_t>(expected) != data_.size())
      fail("expected " + std::to_string(expected) + " bytes for " + name_of(dtype_) + " of extents " +
           detail::print_shape(shape_) + ", got " + std::to_string(data_.size()));
  }

  void parse_header(std::string_view text) {
    detail::npy_header in(text, path_);
    bool descr = false, order = false, shape = false;
    in.expect("{");
    while (!in.accept("}")) {
      std::string const key = in.string();
      in.expect(":");
      if (key == "descr" && !std::exchange(descr, true))
        parse_type(in);
      else if (key == "fortran_order" && !std::exchange(order, true))
        fortran_order_ = in.boolean();
      else if (key == "shape" && !std::exchange(shape, true))
        shape_ = in.tuple();
      else
        in.fail("unknown or repeated key '" + key + "'");
      if (in.accept(",")) continue;
      in.expect("}");
      break;
    }
    in.expect_end();
    if (!descr || !order || !shape) fail("header: expected 'descr', 'fortran_order' and 'shape'");
  }

  void parse_type(detail::npy_header& in) {
    if (in.accept("[")) fail("descr: expected one type, got a record");
    std::string const descr = in.string();
    if (descr.starts_with('>')) fail("descr: expected little-endian numbers, got '" + descr + "'");
    for (auto const& row : detail::npy_types)
      if (descr.size() == 3 && (descr[0] == '<' || descr[0] == '|' || descr[0] == '=') &&
          descr.substr(1) == row.name) {
        dtype_ = row.dtype;
        return;
      }
    fail("descr: expected numbers or booleans, such as '<f4' or '|u1', got '" + descr + "'");
  }

  std::string path_;
  std::optional<mapped_file> file_;
  stored_dtype dtype_ = stored_dtype::f32;
  std::vector<index_t> shape_;
  bool fortran_order_ = false;
  std::span<std::byte const> data_;
};

/// Writes v in C order, version 1, replacing what is there. T: float, double, std::int32_t, std::int64_t,
/// std::uint8_t. On file_error the target is as it was.
template <class T, int R> void write_npy(std::string const& path, view<T, R, host_space> v) {
  using value = std::remove_const_t<T>;
  std::string header =
      std::string("{'descr': '") + detail::npy_descr<value>() + "', 'fortran_order': False, 'shape': (";
  for (int r = 0; r < R; ++r) {
    expects_value(v.ext[r] >= 0, "write_npy: v", "every extent to be at least 0", v.ext[r]);
    header += std::to_string(v.ext[r]) + (R == 1 ? "," : r + 1 < R ? ", " : "");
  }
  header += "), }";
  header.append(63 - (10 + header.size()) % 64, ' ');  // the elements begin at a multiple of 64 bytes
  header += '\n';
  std::vector<value> rows(static_cast<std::size_t>(v.size()));
  extents<R> i{};
  for (value& to : rows) {
    index_t offset = 0;
    for (int r = 0; r < R; ++r) offset += i[r] * v.str[r];
    to = v.ptr[offset];
    for (int r = R - 1; r >= 0 && ++i[r] == v.ext[r]; --r) i[r] = 0;
  }
  auto const length = static_cast<std::uint16_t>(header.size());
  detail::replacement_file file(path);
  file.write("\x93NUMPY\x01\x00", 8);
  file.write(&length, sizeof length);
  file.write(header.data(), header.size());
  file.write(rows.data(), rows.size() * sizeof(value));
  file.commit();
}

}  // namespace smx
