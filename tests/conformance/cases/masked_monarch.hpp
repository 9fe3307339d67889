// SPDX-License-Identifier: Apache-2.0
/// \file  masked_monarch in the conformance suite.
#pragma once

#include <smx/mixers/masked_monarch.hpp>

#include "tests/conformance/cases/matrix.hpp"

template <class T> struct smx::testing::cases<smx::masked_monarch<T>> {
  using M = masked_monarch<T>;

  static std::vector<example<M>> examples() {
    return {
        {{.channels = 3, .length = 1}, {{2, 1, 1, 3}}},
        {{.channels = 1, .length = 2}, {{1, 2, 2, 1}}},
        {{.channels = 3, .length = 7}, {{2, 1, 7, 3}}},
        {{.channels = 5, .length = 12, .factors = {3, 4}}, {{2, 2, 12, 5}}},
        {{.channels = 6, .length = 15, .factors = {5, 3}, .groups = 2}, {{2, 1, 15, 6}}},
        {{.channels = 17, .length = 33}, {{1, 2, 33, 17}}},
        {{.channels = 3, .length = 101}, {{1, 1, 101, 3}}},
        {{.channels = 6, .length = 40, .groups = 6}, {{2, 1, 23, 6}}},
        {{.channels = 2, .length = 34, .factors = {34, 1}}, {{1, 1, 34, 2}}},
        {{.channels = 2, .length = 37, .factors = {1, 37}}, {{1, 1, 37, 2}}},
        {{.channels = 80, .length = 64}, {{2, 1, 64, 80}}, false},
        {{.channels = 3, .length = 1000}, {{1, 1, 1000, 3}}, false},
        {{.channels = 2, .length = 300, .factors = {4, 80}}, {{1, 1, 300, 2}}, false},
    };
  }
  static example<M> sized(index_t length) { return {{.channels = 1, .length = length}, {{1, 1, length, 1}}}; }
  /// Of A and of L z, L over at most m and R over b, one addition.
  static double terms(M const& m, host_inputs<M> const&) {
    return static_cast<double>(2 * m.digits()[1] + m.digits()[0] + 1);
  }

  /// T[(c,o),(c',i)] = [c = c'] A_c[o,i] + [c > c'] L_o[c,c'] R_c'[o,i].
  static test::matrix mixing_matrix(M const& m, host_weights<M> const& w, index_t n, index_t g) {
    test::matrix t(n, n);
    index_t const b = m.digits()[1];
    for (index_t row = 0; row < n; ++row)
      for (index_t col = 0; col <= row; ++col) {
        index_t const c = row / b, o = row % b, from = col / b, i = col % b;
        t.add(row, col,
              c == from ? static_cast<double>(w.within(g, c, o, i))
                        : static_cast<double>(w.across(g, o, c, from)) *
                              static_cast<double>(w.summary(g, from, o, i)));
      }
    return t;
  }
  static void oracle(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    index_t const width = m.channels / m.groups;
    for (index_t g = 0; g < m.groups; ++g) {
      auto const part = [&](auto const& v) { return slice(v, 3, g * width, width); };
      test::apply(mixing_matrix(m, w, y.ext[2], g), 2, terms(m, x), part(x.x), part(y), part(bound));
    }
  }
};
