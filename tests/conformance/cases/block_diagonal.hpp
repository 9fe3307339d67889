// SPDX-License-Identifier: Apache-2.0
/// \file  block_diagonal in the conformance suite.
#pragma once

#include <smx/mixers/block_diagonal.hpp>

#include "tests/conformance/cases/matrix.hpp"

template <class T> struct smx::testing::cases<smx::block_diagonal<T>> {
  using M = block_diagonal<T>;

  static std::vector<example<M>> examples() {
    return {
        {{.channels = 1, .blocks = 1}, {{2, 1, 1, 1}}},
        {{.channels = 2, .blocks = 2, .bias = false}, {{1, 2, 2, 2}}},
        {{.channels = 12}, {{2, 1, 7, 12}}},
        {{.channels = 12, .blocks = 3, .bias = false, .shuffle = true}, {{1, 2, 33, 12}}},
        {{.channels = 13, .output_channels = 30, .blocks = 4}, {{2, 2, 5, 13}}},
        {{.channels = 13, .output_channels = 30, .blocks = 4, .shuffle = true}, {{2, 1, 5, 13}}},
        {{.channels = 30, .output_channels = 13, .blocks = 4, .bias = false}, {{1, 1, 6, 30}}},
        {{.channels = 5, .output_channels = 9, .blocks = 7, .shuffle = true}, {{1, 2, 3, 5}}},
        {{.channels = 9, .output_channels = 5, .blocks = 7, .bias = false}, {{1, 1, 3, 9}}},
        {{.channels = 256, .output_channels = 384, .blocks = 4}, {{2, 1, 127, 256}}, false},
    };
  }
  static example<M> sized(index_t length) { return {{.channels = 8}, {{1, 1, length, 8}}}; }
  static double terms(M const& m, host_inputs<M> const&) {
    return static_cast<double>(std::max(m.block_in(), m.block_out())) + 1;
  }
  /// y[g O + o] = sum_c weight[g,o,c] z[g C + c] + bias; z = x with zeros at its end, and, when shuffled,
  /// z[i G + b] = x[b C + i].
  static void oracle(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    index_t const c = m.block_in(), o = m.block_out();
    test::matrix a(m.output(), m.channels);
    for (index_t row = 0; row < m.output(); ++row)
      for (index_t j = 0; j < c; ++j) {
        index_t const at = row / o * c + j, from = m.shuffle ? at % m.blocks * c + at / m.blocks : at;
        if (from < m.channels) a.add(row, from, static_cast<double>(w.weight(row / o, row % o, j)));
      }
    test::apply(a, 3, terms(m, x), x.x, y, bound);
    if (!m.bias) return;
    loops::for_each_index(y.ext, [&](extents<4> const& i) {
      double const b = static_cast<double>(w.bias(i[3]));
      loops::at(y, i) += b;
      loops::at(bound, i) += terms(m, x) * std::fabs(b);
    });
  }
  static bool sees(M const&, host_inputs<M> const&, int, index_t row, index_t position) {
    return row == position;
  }
};
