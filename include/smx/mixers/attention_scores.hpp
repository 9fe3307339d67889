// SPDX-License-Identifier: Apache-2.0
/// \file  What attention does to scores between q . k and the softmax: nothing, or a list of modifiers.
///
/// Order, for a pair (i, j) that the mask allows, whatever is left out:
///
///     x = scale q_i . k_j
///     x = softcap tanh(x / softcap)
///     x = x - slope_h |i + offset - j|           (ALiBi)
///     x = x + table(bucket(j - i - offset), h)   (relative bias of T5)
///     x = x + bias(b, h, i, j)
///     x = x + log gates(b, h, i, j)
///     p = exp(x) / (sum_j exp(x) + exp(sink_h))
///     p = p / (1 - dropout), or 0
#pragma once

#include <cmath>
#include <cstdint>

#include <smx/core/check.hpp>
#include <smx/core/extents.hpp>
#include <smx/mixers/concept.hpp>

namespace smx {

/// Scores as they are: the kernels' case.
struct plain_scores {
  static constexpr bool modified = false;
  friend bool operator==(plain_scores const&, plain_scores const&) = default;

  template <class A, class T> struct weights {};
  template <class A, class T> struct inputs { array<A, T, 4> q, k, v; };
};

/// Buckets of distances as in T5 (C. Raffel et al., JMLR 2020): the nearer half one distance each, the others
/// logarithmic up to `max_distance`, what is farther in the last one; twice, for keys before and after the
/// query, if `bidirectional`, else keys after the query count as distance 0.
struct relative_buckets {
  index_t count = 0;  ///< 0: no relative bias
  index_t max_distance = 128;
  bool bidirectional = true;
  friend bool operator==(relative_buckets const&, relative_buckets const&) = default;

  /// The bucket of a key that stands `ahead` positions after the query (negative: before it).
  SMX_HD index_t operator()(index_t ahead) const {
    index_t const half = bidirectional ? count / 2 : count, exact = half / 2;
    index_t const first = bidirectional && ahead > 0 ? half : 0;
    index_t const distance = bidirectional ? (ahead < 0 ? -ahead : ahead) : (ahead < 0 ? -ahead : 0);
    if (distance < exact) return first + distance;
    // in float, as the reference does: on the border of two buckets its rounding decides
    float const far =
        std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
        static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact)));
    index_t const bucket = exact + static_cast<index_t>(far * static_cast<float>(half - exact));
    return first + (bucket < half - 1 ? bucket : half - 1);
  }
};

/// The slope of ALiBi (O. Press et al., ICLR 2022) of one of `heads` heads: 2^(-steepest (h + 1) / n) where
/// there are n = 2^m heads; other numbers of heads take every second slope of twice as many for the rest.
SMX_HD inline double alibi_slope(index_t head, index_t heads, double steepest) {
  index_t power = 1;
  while (2 * power <= heads) power *= 2;
  double const step = steepest / static_cast<double>(power);
  return head < power ? std::exp2(-step * static_cast<double>(head + 1))
                      : std::exp2(-step / 2 * static_cast<double>(2 * (head - power) + 1));
}

/// Modified scores: `attention<float, causal_mask, modified_scores> mix{.scores = {.softcap = 30, .alibi =
/// 8}};`. Members at their start leave a modifier out; bias and gates are inputs, and left out if empty.
///
/// bias and gates (B,Hq,L,M): any axis may have extent 1, which serves all its entries. Gates are weights >=
/// 0; one that is 0 closes, with gradient 0. Dropout is a function of seed, (b,h,i,j) and the extents alone:
/// the same for every number of threads, and again in backward.
struct modified_scores {
  static constexpr bool modified = true;

  double softcap = 0;              ///< 0: none
  double alibi = 0;                ///< the exponent of the steepest slope, 8 in the paper; 0: none
  relative_buckets relative = {};  ///< weight `table` (buckets, heads)
  bool sink = false;               ///< weight `sink` (heads): a logit that takes weight and gives no value
  index_t heads = 0;               ///< of the queries; needed where there are weights
  double dropout = 0;              ///< the share of probabilities that are left out
  std::uint64_t seed = 0;          ///< of dropout
  index_t offset = 0;              ///< keys before the first query, for distances
  friend bool operator==(modified_scores const&, modified_scores const&) = default;

  template <class A, class T> struct weights {
    array<A, T, 2> table;
    array<A, T, 1> sink;
  };
  template <class A, class T> struct inputs { array<A, T, 4> q, k, v, bias, gates; };

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    if (relative.count != 0) {
      expects_value(heads >= 1, "attention: scores.heads", "at least 1 where there are weights", heads);
      expects_value(relative.count >= (relative.bidirectional ? 4 : 2), "attention: relative buckets",
                    "at least 2 in each direction", relative.count);
      f(weight_info<2>{"table", {relative.count, heads}, {initializer::law::normal, 0.02}}, w.table...);
    }
    if (sink) {
      expects_value(heads >= 1, "attention: scores.heads", "at least 1 where there are weights", heads);
      f(weight_info<1>{"sink", {heads}, {initializer::law::constant, 0}}, w.sink...);
    }
  }

  /// Throws for options and arrays that do not fit a (B,Hq,L,M) score array.
  template <class W, class X> void check(W const& w, X const& x, extents<4> const& scores) const {
    expects(softcap >= 0, "attention: softcap: expected at least 0, got a negative number or NaN");
    expects(dropout >= 0 && dropout < 1, "attention: dropout: expected 0 up to below 1, got another number");
    for_each_weight([](auto const& info, auto const& one) { expects_extents(info.name, one.ext, info.ext); },
                    w);
    if (relative.count != 0 || sink)
      expects_value(heads == scores[1], "attention: q", "as many heads as scores.heads; heads", scores[1]);
    if (relative.count != 0) {
      index_t const exact = relative.count / (relative.bidirectional ? 4 : 2);
      expects_value(relative.max_distance > exact, "attention: max_distance of the relative buckets",
                    "more than the distances that have a bucket of their own", relative.max_distance);
    }
    auto const fits = [&](char const* name, auto const& v) {
      for (int axis = 0; axis < 4 && !v.empty(); ++axis)
        expects_value(v.ext[axis] == scores[axis] || v.ext[axis] == 1, name,
                      "1 or the extent of the scores (B,Hq,L,M) on each axis; extent", v.ext[axis]);
    };
    fits("attention: bias", x.bias);
    fits("attention: gates", x.gates);
  }
  template <class W, class D, class X> void check_gradients(W const& dw, D const& dx, X const& x) const {
    if (relative.count != 0) expects_extents("attention: dtable", dw.table.ext, {relative.count, heads});
    if (sink) expects_extents("attention: dsink", dw.sink.ext, {heads});
    if (!x.bias.empty()) expects_extents("attention: dbias", dx.bias.ext, x.bias.ext);
    if (!x.gates.empty()) expects_extents("attention: dgates", dx.gates.ext, x.gates.ext);
  }
};

}  // namespace smx
