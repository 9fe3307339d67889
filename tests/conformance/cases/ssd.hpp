// SPDX-License-Identifier: Apache-2.0
/// \file  ssd in the conformance suite.
#pragma once

#include <smx/mixers/ssd.hpp>

#include "tests/conformance/cases/token_scan.hpp"

#include <smx/testing/cases.hpp>

template <class T> struct smx::testing::cases<smx::ssd<T>> {
  using M = ssd<T>;
  static constexpr bool heads_alike = false;

  struct sizes {
    index_t b, heads, groups, length, n, p, states = 0;
    bool gate = false, small = true;
  };
  static example<M> one(M m, sizes const& s) {
    m.heads = s.heads;
    m.head_dim = s.p;
    extents<4> const x{s.b, s.heads, s.length, s.p}, key{s.b, s.groups, s.length, s.n}, none{};
    return {m,
            {x,
             {s.b, s.heads, s.length, 1},
             key,
             key,
             s.gate ? x : none,
             s.states > 0 ? extents<4>{s.states, s.heads, s.n, s.p} : none},
            s.small};
  }
  static std::vector<example<M>> examples() {
    static constexpr index_t bounds[] = {0, 5, 6, 6, 19, 23};
    return {one({}, {2, 1, 1, 1, 3, 3}),
            one({.skip = skip_kind::none}, {1, 2, 2, 2, 1, 1}),
            one({.skip = skip_kind::channel}, {2, 4, 2, 7, 5, 6, 0, true}),
            one({.dt_min = T(0.4), .dt_max = T(1), .chunk = 4}, {2, 4, 2, 19, 3, 5}),
            one({.dt_bias = false, .chunk = 1}, {1, 2, 1, 6, 3, 4}),
            one({.dt_max = T(0.5), .chunk = 8, .groups = group_map::tiled}, {1, 6, 2, 65, 16, 20}),
            one({.chunk = 16}, {2, 1, 1, 33, 17, 16, 2, true}),
            one({.dt_bias = false, .softplus = false, .dt_min = T(0.1), .chunk = 4, .packing = {bounds, 5}},
                {1, 2, 1, 23, 4, 3, 5}),
            one({.skip = skip_kind::channel}, {1, 3, 1, 131, 20, 33, 0, false, false}),
            one({}, {1, 5, 1, 140, 128, 64, 0, false, false})};
  }
  static example<M> sized(index_t n) { return one({}, {1, 1, 1, n, 1, 1}); }

  /// delta from the formula.
  static double step_size(M const& m, double x, double* slope = nullptr) {
    double const soft = !m.softplus || x > 20 ? x : std::log1p(std::exp(x));
    double const low = static_cast<double>(m.dt_min), high = static_cast<double>(m.dt_max);
    if (slope != nullptr)
      *slope = soft < low || soft > high ? 0 : !m.softplus || x > 20 ? 1 : 1 / (1 + std::exp(-x));
    return soft < low ? low : soft > high ? high : soft;
  }
  static double silu_of(double z) { return z / (1 + std::exp(-z)); }
  static double before(M const& m, host_weights<M> const& w, host_inputs<M> const& x, extents<4> const& i) {
    double const dt = static_cast<double>(loops::at(x.dt, i));
    return m.dt_bias ? dt + static_cast<double>(w.dt_bias(i[1])) : dt;
  }

  static test::token_scan scan(M const& m, host_weights<M> const& w, host_inputs<M> const& x) {
    test::token_scan s{{1, m.chunk, m.groups, m.packing},
                       test::cube(x.c),
                       test::cube(x.b),
                       test::cube(x.x),
                       test::cube(x.dt),
                       test::cube(x.dt),
                       {},
                       {}};
    if (x.initial.size() > 0) s.initial = test::cube(x.initial);
    loops::for_each_index(x.dt.ext, [&](extents<4> const& i) {
      double const delta = step_size(m, before(m, w, x, i));
      s.w(i[0], i[1], i[2], 0) = delta;
      s.a(i[0], i[1], i[2], 0) = -std::exp(static_cast<double>(w.a_log(i[1]))) * delta;
    });
    if (m.skip != skip_kind::none) {
      s.skip = test::cube({1, m.heads, 1, x.x.ext[3]});
      for (index_t h = 0; h < m.heads; ++h)
        for (index_t p = 0; p < x.x.ext[3]; ++p)
          s.skip(0, h, 0, p) = static_cast<double>(w.skip(h, m.skip == skip_kind::channel ? p : 0));
    }
    return s;
  }
  /// Relative errors of delta, of the decays by it and by A, and of the gate.
  static double terms(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                      test::token_scan const& s) {
    double most = 0;
    loops::for_each_index(x.dt.ext, [&](extents<4> const& i) {
      most = std::max(most, std::fabs(static_cast<double>(loops::at(x.dt, i))) +
                                (m.dt_bias ? std::fabs(static_cast<double>(w.dt_bias(i[1]))) : 0));
    });
    return (2 + most) * s.terms() + 16;
  }

  static void oracle(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    test::token_scan const s = scan(m, w, x);
    test::cube final;
    double const n = terms(m, w, x, s);
    auto const value = s.forward(final), magnitude = s.magnitudes().forward(final);
    loops::for_each_index(y.ext, [&](extents<4> const& i) {
      double const z = x.z.size() > 0 ? silu_of(static_cast<double>(loops::at(x.z, i))) : 1,
                   size = x.z.size() > 0 ? std::fabs(static_cast<double>(loops::at(x.z, i))) : 0;
      loops::at(y, i) = value(i[0], i[1], i[2], i[3]) * z;
      loops::at(bound, i) = (n + 4 + size) * magnitude(i[0], i[1], i[2], i[3]) * std::fabs(z);
    });
  }
  static void gradient_bounds(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                              view<T const, 4, host_space> dy, std::vector<numbers>& dw,
                              std::vector<numbers>& dx) {
    test::token_scan const s = scan(m, w, x), large = s.magnitudes();
    test::cube up = test::absolute(test::cube(dy)), dz(dy.ext), final;
    double n = terms(m, w, x, s);
    if (x.z.size() > 0) {
      auto const y = large.forward(final);
      double most = 0;
      loops::for_each_index(dy.ext, [&](extents<4> const& i) {
        double const z = static_cast<double>(loops::at(x.z, i));
        most = std::max(most, std::fabs(z));
        // |silu'| <= 1.1, and its terms as well
        dz(i[0], i[1], i[2], i[3]) =
            (n + 8 + std::fabs(z)) * 2.2 * up(i[0], i[1], i[2], i[3]) * y(i[0], i[1], i[2], i[3]);
        up(i[0], i[1], i[2], i[3]) *= std::fabs(silu_of(z));
      });
      n += 4 + most;
    }
    auto const d = large.backward(up, {});
    double const rows = static_cast<double>(x.x.ext[0] * x.x.ext[2]) + static_cast<double>(s.sequences());
    auto const heads = static_cast<std::size_t>(m.heads);
    numbers decay(heads), bias(heads), ddt;
    loops::for_each_index(x.dt.ext, [&](extents<4> const& i) {
      auto const h = static_cast<std::size_t>(i[1]);
      double slope = 0;
      step_size(m, before(m, w, x, i), &slope);
      double const a = std::exp(static_cast<double>(w.a_log(i[1]))), da = d.a(i[0], i[1], i[2], 0),
                   one = slope * (d.w(i[0], i[1], i[2], 0) + a * da);
      ddt.push_back((n + 8) * one);
      decay[h] += (n + rows) * std::fabs(s.a(i[0], i[1], i[2], 0)) * da;
      bias[h] += (n + rows + 8) * one;
    });
    dw.push_back(decay);
    if (m.skip != skip_kind::none) {
      index_t const width = m.skip == skip_kind::channel ? x.x.ext[3] : 1;
      numbers skip(static_cast<std::size_t>(m.heads * width));
      loops::for_each_index(d.skip.e, [&](extents<4> const& i) {
        skip[static_cast<std::size_t>(i[1] * width + i[3] % width)] +=
            (rows + static_cast<double>(x.x.ext[3]) + 8) * d.skip(0, i[1], 0, i[3]);
      });
      dw.push_back(skip);
    }
    if (m.dt_bias) dw.push_back(bias);
    dx.push_back(test::times(d.v, n));
    dx.push_back(ddt);
    dx.push_back(test::times(d.k, n));
    dx.push_back(test::times(d.q, n));
    if (x.z.size() > 0) dx.push_back(dz.at);
    if (x.initial.size() > 0) dx.push_back(test::times(d.initial, n));
  }

  /// The name of an input by its number among those that are there.
  static std::string name(host_inputs<M> const& x, int input) {
    std::string found;
    int at = 0;
    M::for_each_input(
        [&](char const* n, auto const& v) {
          if (v.size() > 0 && at++ == input) found = n;
        },
        x);
    return found;
  }
  static index_t sequence(M const& m, index_t row) {
    index_t i = 0;
    while (i < m.packing.count && m.packing.bounds[i + 1] <= row) ++i;
    return i;
  }
  static bool sees(M const& m, host_inputs<M> const& x, int input, index_t row, index_t position) {
    std::string const n = name(x, input);
    if (n == "initial") return true;
    if (n == "c" || n == "z") return row == position;
    return position <= row && sequence(m, row) == sequence(m, position);
  }
  /// A decay may take what is far away below a rounding; dt may be beyond its limits.
  static bool reaches(M const& m, host_inputs<M> const& x, int input, index_t row, index_t position) {
    std::string const n = name(x, input);
    if (n == "initial") return row < 2;
    return n != "dt" && sees(m, x, input, row, position) && row - position < 3;
  }
};
