// SPDX-License-Identifier: Apache-2.0
/// \file  monarch in the conformance suite.
#pragma once

#include <smx/mixers/monarch.hpp>

#include "tests/conformance/cases/matrix.hpp"

template <class T> struct smx::testing::cases<smx::monarch<T>> {
  using M = monarch<T>;

  static std::vector<example<M>> examples() {
    constexpr auto channels = smx::axis::channels;
    return {
        {{.length = 1}, {{2, 1, 1, 3}}},
        {{.length = 2}, {{1, 2, 2, 1}}},
        {{.length = 7}, {{3, 1, 7, 5}}},
        {{.length = 12, .factors = {3, 4}}, {{2, 2, 12, 37}}},
        {{.length = 24, .order = 3, .factors = {2, 3, 4}}, {{2, 1, 24, 3}}},
        {{.length = 36, .order = 4}, {{2, 1, 36, 2}}},
        {{.length = 101}, {{2, 1, 101, 17}}},
        {{.length = 101, .order = 3}, {{1, 2, 101, 3}}},
        {{.length = 12, .output_length = 35}, {{2, 1, 12, 5}}},
        {{.length = 35, .output_length = 7, .factors = {7, 5}, .output_factors = {7, 1}}, {{2, 2, 35, 3}}},
        {{.length = 30, .order = 3, .output_length = 22}, {{1, 2, 30, 4}}},
        {{.length = 12, .output_length = 8, .given_stages = butterfly_stages(3, 2, 4, 2, 4, 3)},
         {{2, 1, 12, 3}}},
        {{.length = 1, .axis = channels}, {{2, 1, 3, 1}}},
        {{.length = 12, .axis = channels}, {{2, 2, 7, 12}}},
        {{.length = 101, .axis = channels}, {{2, 1, 5, 101}}},
        {{.length = 24, .order = 3, .axis = channels}, {{1, 2, 19, 24}}},
        {{.length = 20, .axis = channels, .output_length = 31}, {{2, 1, 6, 20}}},
        {{.length = 1000}, {{2, 1, 1000, 3}}, false},
        {{.length = 1024}, {{1, 1, 1024, 20}}, false},
        {{.length = 1000, .order = 3}, {{1, 1, 1000, 3}}, false},
        {{.length = 256, .axis = channels}, {{1, 1, 130, 256}}, false},
    };
  }
  static example<M> sized(index_t length) { return {{.length = length}, {{1, 1, length, 1}}}; }

  /// One rounding for each term of each stage, in both directions.
  static double terms(M const& m, host_inputs<M> const&) {
    double n = 0;
    for (monarch_stage const& s : m.stages()) n += static_cast<double>(std::max(s.in, s.out));
    return n;
  }

  /// With input digits n_1 .. n_p and output digits s_1 .. s_p every entry is one product:
  /// M[s,n] = prod_a W_a[(n_1 .. n_{a-1}, s_{a+1} .. s_p)][s_a, n_a]. Positions beyond a length are dropped.
  static test::matrix mixing_matrix(M const& m, host_weights<M> const& w) {
    test::matrix a(m.output(), m.length);
    monarch_stages const stages = m.stages();
    int const p = stages.size();
    for (index_t row = 0; row < a.rows; ++row)
      for (index_t col = 0; col < a.cols; ++col) {
        index_t s[max_monarch_order], n[max_monarch_order], i = row, j = col;
        for (int d = p - 1; d >= 0; --d) {  // the last digit belongs to the first stage
          monarch_stage const& stage = stages[p - 1 - d];
          s[d] = i % stage.out, i /= stage.out;
          n[d] = j % stage.in, j /= stage.in;
        }
        double entry = 1;
        for (int d = 0; d < p; ++d) {
          index_t block = 0;
          for (int e = 0; e < d; ++e) block = block * stages[p - 1 - e].in + n[e];
          for (int e = d + 1; e < p; ++e) block = block * stages[p - 1 - e].out + s[e];
          entry *= static_cast<double>(w.factor[p - 1 - d](block, s[d], n[d]));
        }
        a.add(row, col, entry);
      }
    return a;
  }
  /// The public butterfly layout: w1 (k,q,p), w2 (l,s,r), the flat index between them k q + q' = r' l + l'.
  static test::matrix butterfly_matrix(M const& m, host_weights<M> const& w) {
    test::matrix a(m.output(), m.length);
    index_t const q = m.given_stages[0].out, p = m.given_stages[0].in, l = m.given_stages[1].low,
                  s = m.given_stages[1].out, between = m.given_stages[0].high * q;
    for (index_t flat = 0; flat < between; ++flat)
      for (index_t i = 0; i < s; ++i)
        for (index_t j = 0; j < p; ++j)
          a.add(i * l + flat % l, flat / q * p + j,
                static_cast<double>(w.factor[1](flat % l, i, flat / l)) *
                    static_cast<double>(w.factor[0](flat / q, flat % q, j)));
    return a;
  }
  static void oracle(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    auto const a = m.given_stages.empty() ? mixing_matrix(m, w) : butterfly_matrix(m, w);
    test::apply(a, m.axis == smx::axis::sequence ? 2 : 3, terms(m, x), x.x, y, bound);
  }
  static bool sees(M const& m, host_inputs<M> const&, int, index_t row, index_t position) {
    if (m.axis == smx::axis::channels) return row == position;
    if (m.given_stages.empty()) return true;
    index_t const p = m.given_stages[0].in, q = m.given_stages[0].out, l = m.given_stages[1].low;
    for (index_t flat = position / p * q; flat < (position / p + 1) * q; ++flat)
      if (flat % l == row % l) return true;
    return false;
  }
};
