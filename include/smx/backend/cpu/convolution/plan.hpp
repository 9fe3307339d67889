// SPDX-License-Identifier: Apache-2.0
/// \file  The tree of remainders of a convolution of L positions: its shape, its constants, the sizes of its
/// memory.
///
/// A real signal of at most M points, times a kernel, modulo t^(2M) + 1 = (t^M - i)(t^M + i): for real data
/// the second residue is the conjugate of the first, so one complex transform of M points, x mod (t^M - i) =
/// x_low + i x_high, carries the whole padded convolution. The input has x_high = 0; y_low is the real part
/// of the result.
///
/// A node t^m - r splits into R factors t^(m/R) - rho w^j, rho^R = r, w = exp(2 pi i / R): the remainder
/// modulo factor j is sum_p (x_p rho^p) w^(jp), x_p being the p-th block of x. The R-1 constants depend on
/// the node only, not on the position inside a block; child j overwrites block j; leaves come in some order,
/// the same for signal and kernel.
///
/// M is the smallest of 2^a, 3*2^a, 5*2^a that is at least max(L, 16). A leaf is 64 points (8 below M = 128).
#pragma once

#include <array>
#include <cmath>
#include <numbers>

#include <smx/backend/cpu/simd.hpp>
#include <smx/core/check.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// One level of the tree: every node splits `radix` ways.
struct transform_level {
  int radix = 1;       ///< 2, 3, 4, 5 or 8
  index_t points = 0;  ///< of a child
  index_t stride = 0;  ///< from child to child, in complex vectors

  /// Numbers in a node's table: rho^p, p = 1 .. radix-1.
  constexpr index_t twiddles() const { return 2 * index_t(radix - 1); }
  friend bool operator==(transform_level const&, transform_level const&) = default;
};

/// A value: no memory. Made by make_transform_plan.
struct transform_plan {
  static constexpr int max_levels = 16;

  index_t length = 0;    ///< L
  index_t points = 0;    ///< M
  index_t leaf = 0;      ///< 8 or 64
  index_t work = 0;      ///< of one transform, in complex vectors
  index_t twiddles = 0;  ///< numbers in the table
  int levels = 0;
  std::array<transform_level, max_levels> level{};

  /// Where point n of a node at `depth` lies, n being a multiple of the leaf; contiguous inside a leaf.
  constexpr index_t place(int depth, index_t n) const {
    index_t at = 0;
    for (int i = depth; i < levels; ++i) {
      transform_level const& v = level[static_cast<std::size_t>(i)];
      at += n / v.points * v.stride;
      n %= v.points;
    }
    return at + n;
  }
  friend bool operator==(transform_plan const&, transform_plan const&) = default;
};

/// The smallest of 2^a, 3*2^a, 5*2^a that is at least max(length, 16).
constexpr index_t transform_points(index_t length) {
  index_t best = 0;
  for (index_t const q : {1, 3, 5}) {
    index_t m = q == 1 ? 16 : q * 8;
    while (m < length) m *= 2;
    if (best == 0 || m < best) best = m;
  }
  return best;
}

/// The plan for `length` positions. Throws unless 1 <= length <= 2^40.
inline transform_plan make_transform_plan(index_t length) {
  expects_value(length >= 1 && length <= index_t(1) << 40, "length", "between 1 and 2^40", length);
  transform_plan plan;
  plan.length = length;
  plan.points = transform_points(length);
  plan.leaf = plan.points % 64 == 0 && plan.points >= 128 ? 64 : 8;

  // Odd factors occur at the top only. Two levels in one pass over a column (radix 16 to 64 through a buffer
  // in L1) were measured 1.3 times slower: the columns are too many streams.
  index_t rest = plan.points / plan.leaf;
  while (rest > 1) {
    int const radix = rest % 3 == 0                 ? 3
                      : rest % 5 == 0               ? 5
                      : rest % 8 == 0 && rest != 16 ? 8
                      : rest % 4 == 0               ? 4
                                                    : 2;
    rest /= radix;
    plan.level[static_cast<std::size_t>(plan.levels++)] = {radix, rest * plan.leaf, 0};
  }
  // Odd strides between children: power-of-two strides would put a whole column into one or two cache sets.
  index_t stride = plan.leaf | 1, nodes = 1;
  for (int i = plan.levels; i-- > 0;) {
    transform_level& v = plan.level[static_cast<std::size_t>(i)];
    v.stride = stride;
    stride = (stride * v.radix) | 1;
  }
  plan.work = stride;
  for (int i = 0; i < plan.levels; ++i) {
    transform_level const& v = plan.level[static_cast<std::size_t>(i)];
    plan.twiddles += nodes * v.twiddles();
    nodes *= v.radix;
  }
  plan.twiddles += nodes * (plan.leaf == 64 ? 126 : 14);
  return plan;
}

namespace detail {
template <class T> class twiddle_writer {
 public:
  twiddle_writer(transform_plan const& plan, T* out) : plan_(plan), out_(out) {}

  /// The tables of the node t^m - exp(2 pi i turns / of) and of all below it, in the order of the walk.
  void node(int depth, index_t turns, index_t of) {
    if (depth < plan_.levels) {
      index_t const radix = plan_.level[static_cast<std::size_t>(depth)].radix;
      powers(turns, of * radix, radix);
      for (index_t j = 0; j < radix; ++j) node(depth + 1, turns + j * of, of * radix);
    } else if (plan_.leaf == 64) {
      powers(turns, of * 8, 8);
      for (index_t j = 0; j < 8; ++j) powers(turns + j * of, of * 64, 8);
    } else {
      powers(turns, of * 8, 8);
    }
  }

 private:
  /// exp(2 pi i turns p / of), p = 1 .. radix-1. The angle is reduced to an eighth of a turn in integers, so
  /// that what cos and sin get is exact up to the rounding of one quotient and one product.
  void powers(index_t turns, index_t of, index_t radix) {
    for (index_t p = 1; p < radix; ++p) {
      index_t const n = turns * p % of, quarter = (4 * n + of / 2) / of;
      double const x =
          2 * std::numbers::pi * (static_cast<double>(4 * n - quarter * of) / static_cast<double>(4 * of));
      double const c = std::cos(x), s = std::sin(x);
      double const turned[4] = {c, -s, -c, s};  // by the quarters; rho^p stays below 7/8 of a turn
      *out_++ = static_cast<T>(turned[quarter]);
      *out_++ = static_cast<T>(turned[(quarter + 3) % 4]);
    }
  }

  transform_plan const& plan_;
  T* out_;
};
}  // namespace detail

/// Writes the plan.twiddles constants of the tree: computed in double, rounded once to T.
template <class T> void fill_twiddles(transform_plan const& plan, T* out) {
  detail::twiddle_writer<T>(plan, out).node(0, 1, 4);  // the root is t^M - i, and i is a quarter turn
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
