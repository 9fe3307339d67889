// SPDX-License-Identifier: Apache-2.0
/// \file  attention with modified scores in the conformance suite.
#pragma once

#include "tests/conformance/cases/masks.hpp"

template <class T, class MaskType>
struct smx::testing::cases<smx::attention<T, MaskType, smx::modified_scores>> {
  using M = attention<T, MaskType, modified_scores>;
  using plain = cases<attention<T, MaskType>>;
  static constexpr bool heads_alike = false;

  static M with(modified_scores const& how, std::vector<extents<4>> const& ext) {
    M m{.mask = test::mask_maker<MaskType>::make(ext[0][2], ext[1][2]), .scores = how};
    m.scores.heads = ext[0][1];
    return m;
  }
  /// The extents of the inputs with those of a bias and, if given, of gates.
  static std::vector<extents<4>> with_bias(std::vector<extents<4>> ext, extents<4> const& bias) {
    ext.push_back(bias);
    return ext;
  }
  static std::vector<example<M>> examples() {
    std::vector<example<M>> list;
    auto const add = [&](modified_scores const& how, std::vector<extents<4>> const& ext, bool small = true) {
      list.push_back({with(how, ext), ext, small});
    };
    auto const shapes = plain::shapes;
    modified_scores const all{.softcap = 2, .alibi = 8, .relative = {8, 20, true}, .sink = true};
    add({}, shapes(2, 4, 2, 7, 7, 5, 6));
    add(all, shapes(2, 3, 1, 7, 7, 4, 5));
    add({.softcap = 1.5, .relative = {5, 9, false}, .offset = 3}, shapes(1, 6, 3, 9, 9, 4, 4));
    add({.alibi = 4, .sink = true}, shapes(1, 1, 1, 1, 1, 3, 3));
    add({.softcap = 2, .alibi = 8, .relative = {6, 50, true}, .sink = true}, shapes(1, 2, 1, 70, 70, 3, 4));
    add({.relative = {32, 128, true}, .sink = true, .dropout = 0.25, .seed = 7},
        shapes(2, 2, 1, 150, 150, 8, 5), false);
    add(all, with_bias(shapes(3, 3, 1, 7, 7, 4, 5), {3, 3, 7, 7}));
    if constexpr (!MaskType::causal) {
      add({.softcap = 2}, with_bias(shapes(3, 4, 2, 5, 11, 4, 3), {1, 4, 5, 11}));
      add({.alibi = 8}, with_bias(shapes(3, 3, 3, 5, 11, 4, 3), {3, 1, 1, 11}));
      add({.sink = true}, with_bias(shapes(1, 3, 3, 70, 70, 4, 3), {1, 1, 70, 70}));
    }
    return list;
  }
  static example<M> sized(index_t n) {
    auto const ext = plain::shapes(1, 1, 1, n, n, 1, 1);
    return {with({.softcap = 1}, ext), ext};
  }

  static bool streams(M const& m) { return m.scores.dropout == 0; }
  static void first_positions(M& m, host_inputs<M>& x, index_t queries, index_t keys) {
    m.mask = plain::first_mask(m.mask, queries, keys);
    for (auto* one : {&x.bias, &x.gates})
      if (!one->empty() && one->ext[3] > keys) *one = slice(*one, 3, 0, keys);
  }
  static bool query(int input) { return input == 0 || input > 2; }
  static index_t visible_keys(M const& m, host_inputs<M> const& x, index_t row) {
    index_t keys = 0;
    for (index_t j = 0; j < x.k.ext[2]; ++j) keys += m.mask.allow(0, 0, row, j) ? 1 : 0;
    return keys;
  }
  static bool sees(M const& m, host_inputs<M> const& x, int input, index_t row, index_t position) {
    auto const& one = input == 3 ? x.bias : x.gates;
    if (input == 0 || input > 2)
      return (row == position || (input > 2 && one.ext[2] == 1)) && visible_keys(m, x, row) > 0;
    return m.mask.allow(0, 0, row, position);
  }
  static bool reaches(M const& m, host_inputs<M> const& x, int input, index_t row, index_t position) {
    return sees(m, x, input, row, position) && (input == 2 || m.scores.sink || visible_keys(m, x, row) > 1);
  }

  /// The slope of a head by the rule for any number of heads: those of the power of two below, then every
  /// second one of the power of two above.
  static double slope(index_t head, index_t heads, double steepest) {
    index_t below = 1;
    while (below * 2 <= heads) below *= 2;
    if (head < below) return std::pow(std::pow(2, -steepest / static_cast<double>(below)), double(head + 1));
    return std::pow(std::pow(2, -steepest / static_cast<double>(2 * below)), double(2 * (head - below) + 1));
  }
  /// The bucket of a distance, by the lower ends of the buckets.
  static index_t bucket(relative_buckets const& how, index_t ahead) {
    index_t const half = how.bidirectional ? how.count / 2 : how.count, exact = half / 2;
    index_t first = 0, distance = ahead < 0 ? -ahead : ahead;
    if (ahead > 0 && how.bidirectional) first = half;
    if (ahead > 0 && !how.bidirectional) distance = 0;
    index_t b = 0;
    for (index_t next = 1; next < half; ++next) {
      double const from = next <= exact
                              ? double(next)
                              : double(exact) * std::pow(double(how.max_distance) / double(exact),
                                                         double(next - exact) / double(half - exact));
      if (static_cast<double>(distance) >= from * (1 - 1e-7)) b = next;
    }
    return first + b;
  }
  static double entry(view<T const, 4, host_space> v, index_t b, index_t h, index_t i, index_t j) {
    return static_cast<double>(
        v(v.ext[0] == 1 ? 0 : b, v.ext[1] == 1 ? 0 : h, v.ext[2] == 1 ? 0 : i, v.ext[3] == 1 ? 0 : j));
  }

  /// One row: probabilities, what dropout makes of them, the share of the sink; `relative` as in the plain
  /// case, every step between product and softmax adding some roundings of what it gives.
  struct row {
    std::vector<double> p, keep;
    double relative = 0, sink = 0;
  };
  static row softmax(M const& m, host_weights<M> const& w, host_inputs<M> const& x, index_t b, index_t h,
                     index_t i) {
    modified_scores const& how = m.scores;
    index_t const keys = x.k.ext[2], dim = x.k.ext[3], kv = h * x.k.ext[1] / x.q.ext[1];
    double const scale =
        m.scale != T(0) ? static_cast<double>(m.scale) : 1 / std::sqrt(static_cast<double>(dim));
    auto const n = static_cast<std::size_t>(keys);
    row r{std::vector<double>(n), std::vector<double>(n, 1.0)};
    double top = how.sink ? static_cast<double>(w.sink(h)) : -INFINITY, error = 0, total = 0;
    for (index_t j = 0; j < keys; ++j) {
      if (!m.mask.allow(b, h, i, j)) continue;
      double s = 0, absolute = 0;
      for (index_t d = 0; d < dim; ++d) {
        double const term = static_cast<double>(x.q(b, h, i, d)) * static_cast<double>(x.k(b, kv, j, d));
        s += term, absolute += std::fabs(term);
      }
      s *= scale;
      double off = static_cast<double>(dim + 8) * std::fabs(scale) * absolute;
      auto const step = [&](double term) {
        s += term;
        off += 4 * (std::fabs(s) + std::fabs(term));
      };
      if (how.softcap != 0) {
        s = how.softcap * std::tanh(s / how.softcap);
        off *= 1 + 2 / how.softcap;  // its derivative, in backward, is off too
        step(0);
      }
      index_t const ahead = j - i - how.offset;
      if (how.alibi != 0) step(-slope(h, x.q.ext[1], how.alibi) * std::fabs(static_cast<double>(ahead)));
      if (how.relative.count != 0) step(static_cast<double>(w.table(bucket(how.relative, ahead), h)));
      if (!x.bias.empty()) step(entry(x.bias, b, h, i, j));
      if (!x.gates.empty()) step(std::log(entry(x.gates, b, h, i, j)));
      r.p[static_cast<std::size_t>(j)] = s;
      top = std::max(top, s);
      error = std::max(error, off);
    }
    for (index_t j = 0; j < keys; ++j) {
      auto const at = static_cast<std::size_t>(j);
      r.p[at] = m.mask.allow(b, h, i, j) ? std::exp(r.p[at] - top) : 0;
      total += r.p[at];
      if (how.dropout != 0) {
        index_t const number = ((b * x.q.ext[1] + h) * x.q.ext[2] + i) * keys + j;
        bool const out = random_stream{how.seed, 0}.uniform(static_cast<std::uint64_t>(number)) < how.dropout;
        r.keep[at] = out ? 0 : 1 / (1 - how.dropout);
      }
    }
    if (how.sink) {
      r.sink = std::exp(static_cast<double>(w.sink(h)) - top);
      total += r.sink;
      r.sink /= total;
    }
    for (double& p : r.p)
      if (p != 0) p /= total;
    r.relative = 4 * error + 4 * static_cast<double>(keys) + 32;
    return r;
  }

  static void oracle(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    loops::for_each_index(extents<3>{y.ext[0], y.ext[1], y.ext[2]}, [&](extents<3> const& at) {
      index_t const b = at[0], h = at[1], i = at[2], kv = h * x.k.ext[1] / x.q.ext[1];
      row const r = softmax(m, w, x, b, h, i);
      for (index_t e = 0; e < y.ext[3]; ++e) {
        double sum = 0, magnitude = 0;
        for (index_t j = 0; j < x.k.ext[2]; ++j) {
          double const p = r.p[static_cast<std::size_t>(j)] * r.keep[static_cast<std::size_t>(j)];
          if (p == 0) continue;
          sum += p * static_cast<double>(x.v(b, kv, j, e));
          magnitude += p * std::fabs(static_cast<double>(x.v(b, kv, j, e)));
        }
        y(b, h, i, e) = sum;
        bound(b, h, i, e) = r.relative * magnitude;
      }
    });
  }

  /// As in the plain case; the gradients of what is added to scores are sums of dS.
  static void gradient_bounds(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                              view<T const, 4, host_space> dy, std::vector<numbers>& dw,
                              std::vector<numbers>& bounds) {
    modified_scores const& how = m.scores;
    tensor<double, 4> dq(x.q.ext), dk(x.k.ext), dv(x.v.ext), dbias, dgates;
    tensor<double, 2> dtable(extents<2>{how.relative.count + 1, x.q.ext[1]});
    tensor<double, 1> dsink(extents<1>{x.q.ext[1]});
    if (!x.bias.empty()) dbias = tensor<double, 4>(x.bias.ext);
    if (!x.gates.empty()) dgates = tensor<double, 4>(x.gates.ext);
    index_t const keys = x.k.ext[2], dim = x.k.ext[3], values_dim = x.v.ext[3];
    double const scale =
        m.scale != T(0) ? static_cast<double>(m.scale) : 1 / std::sqrt(static_cast<double>(dim));
    double const rows = static_cast<double>(x.q.ext[0] * x.q.ext[1] * x.q.ext[2]);
    auto const magnitude = [](T v) { return std::fabs(static_cast<double>(v)); };
    auto const at_entry = [](tensor<double, 4>& v, index_t b, index_t h, index_t i, index_t j) -> double& {
      auto const e = v.extents();
      return v.view()(e[0] == 1 ? 0 : b, e[1] == 1 ? 0 : h, e[2] == 1 ? 0 : i, e[3] == 1 ? 0 : j);
    };
    loops::for_each_index(extents<3>{dy.ext[0], dy.ext[1], dy.ext[2]}, [&](extents<3> const& at) {
      index_t const b = at[0], h = at[1], i = at[2], kv = h * x.k.ext[1] / x.q.ext[1];
      row const r = softmax(m, w, x, b, h, i);
      double const terms = 2 * r.relative + 2 * static_cast<double>(values_dim) +
                           2 * static_cast<double>(keys) * (rows + 1) + 16;
      std::vector<double> dp(r.p.size());
      double mean = 0;
      for (index_t j = 0; j < keys; ++j) {
        auto const n = static_cast<std::size_t>(j);
        for (index_t e = 0; e < values_dim; ++e) {
          dp[n] += r.keep[n] * magnitude(dy(b, h, i, e)) * magnitude(x.v(b, kv, j, e));
          dv(b, kv, j, e) += terms * r.p[n] * r.keep[n] * magnitude(dy(b, h, i, e));
        }
        mean += r.p[n] * dp[n];
      }
      dsink.view()(h) += terms * r.sink * mean;
      for (index_t j = 0; j < keys; ++j) {
        auto const n = static_cast<std::size_t>(j);
        if (r.p[n] == 0) continue;
        double const ds = terms * r.p[n] * (dp[n] + mean);
        for (index_t d = 0; d < dim; ++d) {
          dq(b, h, i, d) += std::fabs(scale) * ds * magnitude(x.k(b, kv, j, d));
          dk(b, kv, j, d) += std::fabs(scale) * ds * magnitude(x.q(b, h, i, d));
        }
        if (how.relative.count != 0) dtable.view()(bucket(how.relative, j - i - how.offset), h) += ds;
        if (!x.bias.empty()) at_entry(dbias, b, h, i, j) += ds;
        if (!x.gates.empty()) at_entry(dgates, b, h, i, j) += ds / entry(x.gates, b, h, i, j);
      }
    });
    if (how.relative.count != 0) dw.push_back(values(slice(dtable.cview(), 0, 0, how.relative.count)));
    if (how.sink) dw.push_back(values(dsink.cview()));
    for (auto* one : {&dq, &dk, &dv}) bounds.push_back(values(one->cview()));
    if (!x.bias.empty()) bounds.push_back(values(dbias.cview()));
    if (!x.gates.empty()) bounds.push_back(values(dgates.cview()));
  }
};
