// SPDX-License-Identifier: Apache-2.0
/// \file  Softmax attention in double, from its formula, with bounds on what rounding may do to it.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include <smx/core/mask.hpp>
#include <smx/testing/numbers.hpp>

namespace test {

/// How a kernel rounds: `operand`: largest relative error of a number before it is multiplied; `split`:
/// whether products with values are summed tile by tile.
struct rounding {
  double operand;
  bool split;
};

/// y and lse with the errors that each may have.
struct attention_result {
  smx::testing::numbers y, y_bound, lse, lse_bound;
};

/// The bounds follow the computation. A score is a sum of D products of operands that are off by u: it is off
/// by d <= A (2 u + u^2 + ceil(D / 16) t + 2^-22), A = |scale| sum |q k|, where t = 2^-21 bounds what a
/// tensor core loses when it adds 17 numbers that it truncates at 2^-25 of the largest, and 2^-22 two
/// roundings of scale q. 2^x is off by 2^-22 and by its argument's rounding, 2^-24 |s - top| ln 2. With r =
/// the largest of these over the row's keys, weights are off by a factor of at most exp(r) each way; then P
/// and V are rounded (u each), and sums over keys are off by t for each 16 keys that are added up without a
/// pause, and by 2^-21 for each tile of 32 keys or more that the sums are scaled for.
template <class M>
attention_result attention_oracle(M const& mask, double scale, smx::view<float const, 4, smx::host_space> q,
                                  smx::view<float const, 4, smx::host_space> k,
                                  smx::view<float const, 4, smx::host_space> v, rounding const& how) {
  using smx::index_t;
  attention_result to;
  double const t = 0x1p-21, u = how.operand;
  index_t const shared = q.ext[1] / k.ext[1], keys = k.ext[2];
  auto const sixteenths = [](index_t n) { return static_cast<double>((n + 15) / 16); };
  for (index_t b = 0; b < q.ext[0]; ++b)
    for (index_t h = 0; h < q.ext[1]; ++h)
      for (index_t i = 0; i < q.ext[2]; ++i) {
        std::vector<std::pair<index_t, double>> seen;
        double top = -INFINITY, off = 0;
        for (index_t j = 0; j < keys; ++j) {
          if (!mask.allow(b, h, i, j)) continue;
          double s = 0, a = 0;
          for (index_t d = 0; d < q.ext[3]; ++d) {
            double const term =
                static_cast<double>(q(b, h, i, d)) * static_cast<double>(k(b, h / shared, j, d));
            s += term, a += std::fabs(term);
          }
          seen.emplace_back(j, scale * s);
          top = std::max(top, scale * s);
          if (std::isfinite(a))
            off = std::max(off, std::fabs(scale) * a * (2 * u + u * u + sixteenths(q.ext[3]) * t + 0x1p-22));
        }
        double sum = 0, spread = 0;
        for (auto const& [j, s] : seen)
          if (s != -INFINITY) sum += std::exp(s - top), spread = std::max(spread, top - s);
        if (top == -INFINITY) top = spread = 0, sum = 0;  // nothing is seen: y = 0, lse = -inf
        double const r = off + 0x1p-22 + 0x1p-24 * (spread + std::fabs(top));
        double const tiles = static_cast<double>((keys + 31) / 32 + 1);
        double const adding =
            (how.split ? std::min(4.0, sixteenths(keys)) : sixteenths(keys)) * t + tiles * 0x1p-21;
        double const factor = std::expm1(2 * r) + std::exp(2 * r) * (2 * u + u * u + adding);
        double const lse = top + std::log(sum);
        to.lse.push_back(lse);
        to.lse_bound.push_back(r + adding + 0x1p-22 * std::fabs(lse));
        for (index_t e = 0; e < v.ext[3]; ++e) {
          double y = 0, w = 0;
          for (auto const& [j, s] : seen) {
            if (sum == 0 || s == -INFINITY) continue;
            double const term = std::exp(s - top) / sum * static_cast<double>(v(b, h / shared, j, e));
            y += term, w += std::fabs(term);
          }
          to.y.push_back(y);
          to.y_bound.push_back(factor * w + 1e-37);
        }
      }
  return to;
}

/// Gradients with the errors that each may have.
struct attention_gradients {
  smx::testing::numbers dq, dq_bound, dk, dk_bound, dv, dv_bound;
};

/// y, lse: what forward_pass said, rounded to float. With the bounds of attention_oracle on scores (d, of any
/// of a row) and powers, P is off by a factor of exp(r) - 1 at most, r = d + 2^-22 + 2^-23 (|lse| + |s|); dP
/// by c_E B, B = sum |dy v|, c_n = 2 u + u^2 + ceil(n / 16) t; delta by (E + 3) 2^-24 sum |y dy|. Then the
/// sums of dq, dk, dv over n terms: 2 u + u^2, and t for each 16 terms, or, if split, 2 t and 2^-23 for
/// each 32.
template <class M>
attention_gradients attention_gradient_oracle(
    M const& mask, double scale, smx::view<float const, 4, smx::host_space> q,
    smx::view<float const, 4, smx::host_space> k, smx::view<float const, 4, smx::host_space> v,
    smx::view<float const, 4, smx::host_space> y, smx::view<float const, 4, smx::host_space> lse,
    smx::view<float const, 4, smx::host_space> dy, rounding const& how) {
  using smx::index_t;
  double const t = 0x1p-21, u = how.operand;
  auto const terms = [&](index_t n) { return 2 * u + u * u + static_cast<double>((n + 15) / 16) * t; };
  auto const adding = [&](index_t n) {
    return how.split ? 2 * u + u * u + 2 * t + static_cast<double>(n / 32 + 1) * 0x1p-23 : terms(n);
  };
  index_t const shared = q.ext[1] / k.ext[1], keys = k.ext[2], dims = q.ext[3], outs = v.ext[3];
  auto const size = [](auto const& a) { return static_cast<std::size_t>(a.size()); };
  attention_gradients to;
  to.dq.assign(size(q), 0), to.dq_bound.assign(size(q), 1e-37);
  to.dk.assign(size(k), 0), to.dk_bound.assign(size(k), 1e-37);
  to.dv.assign(size(v), 0), to.dv_bound.assign(size(v), 1e-37);
  auto const at = [](auto const& a, index_t b, index_t h, index_t i, index_t e) {
    return static_cast<std::size_t>(((b * a.ext[1] + h) * a.ext[2] + i) * a.ext[3] + e);
  };
  auto const number = [](auto const& a, index_t b, index_t h, index_t i, index_t e) {
    return static_cast<double>(a(b, h, i, e));
  };
  double const dq_sum = adding(keys), dk_sum = adding(q.ext[2] * shared);
  for (index_t b = 0; b < q.ext[0]; ++b)
    for (index_t h = 0; h < q.ext[1]; ++h)
      for (index_t i = 0; i < q.ext[2]; ++i) {
        index_t const g = h / shared;
        double delta = 0, delta_size = 0;
        for (index_t e = 0; e < outs; ++e) {
          delta += number(y, b, h, i, e) * number(dy, b, h, i, e);
          delta_size += std::fabs(number(y, b, h, i, e) * number(dy, b, h, i, e));
        }
        double const l = number(lse, b, h, i, 0);
        for (index_t j = 0; j < keys; ++j) {
          if (!mask.allow(b, h, i, j)) continue;
          double s = 0, a = 0, dp = 0, dp_size = 0;
          for (index_t d = 0; d < dims; ++d) {
            double const term = number(q, b, h, i, d) * number(k, b, g, j, d);
            s += scale * term, a += std::fabs(scale * term);
          }
          for (index_t e = 0; e < outs; ++e) {
            double const term = number(dy, b, h, i, e) * number(v, b, g, j, e);
            dp += term, dp_size += std::fabs(term);
          }
          double const p = std::exp(s - l), r = std::expm1(a * (terms(dims) + 0x1p-22) + 0x1p-22 +
                                                           0x1p-23 * (std::fabs(l) + std::fabs(s)));
          double const ds = p * (dp - delta),
                       ds_off =
                           p * (r * std::fabs(dp - delta) +
                                (1 + r) * (terms(outs) * dp_size +
                                           static_cast<double>(outs + 3) * 0x1p-24 * (delta_size + dp_size)));
          for (index_t d = 0; d < dims; ++d) {
            double const to_q = scale * number(k, b, g, j, d), to_k = scale * number(q, b, h, i, d);
            to.dq[at(q, b, h, i, d)] += ds * to_q;
            to.dq_bound[at(q, b, h, i, d)] += std::fabs(to_q) * (ds_off + (std::fabs(ds) + ds_off) * dq_sum);
            to.dk[at(k, b, g, j, d)] += ds * to_k;
            to.dk_bound[at(k, b, g, j, d)] +=
                std::fabs(to_k) * (ds_off + (std::fabs(ds) + ds_off) * (dk_sum + 0x1p-22));
          }
          for (index_t e = 0; e < outs; ++e) {
            double const to_v = number(dy, b, h, i, e);
            to.dv[at(v, b, g, j, e)] += p * to_v;
            to.dv_bound[at(v, b, g, j, e)] += std::fabs(to_v) * p * (r + (1 + r) * dk_sum);
          }
        }
      }
  return to;
}

/// As testing::within, and what is NaN or infinite is that.
inline smx::testing::verdict close_to(char const* what, smx::testing::numbers const& got,
                                      smx::testing::numbers const& want, smx::testing::numbers const& bound) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    bool const fine = std::isfinite(want[i]) ? std::fabs(got[i] - want[i]) <= bound[i]
                                             : got[i] == want[i] || (got[i] != got[i] && want[i] != want[i]);
    if (!fine)
      return smx::testing::text("%s: entry %zu of %zu is %.9g, expected %.9g within %.3g", what, i,
                                want.size(), got[i], want[i], bound[i]);
  }
  return smx::testing::holds;
}

}  // namespace test
