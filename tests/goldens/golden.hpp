// SPDX-License-Identifier: Apache-2.0
/// \file  One file of reference results: what it says about itself, and its tensors.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <smx/backend/concept.hpp>
#include <smx/core/tensor.hpp>
#include <smx/io/safetensors.hpp>

namespace goldens {

using smx::extents;
using smx::index_t;

/// Inputs `in.*`, weights `w.*`, results `out.*`, gradients `grad.*` (by weight name, or `grad.in.*`), and in
/// the metadata the `family` (what to run), `case`, `config` (JSON) and `notes`. Boolean tensors are stored
/// as integers.
class golden {
 public:
  /// Throws file_error when the file is damaged or does not say what it is.
  explicit golden(std::string const& path) : file_(path) {
    family_ = text("family");
    name_ = text("case");
    config_ = nlohmann::json::parse(text("config"), nullptr, false);
    if (!config_.is_object()) fail("metadata 'config': expected a JSON object");
  }

  std::string const& family() const { return family_; }
  std::string const& name() const { return name_; }
  smx::safetensors_file const& file() const { return file_; }
  bool contains(std::string const& tensor) const { return file_.contains(tensor); }
  std::vector<index_t> const& shape(std::string const& tensor) const { return file_.at(tensor).shape; }

  /// The text of a metadata key; throws when there is none.
  std::string const& text(std::string const& key) const {
    auto const it = file_.metadata().find(key);
    if (it == file_.metadata().end()) fail("metadata: '" + key + "' is missing");
    return it->second;
  }
  std::string notes() const { return file_.metadata().contains("notes") ? text("notes") : std::string(); }

  /// A number of the config that is a size: throws unless it is there and at least 1.
  index_t size_option(char const* key) const {
    auto const it = config_.find(key);
    if (it == config_.end() || !it->is_number_integer() || *it < 1)
      fail(std::string("config: '") + key + "': expected an integer of at least 1");
    return it->get<index_t>();
  }
  /// An option of the config that may be absent or null.
  template <class T> T option(char const* key, T otherwise) const {
    auto const it = config_.find(key);
    if (it == config_.end() || it->is_null()) return otherwise;
    bool const fits = std::is_same_v<T, bool> ? it->is_boolean() : it->is_number();
    if (!fits) fail(std::string("config: '") + key + "': wrong type");
    return it->template get<T>();
  }

  /// The extents of a tensor, whose rank must be R.
  template <int R> extents<R> extents_of(std::string const& tensor) const {
    auto const& s = shape(tensor);
    if (s.size() != R)
      fail("tensor '" + tensor + "': expected rank " + std::to_string(R) + ", got " +
           std::to_string(s.size()));
    extents<R> e{};
    for (std::size_t r = 0; r < R; ++r) e.n[r] = s[r];
    return e;
  }

  [[noreturn]] void fail(std::string const& what) const { throw smx::file_error(file_.path(), what); }

 private:
  smx::safetensors_file file_;
  std::string family_, name_;
  nlohmann::json config_;
};

/// A tensor of the file, row-major in the memory of the backend, with these extents: the same number of
/// elements as in the file, so that leading axes can be merged or split.
template <class T, class B, int R>
smx::tensor<T, R, smx::space_t<B>> load(B& be, golden const& g, std::string const& name,
                                        extents<R> const& e) {
  smx::tensor<T, R, smx::space_t<B>> t(be.memory(), e);
  std::vector<T> const values = g.file().read<T>(name);
  if (static_cast<index_t>(values.size()) != t.size())
    g.fail("tensor '" + name + "': expected " + std::to_string(t.size()) + " elements, got " +
           std::to_string(values.size()));
  std::memcpy(t.data(), values.data(), t.bytes());
  return t;
}

/// The same with the extents that it has in the file.
template <class T, int R, class B>
smx::tensor<T, R, smx::space_t<B>> load(B& be, golden const& g, std::string const& name) {
  return load<T>(be, g, name, g.extents_of<R>(name));
}

}  // namespace goldens
