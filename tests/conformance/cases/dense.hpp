// SPDX-License-Identifier: Apache-2.0
/// \file  dense in the conformance suite.
#pragma once

#include <smx/mixers/dense.hpp>

#include "tests/conformance/cases/matrix.hpp"

template <class T, bool Causal> struct smx::testing::cases<smx::dense<T, Causal>> {
  using M = dense<T, Causal>;

  static std::vector<example<M>> examples() {
    std::vector<example<M>> list = {{{.length = 1}, {{2, 1, 1, 3}}},
                                    {{.length = 2}, {{1, 2, 2, 1}}},
                                    {{.length = 7}, {{3, 2, 7, 5}}},
                                    {{.length = 33}, {{2, 1, 33, 40}}},
                                    {{.length = 127}, {{1, 1, 127, 2}}},
                                    {{.length = 129}, {{2, 1, 129, 3}}},
                                    {{.length = 1000}, {{1, 1, 1000, 6}}, false}};
    if (!Causal) {
      list.push_back({{.length = 6, .output_length = 11}, {{2, 2, 6, 3}}});
      list.push_back({{.length = 40, .output_length = 1}, {{1, 1, 40, 17}}});
    }
    return list;
  }
  static example<M> sized(index_t length) { return {{.length = length}, {{1, 1, length, 1}}}; }
  static double terms(M const& m, host_inputs<M> const&) {
    return static_cast<double>(std::max(m.length, m.rows()));
  }
  static void oracle(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    test::matrix a(m.rows(), m.length);
    for (index_t i = 0; i < m.rows(); ++i)
      for (index_t j = 0; j < m.length; ++j)
        if (!Causal || j <= i) a.add(i, j, static_cast<double>(w.w(i, j)));
    test::apply(a, 2, static_cast<double>(m.length), x.x, y, bound);
  }
  static std::pair<M, host_weights<M>> prefix(M const&, host_weights<M> const& w, index_t n) requires Causal {
    return {{.length = n}, {slice(slice(w.w, 0, 0, n), 1, 0, n)}};
  }
};
