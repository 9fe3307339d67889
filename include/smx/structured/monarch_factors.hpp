// SPDX-License-Identifier: Apache-2.0
/// \file  The index arithmetic of Monarch matrices: factors of a length, and the stages that they define.
///
/// One convention everywhere. A position is written in mixed radix, top digit first (row-major):
/// n = ((n_1 f_2 + n_2) f_3 + ...) + n_p. A stage contracts one digit by an independent matrix for every
/// value of all other digits; stages run from the lowest digit (the last factor) to the top one. The weights
/// of a stage are (blocks, out, in), block = high digits before low digits, the digits below already
/// transformed. At order 2 with factors (K, P) this is u[k,q] = sum_p w1[k,q,p] x[k P + p],  y[s Q + q] =
/// sum_k w2[q,s,k] u[k,q]: T. Dao et al., "Monarch: Expressive Structured Matrices for Efficient and Accurate
/// Training", ICML 2022, in the block order of its public implementation.
#pragma once

#include <cmath>

#include <smx/core/inline_vector.hpp>

namespace smx {

inline constexpr int max_monarch_order = 16;

/// Digits of a length, top digit first.
using monarch_digits = inline_vector<index_t, max_monarch_order>;

/// A vector seen as (high, in, low) becomes (high, out, low): one (out, in) matrix for each (high, low).
struct monarch_stage {
  index_t high = 1, in = 1, out = 1, low = 1;

  constexpr index_t blocks() const { return high * low; }
  constexpr index_t input_length() const { return high * in * low; }
  constexpr index_t output_length() const { return high * out * low; }
  friend constexpr bool operator==(monarch_stage const&, monarch_stage const&) = default;
};

/// Stages in the order in which they run.
using monarch_stages = inline_vector<monarch_stage, max_monarch_order>;

namespace detail {
/// The integer nearest to n^(1/p), at least 1.
inline index_t nearest_root(index_t n, int p) {
  index_t const r = static_cast<index_t>(std::llround(std::pow(static_cast<double>(n), 1.0 / p)));
  return r < 1 ? 1 : r;
}
}  // namespace detail

/// p factors of n, top digit first. Rule: from the lowest digit up, the divisor of what is left that is
/// nearest (in ratio) to the root r = left^(1/digits left), if it is within a factor of 1.5 of it (ties: the
/// smaller); otherwise r itself, rounded. The top digit is what is left, rounded up: only the top digit is
/// ever padded, so that the product is at least n and less than n plus one step of the top digit. 4096 ->
/// (64, 64); 1000 -> (40, 25); 10007 -> (101, 100).
inline monarch_digits monarch_factors(index_t n, int p) {
  expects_value(n >= 1, "monarch_factors: n", "at least 1", n);
  expects_value(p >= 1 && p <= max_monarch_order, "monarch_factors: p", "an order from 1 to 16", p);
  index_t digit[max_monarch_order] = {};
  index_t left = n;
  for (int a = p - 1; a > 0; --a) {
    double const root = std::pow(static_cast<double>(left), 1.0 / (a + 1));
    index_t best = detail::nearest_root(left, a + 1);
    double worst = 1.5;
    for (index_t d = 1; static_cast<double>(d) <= 1.5 * root; ++d) {
      double const ratio =
          static_cast<double>(d) > root ? static_cast<double>(d) / root : root / static_cast<double>(d);
      if (left % d == 0 && ratio < worst - 1e-12) best = d, worst = ratio;
    }
    digit[a] = best;
    left = (left + best - 1) / best;
  }
  digit[0] = left;
  monarch_digits f;
  for (int a = 0; a < p; ++a) f.push_back(digit[a]);
  return f;
}

/// The product of the digits.
inline index_t padded_length(monarch_digits const& f) {
  index_t n = 1;
  for (index_t d : f) {
    expects_value(d >= 1, "monarch: factors", "every factor to be at least 1", d);
    if (__builtin_mul_overflow(n, d, &n))
      expects_value(false, "monarch: factors", "a product below 2^63; factor", d);
  }
  return n;
}

/// Throws unless the digits cover `length` with padding in the top digit only.
inline void check_factors(char const* argument, monarch_digits const& f, index_t length) {
  expects_value(!f.empty(), argument, "at least one factor", 0);
  index_t const n = padded_length(f);
  expects_value(n >= length && n - n / f[0] < length, argument,
                "factors that multiply up to the length (padded in the top digit only); product", n);
}

/// The stages of a Monarch matrix whose input has digits `in` and whose output has digits `out` (the same
/// number).
inline monarch_stages make_stages(monarch_digits const& in, monarch_digits const& out) {
  expects_value(in.size() == out.size(), "monarch: output_factors", "as many factors as the input has",
                out.size());
  monarch_stages stages;
  for (int a = in.size() - 1; a >= 0; --a) {
    monarch_stage s{1, in[a], out[a], 1};
    for (int b = 0; b < a; ++b) s.high *= in[b];
    for (int b = a + 1; b < in.size(); ++b) s.low *= out[b];
    stages.push_back(s);
  }
  return stages;
}

/// The two stages of the public blockdiag_butterfly layout: w1 (k,q,p), w2 (l,s,r) with l r = k q, of which l
/// = q is the special case that factors describe. The flat index k q + q' between the stages is read again as
/// r' l + l'.
inline monarch_stages butterfly_stages(index_t k, index_t q, index_t p, index_t l, index_t s, index_t r) {
  expects_value(l * r == k * q, "butterfly_stages: l r", "the length between the stages, k q", l * r);
  monarch_stages stages;
  stages.push_back({k, p, q, 1});
  stages.push_back({1, r, s, l});
  return stages;
}

}  // namespace smx
