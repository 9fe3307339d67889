// SPDX-License-Identifier: Apache-2.0
/// \file  attention in the conformance suite.
#pragma once

#include <smx/mixers/attention.hpp>

#include <algorithm>

#include <smx/testing/cases.hpp>
#include <smx/testing/numbers.hpp>

namespace test {

/// The mask of an example with so many queries and keys; what it points to lives as long as the program.
template <class MaskType> struct mask_maker {
  static MaskType make(smx::index_t, smx::index_t) { return {}; }
  /// Whether queries and keys may be of different numbers. Masks that know how many there are have
  /// first(mask, queries, keys): the same mask for the first of them.
  static constexpr bool cross = !MaskType::causal;
};

/// Whether the mask is a table for the positions of the example alone.
template <class MaskType> inline constexpr bool is_table = false;
template <> inline constexpr bool is_table<smx::boolean_mask> = true;
template <class A, class B> inline constexpr bool is_table<smx::and_mask<A, B>> = is_table<A> || is_table<B>;
template <class A, class B> inline constexpr bool is_table<smx::or_mask<A, B>> = is_table<A> || is_table<B>;

}  // namespace test

template <class T, class MaskType> struct smx::testing::cases<smx::attention<T, MaskType>> {
  using M = attention<T, MaskType>;
  static constexpr bool causal = MaskType::causal;

  /// q, k, v of one example.
  static std::vector<extents<4>> shapes(index_t b, index_t heads, index_t kv_heads, index_t queries,
                                        index_t keys, index_t d, index_t e) {
    return {{b, heads, queries, d}, {b, kv_heads, keys, d}, {b, kv_heads, keys, e}};
  }
  static M with_mask(extents<4> const& q, extents<4> const& k) {
    return {.mask = test::mask_maker<MaskType>::make(q[2], k[2])};
  }
  static std::vector<example<M>> examples() {
    std::vector<example<M>> list;
    auto const add = [&](std::vector<extents<4>> const& ext, T scale = 0, bool small = true) {
      list.push_back({with_mask(ext[0], ext[1]), ext, small});
      list.back().mixer.scale = scale;
    };
    add(shapes(2, 1, 1, 1, 1, 3, 3));
    add(shapes(1, 2, 2, 2, 2, 1, 1));
    add(shapes(2, 4, 2, 7, 7, 5, 6));
    add(shapes(1, 2, 1, 33, 33, 16, 8), T(0.3));
    add(shapes(1, 1, 1, 65, 65, 7, 20));
    add(shapes(1, 1, 1, 129, 129, 8, 8));
    add(shapes(1, 2, 1, 300, 300, 16, 24), 0, false);
    if constexpr (std::same_as<MaskType, causal_mask>) {
      list.push_back({{.mask = {3}}, shapes(2, 2, 1, 6, 9, 4, 5)});   // after three cached tokens
      list.push_back({{.mask = {-2}}, shapes(1, 2, 2, 7, 7, 4, 3)});  // two rows without a key
      list.push_back({{.mask = {-70}}, shapes(1, 1, 1, 80, 80, 4, 3)});
    }
    if constexpr (test::mask_maker<MaskType>::cross) {
      add(shapes(2, 2, 2, 5, 11, 4, 3));
      add(shapes(1, 3, 1, 70, 1, 4, 3));
      add(shapes(1, 1, 1, 1, 131, 4, 3));
    }
    return list;
  }
  static bool goes_on(M const&) { return !test::is_table<MaskType>; }
  static example<M> sized(index_t n) {
    auto const ext = shapes(1, 1, 1, n, n, 1, 1);
    return {with_mask(ext[0], ext[1]), ext};
  }

  static MaskType first_mask(MaskType const& mask, index_t queries, index_t keys) {
    if constexpr (requires { test::mask_maker<MaskType>::first(mask, queries, keys); })
      return test::mask_maker<MaskType>::first(mask, queries, keys);
    else
      return mask;
  }
  static void first_positions(M& m, host_inputs<M>&, index_t queries, index_t keys) {
    m.mask = first_mask(m.mask, queries, keys);
  }

  static index_t visible_keys(M const& m, host_inputs<M> const& x, index_t row) {
    index_t keys = 0;
    for (index_t j = 0; j < x.k.ext[2]; ++j) keys += m.mask.allow(0, 0, row, j) ? 1 : 0;
    return keys;
  }
  static bool sees(M const& m, host_inputs<M> const& x, int input, index_t row, index_t position) {
    if (input == 0) return row == position && visible_keys(m, x, row) > 0;
    return m.mask.allow(0, 0, row, position);
  }
  /// The probability of a single key is 1, whatever the query and the key.
  static bool reaches(M const& m, host_inputs<M> const& x, int input, index_t row, index_t position) {
    return sees(m, x, input, row, position) && (input == 2 || visible_keys(m, x, row) > 1);
  }

  /// The softmax of one row in two passes, and what its probabilities may be off by, relative to them, in
  /// multiples of epsilon: a score is off by D roundings of sum |q||k| and some of its conversion to a power
  /// of two, twice because the sum's logarithm is off too; then the sum itself.
  struct row {
    std::vector<double> p;
    double relative = 0;
  };
  static row softmax(M const& m, host_inputs<M> const& x, index_t b, index_t h, index_t i) {
    index_t const keys = x.k.ext[2], dim = x.k.ext[3], kv = h * x.k.ext[1] / x.q.ext[1];
    double const scale =
        m.scale != T(0) ? static_cast<double>(m.scale) : 1 / std::sqrt(static_cast<double>(dim));
    row r{std::vector<double>(static_cast<std::size_t>(keys)), 0};
    double top = -INFINITY, magnitude = 0, total = 0;
    for (index_t j = 0; j < keys; ++j) {
      if (!m.mask.allow(b, h, i, j)) continue;
      double s = 0, absolute = 0;
      for (index_t d = 0; d < dim; ++d) {
        double const term = static_cast<double>(x.q(b, h, i, d)) * static_cast<double>(x.k(b, kv, j, d));
        s += term, absolute += std::fabs(term);
      }
      r.p[static_cast<std::size_t>(j)] = scale * s;
      top = std::max(top, scale * s);
      magnitude = std::max(magnitude, scale * absolute);
    }
    for (index_t j = 0; j < keys; ++j) {
      double& p = r.p[static_cast<std::size_t>(j)];
      p = m.mask.allow(b, h, i, j) ? std::exp(p - top) : 0;
      total += p;
    }
    for (double& p : r.p)
      if (p != 0) p /= total;
    r.relative = 2 * static_cast<double>(dim + 8) * magnitude + 2 * static_cast<double>(keys) + 16;
    return r;
  }

  static void oracle(M const& m, host_weights<M> const&, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    loops::for_each_index(extents<3>{y.ext[0], y.ext[1], y.ext[2]}, [&](extents<3> const& at) {
      index_t const b = at[0], h = at[1], i = at[2], kv = h * x.k.ext[1] / x.q.ext[1];
      row const r = softmax(m, x, b, h, i);
      for (index_t e = 0; e < y.ext[3]; ++e) {
        double sum = 0, magnitude = 0;
        for (index_t j = 0; j < x.k.ext[2]; ++j) {
          double const p = r.p[static_cast<std::size_t>(j)];
          if (p == 0) continue;  // masked: not read
          sum += p * static_cast<double>(x.v(b, kv, j, e));
          magnitude += p * std::fabs(static_cast<double>(x.v(b, kv, j, e)));
        }
        y(b, h, i, e) = sum;
        bound(b, h, i, e) = r.relative * magnitude;
      }
    });
  }

  /// dV = P^T dY, dS = P (dP - sum_j P dP) with dP = dY V^T, dQ = scale dS K, dK = scale dS^T Q, everything
  /// in absolute values, times the relative error of P and the roundings of the sums.
  static void gradient_bounds(M const& m, host_weights<M> const&, host_inputs<M> const& x,
                              view<T const, 4, host_space> dy, std::vector<numbers>&,
                              std::vector<numbers>& bounds) {
    tensor<double, 4> dq(x.q.ext), dk(x.k.ext), dv(x.v.ext);
    index_t const keys = x.k.ext[2], dim = x.k.ext[3], values_dim = x.v.ext[3];
    double const scale =
        m.scale != T(0) ? static_cast<double>(m.scale) : 1 / std::sqrt(static_cast<double>(dim));
    double const rows = static_cast<double>(x.q.ext[1] / x.k.ext[1] * x.q.ext[2]);
    auto const magnitude = [](T v) { return std::fabs(static_cast<double>(v)); };
    loops::for_each_index(extents<3>{dy.ext[0], dy.ext[1], dy.ext[2]}, [&](extents<3> const& at) {
      index_t const b = at[0], h = at[1], i = at[2], kv = h * x.k.ext[1] / x.q.ext[1];
      row const r = softmax(m, x, b, h, i);
      double const terms =
          2 * r.relative + 2 * static_cast<double>(values_dim) + 2 * static_cast<double>(keys) + rows + 16;
      std::vector<double> dp(r.p.size());
      double mean = 0;
      for (index_t j = 0; j < keys; ++j) {
        double& to = dp[static_cast<std::size_t>(j)];
        double const p = r.p[static_cast<std::size_t>(j)];
        for (index_t e = 0; e < values_dim; ++e) {
          to += magnitude(dy(b, h, i, e)) * magnitude(x.v(b, kv, j, e));
          dv(b, kv, j, e) += terms * p * magnitude(dy(b, h, i, e));
        }
        mean += p * to;
      }
      for (index_t j = 0; j < keys; ++j) {
        double const ds = terms * std::fabs(scale) * r.p[static_cast<std::size_t>(j)] *
                          (dp[static_cast<std::size_t>(j)] + mean);
        for (index_t d = 0; d < dim; ++d) {
          dq(b, h, i, d) += ds * magnitude(x.k(b, kv, j, d));
          dk(b, kv, j, d) += ds * magnitude(x.q(b, h, i, d));
        }
      }
    });
    for (auto* one : {&dq, &dk, &dv}) bounds.push_back(values(one->cview()));
  }
};
