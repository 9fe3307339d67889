// SPDX-License-Identifier: Apache-2.0
/// \file  Writer of safetensors files. The target is either the old file or the complete new one, never a
/// part: the bytes go to
///        a file beside it, which is forced to the disk and then renamed over it.
///
/// The header lists the tensors by name and is padded with blanks to a multiple of 8 bytes; the data is
/// ordered by element size, largest first, then by name, so that every tensor is aligned in the file. The
/// same tensors give the same bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <smx/core/view.hpp>
#include <smx/io/file_error.hpp>
#include <smx/io/json_header.hpp>
#include <smx/io/stored_dtype.hpp>

namespace smx {
namespace detail {

/// A file beside `target` that takes its place on commit() and disappears otherwise.
class replacement_file {
 public:
  explicit replacement_file(std::string const& target) : target_(target) {
    // A symbolic link stays: the file that it names is replaced.
    if (char* const real = ::realpath(target.c_str(), nullptr); real != nullptr) {
      target_ = real;
      std::free(real);
    }
    struct ::stat old {};
    bool const exists = ::stat(target_.c_str(), &old) == 0;
    if (exists && !S_ISREG(old.st_mode))
      raise<file_error>(target, S_ISDIR(old.st_mode) ? "cannot write: it is a directory"
                                                     : "cannot write: it is not a regular file");
    std::string const stem = target_ + ".part-" + std::to_string(::getpid()) + "-";
    for (int attempt = 0; file_ < 0; ++attempt) {
      path_ = stem + std::to_string(attempt);
      file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (file_ < 0 && (errno != EEXIST || attempt == 1000))
        fail_system(target_, "cannot create a file beside it", errno);
    }
    if (exists && ::fchmod(file_, old.st_mode & 07777u) != 0) abandon("cannot set the mode", errno);
  }
  replacement_file(replacement_file const&) = delete;
  replacement_file& operator=(replacement_file const&) = delete;
  ~replacement_file() { discard(); }

  void write(void const* data, std::size_t size) {
    auto const* from = static_cast<char const*>(data);
    while (size > 0) {
      ::ssize_t const wrote = ::write(file_, from, std::min(size, std::size_t{1} << 30));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote <= 0) abandon("cannot write", wrote == 0 ? ENOSPC : errno);
      from += wrote;
      size -= static_cast<std::size_t>(wrote);
    }
  }

  void commit() {
    if (::fsync(file_) != 0) abandon("cannot write", errno);
    if (::close(std::exchange(file_, -1)) != 0) abandon("cannot write", errno);
    if (::rename(path_.c_str(), target_.c_str()) != 0) abandon("cannot take its place", errno);
    path_.clear();
    std::size_t const slash = target_.rfind('/');
    std::string const folder = slash == std::string::npos ? "." : slash == 0 ? "/" : target_.substr(0, slash);
    if (int const at = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); at >= 0) {
      ::fsync(at);  // makes the rename itself durable; some file systems refuse it, and the file is complete
                    // either way
      ::close(at);
    }
  }

 private:
  [[noreturn]] void abandon(char const* action, int code) {
    discard();
    fail_system(target_, action, code);
  }
  void discard() {
    if (file_ >= 0) ::close(std::exchange(file_, -1));
    if (!path_.empty()) ::unlink(path_.c_str());
    path_.clear();
  }

  std::string target_, path_;
  int file_ = -1;
};

/// The text as a JSON string. It must be UTF-8.
inline std::string json_quoted(std::string_view text) {
  std::string out = "\"";
  for (char const c : text) {
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
      out += code;
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace detail

/// Collects copies of tensors and writes them in one go.
class safetensors_writer {
 public:
  /// Adds a tensor. T: float, double, bf16, f16, std::int64_t, std::uint8_t. Throws precondition_error when
  /// the name is taken, reserved ("__metadata__") or not UTF-8, or an extent is negative. An extent of 0 is
  /// allowed.
  template <class T, int R> void add(std::string name, view<T, R, host_space> v) {
    using value = std::remove_const_t<T>;
    entry& e = insert(std::move(name), stored_dtype_of<value>(), {v.ext.n, v.ext.n + R});
    std::byte* to = e.bytes.data();
    extents<R> i{};
    for (index_t left = v.size(); left > 0; --left, to += sizeof(value)) {
      index_t offset = 0;
      for (int r = 0; r < R; ++r) offset += i[r] * v.str[r];
      std::memcpy(to, v.ptr + offset, sizeof(value));
      for (int r = R - 1; r >= 0 && ++i[r] == v.ext[r]; --r) i[r] = 0;
    }
  }

  /// Adds a scalar: a tensor of rank 0.
  template <class T>
  requires std::is_arithmetic_v<T>
  void add(std::string name, T value) {
    entry& e = insert(std::move(name), stored_dtype_of<T>(), {});
    std::memcpy(e.bytes.data(), &value, sizeof value);
  }

  /// Sets one metadata text; a later one of the same key replaces it. Both must be UTF-8.
  void set_metadata(std::string key, std::string value) {
    expects(detail::is_utf8(key), "key: expected UTF-8 text");
    expects(detail::is_utf8(value), "value: expected UTF-8 text");
    metadata_[std::move(key)] = std::move(value);
  }

  /// Writes the file, replacing what is there. On file_error the target is as it was and nothing is left
  /// beside it.
  void write(std::string const& path) const {
    std::vector<entry const*> order;
    std::string const header = make_header(order);
    detail::replacement_file file(path);
    std::uint64_t const length = header.size();
    file.write(&length, sizeof length);
    file.write(header.data(), header.size());
    for (entry const* const e : order) file.write(e->bytes.data(), e->bytes.size());
    file.commit();
  }

 private:
  struct entry {
    stored_dtype dtype;
    std::vector<index_t> shape;
    std::vector<std::byte> bytes;
  };

  entry& insert(std::string name, stored_dtype dtype, std::vector<index_t> shape) {
    expects(name != "__metadata__", "name: '__metadata__' is reserved");
    expects(detail::is_utf8(name), "name: expected UTF-8 text");
    auto bytes = static_cast<index_t>(size_of(dtype));
    for (index_t const n : shape) {
      expects_value(n >= 0, "tensor", "every extent to be at least 0", n);
      expects_value(!__builtin_mul_overflow(bytes, n, &bytes), "tensor", "fewer than 2^63 bytes; extent", n);
    }
    expects(!entries_.contains(name), ("name: '" + name + "' was added before").c_str());
    entry e{dtype, std::move(shape), std::vector<std::byte>(static_cast<std::size_t>(bytes))};
    return entries_.emplace(std::move(name), std::move(e)).first->second;
  }

  /// The header, and in `order` the tensors in the order of their bytes.
  std::string make_header(std::vector<entry const*>& order) const {
    for (auto const& [name, e] : entries_) order.push_back(&e);
    std::ranges::stable_sort(
        order, [](entry const* a, entry const* b) { return size_of(a->dtype) > size_of(b->dtype); });
    std::map<entry const*, std::size_t> begins;
    std::size_t end = 0;
    for (entry const* const e : order) begins[e] = std::exchange(end, end + e->bytes.size());

    std::string text = "{";
    if (!metadata_.empty()) {
      text += "\"__metadata__\":{";
      char const* comma = "";
      for (auto const& [key, value] : metadata_)
        text += std::exchange(comma, ",") + detail::json_quoted(key) + ':' + detail::json_quoted(value);
      text += '}';
    }
    for (auto const& [name, e] : entries_) {
      if (text.size() > 1) text += ',';
      text += detail::json_quoted(name) + ":{\"dtype\":\"" + name_of(e.dtype) + "\",\"shape\":[";
      for (std::size_t r = 0; r < e.shape.size(); ++r)
        text += (r == 0 ? "" : ",") + std::to_string(e.shape[r]);
      std::size_t const begin = begins[&e];
      text += "],\"data_offsets\":[" + std::to_string(begin) + ',' + std::to_string(begin + e.bytes.size()) +
              "]}";
    }
    text += '}';
    text.append((8 - text.size() % 8) % 8, ' ');
    return text;
  }

  std::map<std::string, std::string> metadata_;
  std::map<std::string, entry> entries_;
};

}  // namespace smx
