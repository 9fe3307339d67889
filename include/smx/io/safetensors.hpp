// SPDX-License-Identifier: Apache-2.0
/// \file  Reader of safetensors files: an 8-byte little-endian header length n, n bytes of JSON, then the
/// bytes of all tensors.
///
///   {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
///   ...}
///
/// Files are untrusted. Opening checks everything that the format demands: lengths, known dtypes, no
/// overflow, offsets that equal shape times element size, no overlap, no gap, no byte left over, no name
/// twice, UTF-8. O(header); tensor bytes are memory-mapped and read on demand. Tensors may stand at any
/// address: elements are copied out, never dereferenced in place. Format:
/// https://huggingface.co/docs/safetensors
#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <smx/core/view.hpp>
#include <smx/io/json_header.hpp>
#include <smx/io/mapped_file.hpp>
#include <smx/io/stored_dtype.hpp>

namespace smx {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

/// One tensor of a file. `bytes` points into the file and may be unaligned.
struct safetensors_entry {
  stored_dtype dtype = stored_dtype::f32;
  std::vector<index_t> shape;  ///< outermost first; empty for a scalar; extents may be 0
  std::span<std::byte const> bytes;

  /// Number of elements.
  index_t size() const { return static_cast<index_t>(bytes.size() / size_of(dtype)); }
};

namespace detail {

/// "(2, 3)"
inline std::string print_shape(std::span<index_t const> shape) {
  std::string text = "(";
  for (std::size_t r = 0; r < shape.size(); ++r) text += (r == 0 ? "" : ", ") + std::to_string(shape[r]);
  return text + ")";
}

template <class Stored, class T> T element_at(std::byte const* at) {
  Stored value;
  std::memcpy(&value, at, sizeof value);
  if constexpr (std::same_as<Stored, bf16> || std::same_as<Stored, f16>)
    return static_cast<T>(static_cast<float>(value));
  else
    return static_cast<T>(value);
}

/// The function that reads one stored element as T; null when T cannot hold the type: floating point reads
/// any real type, std::int64_t reads integers that fit and booleans.
template <class T> auto element_reader(stored_dtype d) -> T (*)(std::byte const*) {
  switch (d) {
    case stored_dtype::boolean:
    case stored_dtype::u8:
      return &element_at<std::uint8_t, T>;
    case stored_dtype::i8:
      return &element_at<std::int8_t, T>;
    case stored_dtype::i16:
      return &element_at<std::int16_t, T>;
    case stored_dtype::u16:
      return &element_at<std::uint16_t, T>;
    case stored_dtype::i32:
      return &element_at<std::int32_t, T>;
    case stored_dtype::u32:
      return &element_at<std::uint32_t, T>;
    case stored_dtype::i64:
      return &element_at<std::int64_t, T>;
    default:
      break;
  }
  if constexpr (Compute<T>) {
    switch (d) {
      case stored_dtype::u64:
        return &element_at<std::uint64_t, T>;
      case stored_dtype::f16:
        return &element_at<f16, T>;
      case stored_dtype::bf16:
        return &element_at<bf16, T>;
      case stored_dtype::f32:
        return &element_at<float, T>;
      case stored_dtype::f64:
        return &element_at<double, T>;
      default:
        break;
    }
  }
  return nullptr;
}

}  // namespace detail

/// A safetensors file, open for reading. Throws file_error for everything that is wrong with the file; the
/// message names the path and, where one is concerned, the tensor.
class safetensors_file {
 public:
  /// Headers above this many bytes are refused, as the format's own library does.
  static constexpr std::uint64_t largest_header = 100'000'000;

  explicit safetensors_file(std::string const& path) : path_(path), file_(std::in_place, path) {
    parse(file_->bytes());
  }

  /// The same over memory that outlives this object; `label` takes the path's place in messages.
  safetensors_file(std::span<std::byte const> bytes, std::string label) : path_(std::move(label)) {
    parse(bytes);
  }

  std::string const& path() const { return path_; }
  std::map<std::string, std::string> const& metadata() const { return metadata_; }

  /// The names of all tensors, sorted.
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    out.reserve(entries_.size());
    for (auto const& [name, entry] : entries_) out.push_back(name);
    return out;
  }

  bool contains(std::string const& name) const { return entries_.contains(name); }

  /// The tensor of that name, null when there is none.
  safetensors_entry const* find(std::string const& name) const {
    auto const it = entries_.find(name);
    return it == entries_.end() ? nullptr : &it->second;
  }

  /// The tensor of that name; throws file_error when there is none.
  safetensors_entry const& at(std::string const& name) const {
    safetensors_entry const* const entry = find(name);
    if (entry == nullptr) fail(name, "no such tensor");
    return *entry;
  }

  /// All elements, row-major, converted to T (float, double; std::int64_t for integers and booleans).
  /// Conversion rounds to nearest: integers above 2^24 may change in float, above 2^53 in double.
  template <class T> std::vector<T> read(std::string const& name) const {
    safetensors_entry const& entry = at(name);
    auto const reader = reader_for<T>(name, entry);
    std::size_t const step = size_of(entry.dtype);
    std::vector<T> out(static_cast<std::size_t>(entry.size()));
    for (std::size_t n = 0; n < out.size(); ++n) out[n] = reader(entry.bytes.data() + n * step);
    return out;
  }

  /// As above, and throws unless the tensor has these extents.
  template <class T> std::vector<T> read(std::string const& name, std::span<index_t const> shape) const {
    expect_shape(name, at(name), shape);
    return read<T>(name);
  }

  /// Writes the elements through `out`, whose extents must be the tensor's.
  template <class T, int R> void read(std::string const& name, view<T, R, host_space> out) const {
    safetensors_entry const& entry = at(name);
    expect_shape(name, entry, std::span<index_t const>(out.ext.n));
    auto const reader = reader_for<T>(name, entry);
    std::size_t const step = size_of(entry.dtype);
    std::byte const* from = entry.bytes.data();
    extents<R> i{};
    for (index_t left = entry.size(); left > 0; --left, from += step) {
      index_t offset = 0;
      for (int r = 0; r < R; ++r) offset += i[r] * out.str[r];
      out.ptr[offset] = reader(from);
      for (int r = R - 1; r >= 0 && ++i[r] == out.ext[r]; --r) i[r] = 0;
    }
  }

 private:
  [[noreturn, gnu::cold]] void fail(std::string const& name, std::string const& what) const {
    detail::raise<file_error>(path_, "tensor '" + name + "': " + what);
  }

  template <class T>
  auto reader_for(std::string const& name, safetensors_entry const& entry) const -> T (*)(std::byte const*) {
    auto const reader = detail::element_reader<T>(entry.dtype);
    if (reader == nullptr)
      fail(name, std::string("expected ") + (Compute<T> ? "a real" : "an integer") + " type, got " +
                     name_of(entry.dtype));
    return reader;
  }

  void expect_shape(std::string const& name, safetensors_entry const& entry,
                    std::span<index_t const> shape) const {
    if (!std::ranges::equal(entry.shape, shape))
      fail(name,
           "expected extents " + detail::print_shape(shape) + ", got " + detail::print_shape(entry.shape));
  }

  void parse(std::span<std::byte const> bytes) {
    if (bytes.size() < 8)
      detail::raise<file_error>(path_, "expected at least 8 bytes, got " + std::to_string(bytes.size()));
    std::uint64_t header = 0;
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header > largest_header || header > bytes.size() - 8)
      detail::raise<file_error>(
          path_, "header length: expected at most " +
                     std::to_string(std::min<std::uint64_t>(largest_header, bytes.size() - 8)) +
                     " bytes, got " + std::to_string(header));
    auto const data = bytes.subspan(8 + static_cast<std::size_t>(header));
    std::string_view const text(reinterpret_cast<char const*>(bytes.data()) + 8,
                                static_cast<std::size_t>(header));
    if (!text.starts_with('{')) detail::raise<file_error>(path_, "the header does not begin with '{'");
    parse_header(text, data);
    check_layout(data);
  }

  void parse_header(std::string_view text, std::span<std::byte const> data) {
    detail::json_cursor json(text, path_);
    json.expect('{');
    bool metadata_seen = false;
    if (!json.accept('}')) {
      do {
        std::string const name = json.string();
        json.expect(':');
        if (name == "__metadata__") {
          if (std::exchange(metadata_seen, true)) json.fail("'__metadata__' twice");
          parse_metadata(json);
        } else {
          safetensors_entry entry = parse_entry(json, name, data);
          if (!entries_.emplace(name, std::move(entry)).second)
            fail(name, "the name stands in the header twice");
        }
      } while (json.accept(','));
      json.expect('}');
    }
    json.expect_end();
  }

  void parse_metadata(detail::json_cursor& json) {
    json.expect('{');
    if (json.accept('}')) return;
    do {
      std::string key = json.string();
      json.expect(':');
      std::string value = json.string();
      if (!metadata_.emplace(std::move(key), std::move(value)).second) json.fail("a metadata key twice");
    } while (json.accept(','));
    json.expect('}');
  }

  safetensors_entry parse_entry(detail::json_cursor& json, std::string const& name,
                                std::span<std::byte const> data) {
    safetensors_entry entry;
    bool dtype_seen = false, shape_seen = false, offsets_seen = false;
    std::vector<index_t> offsets;
    json.expect('{');
    do {
      std::string const key = json.string();
      json.expect(':');
      if (key == "dtype" && !std::exchange(dtype_seen, true)) {
        std::string const dtype = json.string();
        auto const known = stored_dtype_named(dtype);
        if (!known) fail(name, "unknown dtype '" + dtype + "'");
        entry.dtype = *known;
      } else if (key == "shape" && !std::exchange(shape_seen, true)) {
        entry.shape = parse_integers(json);
      } else if (key == "data_offsets" && !std::exchange(offsets_seen, true)) {
        offsets = parse_integers(json);
      } else {
        fail(name, "unknown or repeated key '" + key + "'");
      }
    } while (json.accept(','));
    json.expect('}');
    if (!dtype_seen || !shape_seen || !offsets_seen) fail(name, "expected dtype, shape and data_offsets");

    auto bytes = static_cast<index_t>(size_of(entry.dtype));
    for (index_t const n : entry.shape)
      if (__builtin_mul_overflow(bytes, n, &bytes))
        fail(name, "extents " + detail::print_shape(entry.shape) + " overflow 2^63 bytes");
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > static_cast<index_t>(data.size()))
      fail(name, "data_offsets: expected two ascending numbers up to " + std::to_string(data.size()) +
                     ", got " + detail::print_shape(offsets));
    if (offsets[1] - offsets[0] != bytes)
      fail(name, "data_offsets: expected " + std::to_string(bytes) + " bytes for " + name_of(entry.dtype) +
                     " of extents " + detail::print_shape(entry.shape) + ", got " +
                     std::to_string(offsets[1] - offsets[0]));
    entry.bytes = data.subspan(static_cast<std::size_t>(offsets[0]), static_cast<std::size_t>(bytes));
    return entry;
  }

  static std::vector<index_t> parse_integers(detail::json_cursor& json) {
    std::vector<index_t> out;
    json.expect('[');
    if (json.accept(']')) return out;
    do out.push_back(json.non_negative_integer());
    while (json.accept(','));
    json.expect(']');
    return out;
  }

  /// The tensors, in the order of their bytes, must cover the data without overlap, without gap and to the
  /// end.
  void check_layout(std::span<std::byte const> data) const {
    using named_entry = std::pair<std::string const, safetensors_entry>;
    std::vector<named_entry const*> order;
    order.reserve(entries_.size());
    for (named_entry const& entry : entries_) order.push_back(&entry);
    auto const begin = [&](named_entry const* e) { return e->second.bytes.data() - data.data(); };
    std::ranges::sort(order, [&](named_entry const* a, named_entry const* b) {
      return std::pair(begin(a), a->second.bytes.size()) < std::pair(begin(b), b->second.bytes.size());
    });
    std::ptrdiff_t covered = 0;
    for (named_entry const* const e : order) {
      if (begin(e) != covered)
        fail(e->first, std::string(begin(e) < covered ? "overlaps another tensor" : "leaves a gap") +
                           ": begins at byte " + std::to_string(begin(e)) + ", expected " +
                           std::to_string(covered));
      covered += static_cast<std::ptrdiff_t>(e->second.bytes.size());
    }
    if (covered != static_cast<std::ptrdiff_t>(data.size()))
      detail::raise<file_error>(path_, "expected " + std::to_string(covered) +
                                           " bytes after the header, got " + std::to_string(data.size()));
  }

  std::string path_;
  std::optional<mapped_file> file_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, safetensors_entry> entries_;
};

}  // namespace smx
