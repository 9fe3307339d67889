// SPDX-License-Identifier: Apache-2.0
/// \file  Dense matrices in double: what the oracles of linear mixers are made of.
#pragma once

#include <algorithm>

#include <smx/testing/cases.hpp>
#include <smx/testing/numbers.hpp>

namespace test {

using smx::host_space;
using smx::index_t;
using smx::view;

/// A and |A|: where an entry is a sum, |A| is the sum of its absolute terms.
struct matrix {
  index_t rows, cols;
  std::vector<double> value, magnitude;

  matrix(index_t r, index_t c)
      : rows(r), cols(c), value(static_cast<std::size_t>(r * c)), magnitude(value.size()) {}
  void add(index_t i, index_t j, double a) {
    auto const at = static_cast<std::size_t>(i * cols + j);
    value[at] += a;
    magnitude[at] += std::fabs(a);
  }
};

/// y = A x along `axis` of (B,H,L,D), and bound = terms |A| |x|.
template <class T>
void apply(matrix const& a, int axis, double terms, view<T const, 4, host_space> x,
           view<double, 4, host_space> y, view<double, 4, host_space> bound) {
  smx::loops::for_each_index(y.ext, [&](smx::extents<4> const& i) {
    double sum = 0, magnitude = 0;
    auto const row = static_cast<std::size_t>(i[axis] * a.cols);
    T const* from = x.ptr;
    for (int r = 0; r < 4; ++r)
      if (r != axis) from += i[r] * x.str[r];
    for (index_t j = 0; j < a.cols; ++j) {
      auto const entry = static_cast<double>(from[j * x.str[axis]]);
      sum += a.value[row + static_cast<std::size_t>(j)] * entry;
      magnitude += a.magnitude[row + static_cast<std::size_t>(j)] * std::fabs(entry);
    }
    smx::loops::at(y, i) = sum;
    smx::loops::at(bound, i) = terms * magnitude;
  });
}

}  // namespace test
