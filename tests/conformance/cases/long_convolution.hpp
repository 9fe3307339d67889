// SPDX-License-Identifier: Apache-2.0
/// \file  long_convolution in the conformance suite.
#pragma once

#include <smx/mixers/long_convolution.hpp>

#include <smx/testing/cases.hpp>
#include <smx/testing/numbers.hpp>

template <class T, smx::convolution_kind Kind, smx::evaluation How>
struct smx::testing::cases<smx::long_convolution<T, Kind, How>> {
  using M = long_convolution<T, Kind, How>;
  /// The blocks of an exact evaluation follow the length, and a prefix takes fewer taps.
  static constexpr bool prefix_bits = false;
  static constexpr int logarithms = How == evaluation::exact ? 2 : 1;

  static std::vector<example<M>> examples() {
    extents<4> const none{}, a{2, 1, 7, 3}, b{1, 2, 33, 17}, c{2, 2, 20, 5};
    return {
        {{.channels = 3, .taps = 1}, {{2, 1, 1, 3}}},
        {{.channels = 1, .taps = 2, .skip = false}, {{1, 2, 2, 1}}},
        {{.channels = 3, .taps = 7}, {a}},
        {{.channels = 17, .taps = 33}, {b, b, b}},
        {{.channels = 5, .taps = 6}, {c, none, c}},
        {{.channels = 5, .taps = 20, .skip = false}, {c, c}},
        {{.channels = 3, .taps = 11, .truncate = true}, {a}},
        {{.channels = 2, .taps = 127}, {{1, 1, 127, 2}}},
        {{.channels = 2, .taps = 129}, {{1, 1, 129, 2}}},
        {{.channels = 40, .taps = 64}, {{2, 1, 64, 40}}, false},
        {{.channels = 3, .taps = 1000}, {{1, 1, 1000, 3}}, false},
    };
  }
  static example<M> sized(index_t length) { return {{.channels = 1, .taps = length}, {{1, 1, length, 1}}}; }

  /// The weight with which position j enters row i before the gates.
  static double entry(M const& m, host_weights<M> const& w, index_t length, index_t d, index_t i, index_t j) {
    double a = m.skip && i == j ? static_cast<double>(w.skip(d)) : 0;
    index_t const lag = Kind == convolution_kind::circular ? (i - j + length) % length : i - j;
    if (lag >= 0 && lag < m.taps) a += static_cast<double>(w.k(d, lag));
    if constexpr (Kind == convolution_kind::bidirectional)
      if (lag < 0 && -lag - 1 < m.taps) a += static_cast<double>(w.k_rev(d, -lag - 1));
    return a;
  }
  static bool sees(M const& m, host_inputs<M> const& x, int input, index_t row, index_t position) {
    bool const post = input == 2 || (input == 1 && x.pre.size() == 0);
    index_t const length = x.x.ext[2];
    index_t const lag =
        Kind == convolution_kind::circular ? (row - position + length) % length : row - position;
    if (post || (m.skip && row == position)) return row == position;
    if (lag < 0) return Kind == convolution_kind::bidirectional && -lag - 1 < m.taps;
    return lag < m.taps;
  }
  static std::pair<M, host_weights<M>> prefix(M m, host_weights<M> w, index_t n) requires M::is_causal {
    m.taps = std::min(m.taps, n);
    w.k = slice(w.k, 1, 0, m.taps);
    return {m, w};
  }

  /// A gate that is left out is 1.
  static double gate(view<T const, 4, host_space> const& g, extents<4> const& i) {
    return g.size() == 0 ? 1.0 : static_cast<double>(loops::at(g, i));
  }
  /// The bound of the mixer, a multiple of ||k||_1 ||v||_2, as a multiple of epsilon.
  static double bound_of(M const& m, index_t length) {
    return m.rounding_bound(length) / static_cast<double>(std::numeric_limits<T>::epsilon());
  }
  /// ||k||_1: no entry of a spectrum is larger.
  static double kernel_norm(M const& m, host_weights<M> const& w, index_t d) {
    double sum = m.skip ? std::fabs(static_cast<double>(w.skip(d))) : 0;
    for (index_t t = 0; t < m.taps; ++t) {
      sum += std::fabs(static_cast<double>(w.k(d, t)));
      if constexpr (Kind == convolution_kind::bidirectional)
        sum += std::fabs(static_cast<double>(w.k_rev(d, t)));
    }
    return sum;
  }
  /// The norm of one channel of a signal times a gate.
  static double norm(view<T const, 4, host_space> const& x, view<T const, 4, host_space> const& g,
                     extents<4> i) {
    double square = 0;
    for (i[2] = 0; i[2] < x.ext[2]; ++i[2])
      square += std::pow(static_cast<double>(loops::at(x, i)) * gate(g, i), 2);
    return std::sqrt(square);
  }

  static void oracle(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    index_t const length = y.ext[2];
    for (index_t d = 0; d < y.ext[3]; ++d) {
      numbers lags(static_cast<std::size_t>(2 * length));  // entries depend on i - j alone
      for (index_t l = 1 - length; l < length; ++l)
        lags[static_cast<std::size_t>(l + length)] =
            entry(m, w, length, d, std::max(l, index_t{0}), std::max(-l, index_t{0}));
      double const k_norm = kernel_norm(m, w, d);
      for (index_t b = 0; b < y.ext[0]; ++b)
        for (index_t h = 0; h < y.ext[1]; ++h) {
          double const scale = bound_of(m, length) * k_norm * norm(x.x, x.pre, {b, h, 0, d});
          for (index_t i = 0; i < length; ++i) {
            double sum = 0;
            for (index_t j = 0; j < length; ++j) {
              double const a = lags[static_cast<std::size_t>(i - j + length)];
              if (a != 0) sum += a * gate(x.pre, {b, h, j, d}) * static_cast<double>(x.x(b, h, j, d));
            }
            double const post = gate(x.post, {b, h, i, d});
            y(b, h, i, d) = post * sum;
            bound(b, h, i, d) = std::fabs(post) * (scale + std::fabs(sum));
          }
        }
    }
  }

  /// With g = post dy, v = pre x: dv is a convolution of g, dk a correlation of g and v; each of them is
  /// within the mixer's bound of the product of the norms. A sum over batch and heads adds one rounding each.
  static void gradient_bounds(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                              view<T const, 4, host_space> dy, std::vector<numbers>& dw,
                              std::vector<numbers>& dx) {
    double const factor = bound_of(m, dy.ext[2]) + static_cast<double>(dy.ext[0] * dy.ext[1]) + 4;
    numbers per_channel(static_cast<std::size_t>(m.channels));
    tensor<double, 4> d_x(dy.ext), d_pre(dy.ext), d_post(dy.ext);
    loops::for_each_index(dy.ext, [&](extents<4> const& i) {
      extents<4> const line{i[0], i[1], 0, i[3]};
      double const g = norm(dy, x.post, line), v = norm(x.x, x.pre, line), k = kernel_norm(m, w, i[3]);
      if (i[2] == 0)  // ||g||_1 <= sqrt(L) ||g||_2
        per_channel[static_cast<std::size_t>(i[3])] +=
            factor * std::sqrt(static_cast<double>(dy.ext[2])) * g * v;
      loops::at(d_x.view(), i) = factor * k * g * std::fabs(gate(x.pre, i));
      loops::at(d_pre.view(), i) = factor * k * g * std::fabs(static_cast<double>(loops::at(x.x, i)));
      loops::at(d_post.view(), i) = factor * k * v * std::fabs(static_cast<double>(loops::at(dy, i)));
    });
    numbers taps;
    for (double one : per_channel) taps.insert(taps.end(), static_cast<std::size_t>(m.taps), one);
    dw.push_back(taps);
    if (Kind == convolution_kind::bidirectional) dw.push_back(taps);
    if (m.skip) dw.push_back(per_channel);
    dx.push_back(values(d_x.cview()));
    if (x.pre.size() != 0) dx.push_back(values(d_pre.cview()));
    if (x.post.size() != 0) dx.push_back(values(d_post.cview()));
  }
};
