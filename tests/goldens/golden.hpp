// SPDX-License-Identifier: Apache-2.0
/// \file  One file of reference results: what it says about itself, and its tensors.
#pragma once

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <goldens_backends.hpp>
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
    if (it == config_.end() || !is_size(*it))
      fail(std::string("config: '") + key + "': expected an integer of at least 1");
    return it->get<index_t>();
  }
  /// A list of sizes, each at least 1.
  std::vector<index_t> sizes_option(char const* key) const {
    std::vector<index_t> sizes;
    auto const it = config_.find(key);
    if (it == config_.end() || !it->is_array())
      fail(std::string("config: '") + key + "': expected a list of sizes");
    for (auto const& n : *it) {
      if (!is_size(n)) fail(std::string("config: '") + key + "': expected sizes of at least 1");
      sizes.push_back(n.get<index_t>());
    }
    return sizes;
  }
  /// A list of numbers, which may be written as text ("inf"); empty when it is absent or null.
  std::vector<double> numbers_option(char const* key) const {
    std::vector<double> numbers;
    auto const it = config_.find(key);
    if (it == config_.end() || it->is_null()) return numbers;
    if (!it->is_array()) fail(std::string("config: '") + key + "': expected a list of numbers");
    for (auto const& n : *it) {
      if (!n.is_number() && !n.is_string()) fail(std::string("config: '") + key + "': expected numbers");
      numbers.push_back(n.is_number() ? n.get<double>() : std::strtod(n.get<std::string>().c_str(), nullptr));
    }
    return numbers;
  }
  /// An option of the config that may be absent or null.
  template <class T> T option(char const* key, T otherwise) const {
    auto const it = config_.find(key);
    if (it == config_.end() || it->is_null()) return otherwise;
    bool const fits = std::is_same_v<T, bool>          ? it->is_boolean()
                      : std::is_same_v<T, std::string> ? it->is_string()
                      : std::is_integral_v<T>          ? it->is_number_integer()
                                                       : it->is_number();
    if (!fits) fail(std::string("config: '") + key + "': wrong type");
    return it->template get<T>();
  }

  /// The extents of a tensor: its rank must be R, or R + 1 with a last axis of `trailing`; none of them 0.
  template <int R> extents<R> extents_of(std::string const& tensor, index_t trailing = 0) const {
    std::vector<index_t> s = shape(tensor);
    if (trailing > 0 && !s.empty() && s.back() == trailing) s.pop_back();
    if (s.size() != R)
      fail("tensor '" + tensor + "': expected rank " + std::to_string(R) + ", got extents " +
           smx::detail::print_shape(shape(tensor)));
    extents<R> e{};
    for (std::size_t r = 0; r < R; ++r) e.n[r] = s[r];
    smx::checked_size(e, tensor.c_str());
    return e;
  }
  /// Throws unless the tensor has these extents.
  template <int R> void expect_extents(std::string const& tensor, extents<R> const& e) const {
    if (extents_of<R>(tensor) != e)
      fail("tensor '" + tensor + "': expected extents " + smx::detail::print_shape(e.n) + ", got " +
           smx::detail::print_shape(shape(tensor)));
  }
  /// The product of all extents but the last: how many vectors of `last` numbers the tensor holds.
  index_t vectors(std::string const& tensor, index_t last) const {
    index_t const size = file_.at(tensor).size();
    if (size == 0 || size % last != 0)
      fail("tensor '" + tensor + "': expected vectors of " + std::to_string(last) + " numbers");
    return size / last;
  }

  [[noreturn]] void fail(std::string const& what) const { throw smx::file_error(file_.path(), what); }

 private:
  static bool is_size(nlohmann::json const& n) { return n.is_number_integer() && n.get<index_t>() >= 1; }

  smx::safetensors_file file_;
  std::string family_, name_;
  nlohmann::json config_;
};

/// Row-major values in the memory of the backend.
template <class T, class B, int R>
smx::tensor<T, R, smx::space_t<B>> upload(B& be, std::vector<T> const& values, extents<R> const& e) {
  smx::tensor<T, R, smx::space_t<B>> t(be.memory(), e);
  if (static_cast<index_t>(values.size()) != t.size())
    throw std::runtime_error("expected " + std::to_string(t.size()) + " values, got " +
                             std::to_string(values.size()));
  transfer<smx::space_t<B>>::in(t.data(), values.data(), t.bytes());
  return t;
}

/// The elements that a view shows, in row-major order of its axes.
template <class T, int R, class S> std::vector<std::remove_const_t<T>> elements(smx::view<T, R, S> v) {
  using value = std::remove_const_t<T>;
  std::vector<value> out;
  if (v.size() == 0) return out;
  index_t low = 0, high = 0;
  for (int r = 0; r < R; ++r) (v.str[r] < 0 ? low : high) += (v.ext[r] - 1) * v.str[r];
  std::vector<value> cells(static_cast<std::size_t>(high - low + 1));
  transfer<S>::out(cells.data(), v.ptr + low, cells.size() * sizeof(value));
  extents<R> i{};
  for (index_t left = v.size(); left > 0; --left) {
    index_t offset = -low;
    for (int r = 0; r < R; ++r) offset += i[r] * v.str[r];
    out.push_back(cells[static_cast<std::size_t>(offset)]);
    for (int r = R - 1; r >= 0 && ++i[r] == v.ext[r]; --r) i[r] = 0;
  }
  return out;
}

/// A tensor as one of host memory.
template <class T, int R, class S> smx::tensor<T, R> here(smx::tensor<T, R, S> const& from) {
  smx::tensor<T, R> to(from.extents());
  transfer<S>::out(to.data(), from.data(), from.bytes());
  return to;
}
/// A tensor of host memory in the memory of the backend.
template <class B, class T, int R>
smx::tensor<T, R, smx::space_t<B>> there(B& be, smx::tensor<T, R> const& from) {
  smx::tensor<T, R, smx::space_t<B>> to(be.memory(), from.extents());
  transfer<smx::space_t<B>>::in(to.data(), from.data(), from.bytes());
  return to;
}
/// Numbers that a mask refers to.
template <class T> smx::tensor<T, 1> shared(std::vector<T> const& values) {
  smx::tensor<T, 1> to(shared_memory(), {static_cast<index_t>(values.size())});
  std::memcpy(to.data(), values.data(), to.bytes());
  return to;
}

/// A tensor of the file in the memory of the backend with these extents, which hold as many elements: leading
/// axes may be merged or split.
template <class T, class B, int R>
smx::tensor<T, R, smx::space_t<B>> load(B& be, golden const& g, std::string const& name,
                                        extents<R> const& e) {
  if (g.file().at(name).size() != smx::checked_size(e, name.c_str()))
    g.fail("tensor '" + name + "': expected " + std::to_string(smx::checked_size(e)) + " elements, got " +
           std::to_string(g.file().at(name).size()));
  return upload<T>(be, g.file().read<T>(name), e);
}

/// The same with the extents that it has in the file.
template <class T, int R, class B>
smx::tensor<T, R, smx::space_t<B>> load(B& be, golden const& g, std::string const& name) {
  return load<T>(be, g, name, g.extents_of<R>(name));
}

}  // namespace goldens
