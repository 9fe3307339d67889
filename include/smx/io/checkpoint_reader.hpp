// SPDX-License-Identifier: Apache-2.0
/// \file  Reads the weights of a model out of a safetensors file, and says all that is wrong at once: every
/// missing tensor, every wrong shape or type, every tensor that nobody asked for.
#pragma once

#include <set>
#include <string>
#include <vector>

#include <smx/io/safetensors.hpp>

namespace smx {

/// ```cpp
/// checkpoint_reader from(file, {"", "model."});         // names stand there with one of these prefixes
/// from.read("embeddings.weight", w.table);              // a view of host memory: rank and extents must
/// agree from.read({"freq", "1.freq"}, w.frequency);           // the first of these names that is there
/// std::vector<std::string> unknown = from.finish();     // throws file_error with all that was missing or
/// wrong
/// ```
class checkpoint_reader {
 public:
  /// `file` must outlive the reader. Prefixes are tried in this order, for each tensor.
  explicit checkpoint_reader(safetensors_file const& file, std::vector<std::string> prefixes = {""})
      : file_(&file), prefixes_(std::move(prefixes)) {}

  safetensors_file const& file() const { return *file_; }

  /// The name that the file has for `name`, or null.
  std::string const* find(std::string const& name) {
    for (std::string const& prefix : prefixes_)
      if (auto const it = names_.insert(prefix + name).first; file_->contains(*it)) return &*it;
    return nullptr;
  }
  bool contains(std::string const& name) { return find(name) != nullptr; }
  /// The extents of a tensor that is there.
  std::vector<index_t> const& shape(std::string const& name) {
    std::string const* const found = find(name);
    return file_->at(found != nullptr ? *found : name).shape;
  }

  /// Reads a tensor into `to`. What is wrong is remembered for finish.
  template <class T, int R> void read(std::string const& name, view<T, R, host_space> to) {
    read(std::vector<std::string>{name}, to);
  }
  /// The same under the first of several names that is there; the others count as known.
  template <class T, int R> void read(std::vector<std::string> const& names, view<T, R, host_space> to) {
    std::string const* from = nullptr;
    for (std::string const& name : names) {
      std::string const* const found = find(name);
      if (found == nullptr) continue;
      used_.insert(*found);
      if (from == nullptr) from = found;
    }
    if (from == nullptr) {
      problems_.push_back("tensor '" + names.front() + "' is missing");
      return;
    }
    try {
      read_ranks(*from, to);
    } catch (file_error const& e) {
      problems_.push_back(std::string(e.what()).substr(file_->path().size() + 2));
    }
  }
  /// A tensor that is known and not read.
  void skip(std::string const& name) {
    if (std::string const* const found = find(name)) used_.insert(*found);
  }
  /// Remembers a problem that the caller found.
  void report(std::string const& what) { problems_.push_back(what); }

  /// Throws file_error with everything that was missing or wrong, one a line. Returns the names of the
  /// tensors that nobody asked for; with `refuse_unknown` these are an error too.
  std::vector<std::string> finish(bool refuse_unknown = false) const {
    std::vector<std::string> unknown;
    for (std::string const& name : file_->names())
      if (!used_.contains(name)) unknown.push_back(name);
    std::string all;
    for (std::string const& one : problems_) all += "\n  " + one;
    if (refuse_unknown)
      for (std::string const& name : unknown) all += "\n  tensor '" + name + "' is unknown";
    if (!all.empty()) detail::raise<file_error>(file_->path(), "the tensors do not fit the model:" + all);
    return unknown;
  }

 private:
  /// Extents of 1 may be left out or added: (3,1,4) is read into (3,4).
  template <class T, int R> void read_ranks(std::string const& name, view<T, R, host_space> to) const {
    auto const without_ones = [](auto const& shape) {
      std::vector<index_t> kept;
      for (index_t const n : shape)
        if (n != 1) kept.push_back(n);
      return kept;
    };
    if (without_ones(file_->at(name).shape) != without_ones(to.ext.n))
      return file_->read(name, to);  // throws
    std::vector<T> const values = file_->read<T>(name);
    extents<R> i{};
    for (T const& value : values) {
      index_t offset = 0;
      for (int r = 0; r < R; ++r) offset += i[r] * to.str[r];
      to.ptr[offset] = value;
      for (int r = R - 1; r >= 0 && ++i[r] == to.ext[r]; --r) i[r] = 0;
    }
  }

  safetensors_file const* file_;
  std::vector<std::string> prefixes_;
  std::set<std::string> names_, used_;
  std::vector<std::string> problems_;
};

}  // namespace smx
