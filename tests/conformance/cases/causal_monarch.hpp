// SPDX-License-Identifier: Apache-2.0
/// \file  causal_monarch, of powers and of Chebyshev polynomials, in the conformance suite.
#pragma once

#include <smx/mixers/causal_monarch.hpp>

#include "tests/conformance/cases/chebyshev.hpp"

template <class T, smx::evaluation How, smx::polynomial_basis Basis>
struct smx::testing::cases<smx::causal_monarch<T, How, Basis>> {
  using M = causal_monarch<T, How, Basis>;
  static constexpr bool chebyshev = Basis == polynomial_basis::chebyshev;
  using blocks = test::triangular_blocks;
  /// As for the long convolution inside.
  static constexpr bool prefix_bits = false;
  /// At the lengths that are compared the convolution, L log L, is more work than the matrices, L^1.5.
  static constexpr int logarithms = 2;

  static std::vector<example<M>> examples() {
    return {
        {{.channels = 3, .length = 1}, {{2, 1, 1, 3}}},
        {{.channels = 1, .length = 2}, {{1, 2, 2, 1}}},
        {{.channels = 3, .length = 7}, {{2, 1, 7, 3}}},
        {{.channels = 5, .length = 12, .factors = {chebyshev ? 4 : 3, 4}}, {{2, 2, 12, 5}}},
        {{.channels = 6, .length = 24, .order = 3, .factors = {chebyshev ? 3 : 2, 3, 4}, .groups = 2},
         {{2, 1, 24, 6}}},
        {{.channels = 2, .length = 36, .order = 4}, {{2, 1, 36, 2}}},
        {{.channels = 17, .length = 33}, {{1, 2, 33, 17}}},
        {{.channels = 3, .length = 101, .direct_kernel = true}, {{1, 1, 101, 3}}},
        {{.channels = 2, .length = 97, .order = 3}, {{1, 1, 97, 2}}},
        {{.channels = 6, .length = 40, .groups = 3, .direct_kernel = true}, {{2, 1, 23, 6}}},
        {{.channels = 4, .length = 60, .order = 3, .groups = 4}, {{1, 1, 31, 4}}},
        {{.channels = 80, .length = 64}, {{2, 1, 64, 80}}, false},
        {{.channels = 3, .length = 1000}, {{1, 1, 1000, 3}}, false},
        {{.channels = 2, .length = 300, .factors = {4, 80}}, {{1, 1, 300, 2}}, false},
    };
  }
  static example<M> sized(index_t length) { return {{.channels = 1, .length = length}, {{1, 1, length, 1}}}; }

  /// The bound of the convolution, a multiple of ||k||_1 ||v||_2, as a multiple of epsilon.
  static double bound_of(index_t length) {
    return M::convolution::rounding_bound(length) / static_cast<double>(std::numeric_limits<T>::epsilon());
  }
  static numbers kernel_row(M const& m, host_weights<M> const& w, index_t d) {
    numbers k;
    for (index_t t = 0; t < m.length; ++t) k.push_back(static_cast<double>(w.k(d, t)));
    return k;
  }

  static void oracle(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    index_t const n = y.ext[2], width = m.channels / m.groups;
    test::chebyshev_products const fold(m.digits());
    for (index_t g = 0; g < m.groups; ++g) {
      blocks const c0(m.digits(), w.output, g), c2(m.digits(), w.input, g);
      auto const dense0 = c0.dense(chebyshev ? n + 1 : n), dense2 = c2.dense(n);
      for (index_t d = g * width; d < (g + 1) * width; ++d) {
        numbers taps = kernel_row(m, w, d), taps_size;
        taps.resize(static_cast<std::size_t>(n));
        double terms = c2.terms() + (chebyshev ? 2 * fold.order() : 0);
        if (m.direct_kernel) {
          for (double one : taps) taps_size.push_back(std::fabs(one));
        } else {
          blocks const c1(m.digits(), w.kernel, g);
          auto const dense1 = c1.dense(n);
          taps_size = test::times(dense1, taps, true);
          taps = test::times(dense1, taps);
          terms += c1.terms() + (chebyshev ? 2 * fold.order() : 0);
        }
        for (index_t b = 0; b < y.ext[0]; ++b)
          for (index_t h = 0; h < y.ext[1]; ++h) {
            numbers const u = values(fix_axis(fix_axis(fix_axis(x.x, 3, d), 1, h), 0, b)),
                          v = test::times(dense2, u);
            numbers v_size = test::times(dense2, u, true), k_size = taps_size, out;
            if constexpr (chebyshev) {
              out = test::substituted(dense0, fold.product(taps, v, m.direct_kernel));
              v_size = fold.single(v_size);
              if (!m.direct_kernel) k_size = scaled(fold.single(k_size), 0.5);
            } else {
              out = test::substituted(dense0, test::convolved(taps, v));
            }
            numbers size = test::convolved(k_size, v_size), error(size.size());
            double const transform = bound_of(n) * test::norm1(k_size) * test::norm2(v_size);
            for (std::size_t i = 0; i < size.size(); ++i) error[i] = transform + terms * size[i];
            if (chebyshev) {
              size.insert(size.begin(), 0), error.insert(error.begin(), 0);
              fold.unfold_error(size, error);
            }
            size.resize(static_cast<std::size_t>(c0.size()));
            error.resize(size.size());
            error = c0.solve_error(size, error);
            for (index_t i = 0; i < n; ++i) {
              auto const at = static_cast<std::size_t>(chebyshev ? i + 1 : i);
              y(b, h, i, d) = out[at];
              bound(b, h, i, d) = error[at];
            }
          }
      }
    }
  }

  /// By norms. With v = C2 x, t = C1 k, h = conv(t, v), dh = C0^-T dy, dv = conv^T dh: ||h|| <= ||t||_1
  /// ||v||,
  /// ||dv|| <= ||t||_1 ||dh||, an entry of dt is at most ||dh|| ||v||, and an entry of a block's gradient is
  /// at most the sum over columns of the norm of what comes from above times that of what comes from below.
  /// Each of these is computed with a relative error of at most `error` against the product of the norms:
  /// that of every stage on the way (in the 2-norm), the transform's (entry by entry, so sqrt(L) in the norm)
  /// and one rounding for each term of a sum over positions and columns.
  static void gradient_bounds(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                              view<T const, 4, host_space> dy, std::vector<numbers>& dw,
                              std::vector<numbers>& dx) {
    index_t const n = dy.ext[2], width = m.channels / m.groups;
    double const root = std::sqrt(static_cast<double>(n));
    test::chebyshev_products const fold(m.digits());
    tensor<double, 4> d_x(dy.ext);
    numbers d_k(static_cast<std::size_t>(m.channels * m.length));
    numbers group[3] = {numbers(static_cast<std::size_t>(m.groups)), {}, {}};
    group[1] = group[2] = group[0];
    for (index_t g = 0; g < m.groups; ++g) {
      auto const G = static_cast<std::size_t>(g);
      blocks const c0(m.digits(), w.output, g), c2(m.digits(), w.input, g),
          c1(m.digits(), m.direct_kernel ? w.input : w.kernel, g);
      double const folded = chebyshev ? fold.norm() : 1, unfolded = chebyshev ? fold.inverse_norm() : 1;
      double const n0 = c0.norm(), i0 = unfolded * c0.inverse_norm(), n2 = folded * c2.norm(),
                   n1 = m.direct_kernel ? 1 : folded * c1.norm();
      double const error = 2 * (c0.solve_terms() + c1.terms() + c2.terms() + bound_of(n) * root +
                                (chebyshev ? fold.unfold_terms() + 4 * fold.order() : 0)) +
                           static_cast<double>(dy.ext[0] * dy.ext[1] * width * n);
      for (index_t d = g * width; d < (g + 1) * width; ++d) {
        double const k = test::norm2(kernel_row(m, w, d)), taps = root * n1 * k;
        double dtaps = 0;  // of any entry
        for (index_t b = 0; b < dy.ext[0]; ++b)
          for (index_t h = 0; h < dy.ext[1]; ++h) {
            double const from = test::norm2(values(fix_axis(fix_axis(fix_axis(x.x, 3, d), 1, h), 0, b))),
                         up = test::norm2(values(fix_axis(fix_axis(fix_axis(dy, 3, d), 1, h), 0, b))),
                         v = n2 * from, dh = i0 * up, dv = taps * dh;
            for (index_t i = 0; i < n; ++i) d_x.view()(b, h, i, d) = error * n2 * dv;
            group[0][G] += error * n2 * dv * n2 * from;
            group[2][G] += error * n0 * dh * i0 * taps * v;
            dtaps += dh * v;
          }
        for (index_t i = 0; i < m.length; ++i)
          d_k[static_cast<std::size_t>(d * m.length + i)] = error * n1 * root * dtaps;
        group[1][G] += error * n1 * root * dtaps * n1 * k;
      }
    }
    dw.push_back(d_k);
    auto const append = [&](numbers const& by_group, extents<4> const& e) {
      numbers all;
      for (double one : by_group) all.insert(all.end(), static_cast<std::size_t>(e[1] * e[2] * e[3]), one);
      dw.push_back(all);
    };
    for (int a = 0; a < m.order; ++a) {
      append(group[0], w.input[a].ext);
      if (!m.direct_kernel) append(group[1], w.kernel[a].ext);
      append(group[2], w.output[a].ext);
    }
    dx.push_back(values(d_x.cview()));
  }
};
