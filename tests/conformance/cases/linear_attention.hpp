// SPDX-License-Identifier: Apache-2.0
/// \file  linear_attention in the conformance suite.
#pragma once

#include <smx/mixers/linear_attention.hpp>

#include "tests/conformance/cases/token_scan.hpp"

#include <smx/testing/cases.hpp>

template <class T, smx::decay_kind Decay> struct smx::testing::cases<smx::linear_attention<T, Decay>> {
  using M = linear_attention<T, Decay>;
  static constexpr bool heads_alike = Decay != decay_kind::head;
  static constexpr int initial_input = Decay == decay_kind::token ? 4 : 3;

  static example<M> one(M m, index_t b, index_t heads, index_t groups, index_t length, index_t n, index_t p,
                        bool small = true, index_t states = 0) {
    m.heads = heads;
    std::vector<extents<4>> x{{b, groups, length, n}, {b, groups, length, n}, {b, heads, length, p}};
    if (Decay == decay_kind::token) x.push_back({b, heads, length, 1});
    if (states > 0) x.push_back({states, heads, n, p});
    return {m, x, small};
  }
  static std::vector<example<M>> examples() {
    static constexpr index_t bounds[] = {0, 5, 6, 6, 19, 23};
    return {one({}, 2, 1, 1, 1, 3, 3),
            one({}, 1, 2, 2, 2, 1, 1),
            one({}, 2, 4, 2, 7, 5, 6),
            one({.scale = T(0.3), .chunk = 4}, 2, 4, 2, 19, 3, 5),
            one({.chunk = 1}, 1, 2, 1, 6, 3, 4),
            one({.chunk = 8, .groups = group_map::tiled}, 1, 6, 2, 65, 16, 20),
            one({.chunk = 16}, 2, 1, 1, 33, 17, 16, true, 2),
            one({.chunk = 4, .packing = {bounds, 5}}, 1, 2, 1, 23, 4, 3, true, 5),
            one({}, 1, 3, 1, 131, 20, 33, false),
            one({}, 2, 5, 1, 200, 16, 24, false)};
  }
  static example<M> sized(index_t n) { return one({}, 1, 1, 1, n, 1, 1); }

  static test::token_scan scan(M const& m, host_weights<M> const& w, host_inputs<M> const& x) {
    extents<4> column = x.v.ext;
    column[3] = 1;
    double const scale =
        m.scale != T(0) ? static_cast<double>(m.scale) : 1 / std::sqrt(static_cast<double>(x.q.ext[3]));
    test::token_scan s{{scale, m.chunk, m.groups, m.packing},
                       test::cube(x.q),
                       test::cube(x.k),
                       test::cube(x.v),
                       test::cube(column, 1),
                       test::cube(column),
                       {},
                       {}};
    if (x.initial.size() > 0) s.initial = test::cube(x.initial);
    loops::for_each_index(column, [&](extents<4> const& i) {
      double& a = s.a(i[0], i[1], i[2], 0);
      if constexpr (Decay == decay_kind::head) a = -std::exp(static_cast<double>(w.decay(i[1])));
      if constexpr (Decay == decay_kind::token) a = static_cast<double>(loops::at(x.g, i));
      if (!(a <= 0)) a = std::isnan(a) ? a : 0;
    });
    return s;
  }

  static void oracle(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    test::token_scan const s = scan(m, w, x);
    test::cube final;
    copy_entries(view<double const, 4, host_space>(s.forward(final).at.data(), y.ext), y);
    double const terms = s.terms();
    auto const magnitude = s.magnitudes().forward(final);
    loops::for_each_index(
        y.ext, [&](extents<4> const& i) { loops::at(bound, i) = terms * magnitude(i[0], i[1], i[2], i[3]); });
  }
  static void gradient_bounds(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                              view<T const, 4, host_space> dy, std::vector<numbers>& dw,
                              std::vector<numbers>& dx) {
    test::token_scan const s = scan(m, w, x);
    auto const d = s.magnitudes().backward(test::absolute(test::cube(dy)), {});
    double const terms = s.terms();
    for (auto const* one : {&d.q, &d.k, &d.v}) dx.push_back(test::times(*one, terms));
    if (Decay == decay_kind::token) dx.push_back(test::times(d.a, terms));
    if (x.initial.size() > 0) dx.push_back(test::times(d.initial, terms));
    if constexpr (Decay == decay_kind::head) {
      numbers sums(static_cast<std::size_t>(m.heads));
      double const rows = static_cast<double>(x.v.ext[0] * x.v.ext[2]);
      loops::for_each_index(s.a.e, [&](extents<4> const& i) {
        sums[static_cast<std::size_t>(i[1])] +=
            (terms + rows) * std::fabs(s.a(i[0], i[1], i[2], 0)) * d.a(i[0], i[1], i[2], 0);
      });
      dw.push_back(sums);
    }
  }

  /// Sequence of a row.
  static index_t sequence(M const& m, index_t row) {
    index_t i = 0;
    while (i < m.packing.count && m.packing.bounds[i + 1] <= row) ++i;
    return i;
  }
  static bool sees(M const& m, host_inputs<M> const&, int input, index_t row, index_t position) {
    if (input == initial_input) return true;
    if (input == 0) return row == position;
    return position <= row && sequence(m, row) == sequence(m, position);
  }
  /// A decay may take what is far away below a rounding; a gate may be above 0, or without a state before it.
  static bool reaches(M const& m, host_inputs<M> const& x, int input, index_t row, index_t position) {
    if (!sees(m, x, input, row, position)) return false;
    if (Decay == decay_kind::none) return true;
    return input == initial_input ? row < 3 : input < 3 && row - position < 3;
  }
};
