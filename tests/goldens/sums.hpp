// SPDX-License-Identifier: Apache-2.0
/// \file  Gradients of a loss that is a sum over several results of one file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <tests/goldens/comparison.hpp>

namespace goldens {

/// Arrays by name; adding to one that is not there begins it.
template <class T> class gradient_sums {
 public:
  template <class U, int R, class S> void add(std::string const& name, smx::view<U, R, S> v) {
    add(name, elements(v));
  }
  template <int R, class S> void add(std::string const& name, smx::tensor<T, R, S> const& t) {
    add(name, elements(t.cview()));
  }
  void add(std::string const& name, std::vector<T> const& values) {
    auto& to = sums_[name];
    if (to.empty()) to.resize(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) to.at(i) += values[i];
  }
  /// Compares each with the tensor of its name.
  void check(comparison& c) const {
    for (auto const& [name, values] : sums_) c.check(name, values);
  }

 private:
  std::map<std::string, std::vector<T>> sums_;
};

}  // namespace goldens
