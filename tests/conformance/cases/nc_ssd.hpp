// SPDX-License-Identifier: Apache-2.0
/// \file  nc_ssd in the conformance suite.
#pragma once

#include <smx/mixers/nc_ssd.hpp>

#include "tests/conformance/cases/ssd.hpp"

template <class T> struct smx::testing::cases<smx::nc_ssd<T>> {
  using M = nc_ssd<T>;
  static constexpr bool heads_alike = false;
  static constexpr bool query(int input) { return input == 3; }  // c
  static bool crosses(M const& m) { return m.skip == skip_kind::none; }

  static example<M> one(M m, index_t b, index_t heads, index_t groups, index_t queries, index_t rows,
                        index_t n, index_t p, bool small = true) {
    m.heads = heads;
    m.head_dim = p;
    return {
        m, {{b, heads, rows, p}, {b, heads, rows, 1}, {b, groups, rows, n}, {b, groups, queries, n}}, small};
  }
  static std::vector<example<M>> examples() {
    return {one({}, 2, 1, 1, 1, 1, 3, 3),
            one({.skip = skip_kind::none}, 1, 2, 2, 2, 2, 1, 1),
            one({.skip = skip_kind::channel}, 2, 4, 2, 7, 7, 5, 6),
            one({.groups = group_map::interleaved}, 1, 4, 2, 19, 19, 3, 5),
            one({.skip = skip_kind::none, .dt_min = T(0.4), .dt_max = T(1), .scale = T(-0.3)}, 2, 6, 3, 5, 11,
                4, 3),
            one({.skip = skip_kind::none, .dt_bias = false}, 1, 3, 1, 33, 4, 17, 16),
            one({.dt_bias = false, .softplus = false}, 1, 2, 1, 65, 65, 4, 8),
            one({}, 1, 3, 1, 131, 131, 20, 17, false)};
  }
  static example<M> sized(index_t n) { return one({}, 1, 1, 1, n, n, 1, 1); }

  static ssd<T> step(M const& m) {
    return {.dt_bias = m.dt_bias, .softplus = m.softplus, .dt_min = m.dt_min, .dt_max = m.dt_max};
  }
  static index_t group(M const& m, host_inputs<M> const& x, index_t h) {
    index_t const g = x.b.ext[1];
    return m.groups == group_map::tiled ? h % g : h / (m.heads / g);
  }
  static double entry(view<T const, 4, host_space> const& v, index_t a, index_t b, index_t c, index_t d,
                      bool absolute) {
    double const e = static_cast<double>(v(a, b, c, d));
    return absolute ? std::fabs(e) : e;
  }
  static double before(M const& m, host_weights<M> const& w, host_inputs<M> const& x, index_t b, index_t h,
                       index_t j) {
    double const dt = static_cast<double>(x.dt(b, h, j, 0));
    return m.dt_bias ? dt + static_cast<double>(w.dt_bias(h)) : dt;
  }
  static double weight(M const& m, host_weights<M> const& w, host_inputs<M> const& x, index_t b, index_t h,
                       index_t j, double* slope = nullptr) {
    return static_cast<double>(m.scale) * std::exp(static_cast<double>(w.a_log(h))) *
           cases<ssd<T>>::step_size(step(m), before(m, w, x, b, h, j), slope);
  }
  static double skip(M const& m, host_weights<M> const& w, index_t h, index_t p) {
    return m.skip == skip_kind::none ? 0
                                     : static_cast<double>(w.skip(h, m.skip == skip_kind::channel ? p : 0));
  }
  /// Terms of the sums, and the errors of delta and of A.
  static double terms(M const& m, host_inputs<M> const& x) {
    double most = 0;
    loops::for_each_index(x.dt.ext, [&](extents<4> const& i) {
      most = std::max(most, std::fabs(static_cast<double>(loops::at(x.dt, i))));
    });
    return 64 + 2 * most + static_cast<double>(x.x.ext[2] + x.c.ext[2] + x.x.ext[3] + x.b.ext[3] + m.heads);
  }

  /// y_i = sum_j m_j (c_i . b_j) x_j + D x_i: every pair, no state.
  static void pairs(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                    view<double, 4, host_space> y, bool absolute) {
    loops::for_each_index(y.ext, [&](extents<4> const& at) {
      index_t const b = at[0], h = at[1], i = at[2], p = at[3], g = group(m, x, h);
      double const d = skip(m, w, h, p);
      double sum = d == 0 ? 0 : (absolute ? std::fabs(d) : d) * entry(x.x, b, h, i, p, absolute);
      for (index_t j = 0; j < x.x.ext[2]; ++j) {
        double dot = 0;
        for (index_t n = 0; n < x.b.ext[3]; ++n)
          dot += entry(x.c, b, g, i, n, absolute) * entry(x.b, b, g, j, n, absolute);
        double const mj = weight(m, w, x, b, h, j);
        sum += (absolute ? std::fabs(mj) : mj) * dot * entry(x.x, b, h, j, p, absolute);
      }
      loops::at(y, at) = sum;
    });
  }
  static void oracle(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    pairs(m, w, x, y, false);
    pairs(m, w, x, bound, true);
    loops::for_each_index(y.ext, [&](extents<4> const& i) { loops::at(bound, i) *= terms(m, x); });
  }
  static void gradient_bounds(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                              view<T const, 4, host_space> dy, std::vector<numbers>& dw,
                              std::vector<numbers>& dx) {
    test::cube v(x.x.ext), dt(x.dt.ext), db(x.b.ext), dc(x.c.ext);
    auto const heads = static_cast<std::size_t>(m.heads);
    index_t const width = m.skip == skip_kind::channel ? x.x.ext[3] : 1;
    numbers decay(heads), bias(heads), skips(heads * static_cast<std::size_t>(width));
    double const n = terms(m, x), many = n + static_cast<double>(x.x.ext[0] * x.x.ext[2]);
    for (index_t b = 0; b < x.x.ext[0]; ++b)
      for (index_t h = 0; h < m.heads; ++h) {
        index_t const g = group(m, x, h);
        auto const hh = static_cast<std::size_t>(h);
        for (index_t j = 0; j < x.x.ext[2]; ++j) {
          double slope = 0, dm = 0;
          double const mj = std::fabs(weight(m, w, x, b, h, j, &slope));
          for (index_t i = 0; i < dy.ext[2]; ++i) {
            double dot = 0, up = 0;
            for (index_t k = 0; k < x.b.ext[3]; ++k)
              dot += entry(x.c, b, g, i, k, true) * entry(x.b, b, g, j, k, true);
            for (index_t p = 0; p < x.x.ext[3]; ++p) {
              double const one = entry(dy, b, h, i, p, true);
              up += one * entry(x.x, b, h, j, p, true);
              v(b, h, j, p) += n * mj * dot * one;
            }
            dm += dot * up;
            for (index_t k = 0; k < x.b.ext[3]; ++k) {
              db(b, g, j, k) += n * mj * up * entry(x.c, b, g, i, k, true);
              dc(b, g, i, k) += n * mj * up * entry(x.b, b, g, j, k, true);
            }
          }
          double const by_delta = slope * dm * std::exp(static_cast<double>(w.a_log(h))) *
                                  std::fabs(static_cast<double>(m.scale));
          dt(b, h, j, 0) = n * by_delta;
          bias[hh] += many * by_delta;
          decay[hh] += many * dm * mj;
          if (m.skip == skip_kind::none) continue;
          for (index_t p = 0; p < x.x.ext[3]; ++p) {
            v(b, h, j, p) += n * std::fabs(skip(m, w, h, p)) * entry(dy, b, h, j, p, true);
            skips[hh * static_cast<std::size_t>(width) + static_cast<std::size_t>(p % width)] +=
                many * entry(dy, b, h, j, p, true) * entry(x.x, b, h, j, p, true);
          }
        }
      }
    dw.push_back(decay);
    if (m.skip != skip_kind::none) dw.push_back(skips);
    if (m.dt_bias) dw.push_back(bias);
    for (auto const* one : {&v, &dt, &db, &dc}) dx.push_back(one->at);
  }
  static bool sees(M const&, host_inputs<M> const&, int input, index_t row, index_t position) {
    return input != 3 || row == position;
  }
  /// dt may be beyond its limits.
  static bool reaches(M const& m, host_inputs<M> const& x, int input, index_t row, index_t position) {
    return input != 1 && sees(m, x, input, row, position);
  }
};
