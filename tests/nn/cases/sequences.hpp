// SPDX-License-Identifier: Apache-2.0
/// \file  Layers that mix along the sequence: short convolution, self-attention, the M2 mixer.
#pragma once

#include <smx/nn/m2_sequence_mixer.hpp>
#include <smx/nn/self_attention.hpp>
#include <smx/nn/short_convolution.hpp>

#include "tests/nn/cases/rows.hpp"

namespace test {

template <class T> struct layer_case<smx::short_convolution<T>> {
  using M = smx::short_convolution<T>;
  static std::vector<smx::testing::example<M>> examples() {
    return {{{.channels = 3}, {{2, 1, 1, 3}}},             // one row
            {{.channels = 2, .taps = 5}, {{1, 2, 3, 2}}},  // shorter than the taps
            {{.channels = 4, .taps = 4, .bias = false}, {{2, 2, 9, 4}}},
            {{.channels = 3, .taps = 1}, {{2, 1, 4, 3}}},
            {{.channels = 5, .taps = 3}, {{2, 1, 11, 5}}},
            {{.channels = 24, .taps = 7}, {{2, 1, 130, 24}}, false}};
  }
  static smx::testing::example<M> sized(index_t length) { return {{.channels = 4}, {{1, 1, length, 4}}}; }
  static bool sees(M const& m, index_t row, index_t position) {
    return position <= row && row - position < m.taps;
  }
  static grid<4> program(M const& m, weight_grids<M> const& w, grid<4> const& x) {
    grid<4> y(x.ext);
    smx::loops::for_each_index(x.ext, [&](extents<4> const& i) {
      products terms;
      for (index_t k = 0; k < m.taps; ++k)
        if (index_t const at = i[2] - m.taps + 1 + k; at >= 0)
          terms.push_back({w.weight(i[3], k), x(i[0], i[1], at, i[3])});
      number const sum = dot(terms);
      y(i[0], i[1], i[2], i[3]) = m.bias ? sum + w.bias(i[3]) : sum;
    });
    return y;
  }
};

template <class T, class Mask> struct layer_case<smx::self_attention<T, Mask>> {
  using M = smx::self_attention<T, Mask>;
  static std::vector<smx::testing::example<M>> examples() {
    return {{{.channels = 2}, {{2, 1, 1, 2}}},
            {{.channels = 8, .heads = 4, .kv_heads = 2}, {{2, 1, 7, 8}}},
            {{.channels = 6, .heads = 2, .head_dim = 4, .bias = false}, {{1, 1, 5, 6}}},
            {{.channels = 16, .heads = 2, .kv_heads = 1}, {{1, 1, 33, 16}}, false}};
  }
  static smx::testing::example<M> sized(index_t length) {
    return {{.channels = 4, .heads = 2}, {{1, 1, length, 4}}};
  }
  static bool sees(M const&, index_t row, index_t position) { return !Mask::causal || position <= row; }
  static grid<4> program(M const& m, weight_grids<M> const& w, grid<4> const& x) {
    graph& g = *x.cells[0].of;
    auto const [batch, one, length, channels] = x.ext.n;
    index_t const d = m.dim(), group = m.heads / m.keys();
    grid<4> const all = map_program(m.qkv(), w.qkv, x);
    grid<4> o({batch, 1, length, m.heads * d});
    number const scale = g.constant(1 / std::sqrt(static_cast<double>(d)));
    for (index_t b = 0; b < batch; ++b)
      for (index_t h = 0; h < m.heads; ++h)
        for (index_t i = 0; i < length; ++i) {
          index_t const seen = Mask::causal ? i + 1 : length;
          index_t const key = (m.heads + h / group) * d, val = key + m.keys() * d;
          std::vector<number> p;
          double largest = -1e300;
          for (index_t j = 0; j < seen; ++j) {
            products terms;
            for (index_t c = 0; c < d; ++c) terms.push_back({all(b, 0, i, h * d + c), all(b, 0, j, key + c)});
            p.push_back(dot(terms) * scale);
            largest = std::max(largest, value(p.back()));
          }
          for (number& s : p) s = exponential(s - g.leaf(largest));
          number const share = inverse(sum(p));
          for (index_t c = 0; c < d; ++c) {
            products terms;
            for (index_t j = 0; j < seen; ++j)
              terms.push_back({p[std::size_t(j)] * share, all(b, 0, j, val + c)});
            o(b, 0, i, h * d + c) = dot(terms);
          }
        }
    return map_program(m.out_map(), w.out, o);
  }
};

template <class T, smx::convolution_kind Kind> struct layer_case<smx::m2_sequence_mixer<T, Kind>> {
  using M = smx::m2_sequence_mixer<T, Kind>;
  static M made(index_t channels, index_t max_length, bool residual, bool norm) {
    M m;
    m.channels = channels, m.max_length = max_length, m.residual = residual, m.input_norm = norm;
    m.width = 3, m.features = 3, m.hidden = 1, m.frequency = 1, m.modulation = 0.5, m.shift = 0.25;
    return m;
  }
  static std::vector<smx::testing::example<M>> examples() {
    return {{made(2, M::bidirectional ? 1 : 6, true, false), {{2, 1, 1, 2}}},
            {made(3, M::bidirectional ? 9 : 30, true, true), {{2, 1, 7, 3}}},
            {made(2, M::bidirectional ? 5 : 18, false, false), {{1, 1, 5, 2}}},
            {made(4, 40, true, false), {{1, 1, 33, 4}}, false}};
  }
  static smx::testing::example<M> sized(index_t length) {
    return {made(4, length, true, false), {{1, 1, length, 4}}};
  }
  static bool sees(M const&, index_t row, index_t position) { return M::bidirectional || position <= row; }

  using filter_weights = typename smx::hyena_filter<T>::template weights<grids>;
  using network = typename smx::hyena_filter<T>::template network<grids>;
  /// Kernel values (L,D) of one network.
  static grid<4> kernel(M const& m, filter_weights const& w, network const& n, index_t length) {
    graph& g = *w.z.cells[0].of;
    grid<4> h({1, 1, length, m.features});
    for (index_t i = 0; i < length; ++i)
      for (index_t e = 0; e < m.features; ++e) h(0, 0, i, e) = w.z(i, e);
    number const modulation = g.leaf(m.modulation);
    for (index_t k = 0; k <= m.hidden; ++k) {
      smx::linear<T> const map{k == 0 ? m.features : m.width, m.width};
      h = layer_case<smx::linear<T>>::program(map, k == 0 ? n.in : n.hidden[k - 1], h);
      for (index_t i = 0; i < length; ++i)
        for (index_t f = 0; f < m.width; ++f)
          h(0, 0, i, f) = sine(modulation * w.frequency(f) * h(0, 0, i, f));
    }
    smx::linear<T> const last{m.width, m.channels, false};
    h = layer_case<smx::linear<T>>::program(last, n.out, h);
    for (index_t i = 0; i < length; ++i)
      for (index_t d = 0; d < m.channels; ++d) {
        number const delta = value(w.deltas(d)) < 0 ? w.deltas(d) * g.leaf(-1) : w.deltas(d);
        h(0, 0, i, d) = h(0, 0, i, d) * (exponential(w.t(i) * delta * g.leaf(-1)) + g.constant(m.shift));
      }
    return h;
  }

  /// One entry of a transform's result: the direct sum, whose slopes are exact, with errors that every entry
  /// of the operands has a part in, also those that the sum does not read. `bound`: of the mixer, for
  /// ||k||_1 ||v||_2 = 1 (see long_convolution).
  struct line {
    std::vector<number> k, v;  // all taps, also those of the reversed kernel and the skip; the signal
  };
  static number entry(line const& all, products const& terms, double bound) {
    graph& g = *all.v[0].of;
    double k_sum = 0, k_error = 0, v_square = 0, v_error = 0;
    for (number const one : all.k) k_sum += std::fabs(value(one)), k_error += error(one);
    for (number const one : all.v) v_square += value(one) * value(one), v_error += error(one);
    double const norm = std::sqrt(v_square), length = static_cast<double>(all.v.size());
    double sum = 0;
    for (auto const& [a, b] : terms) sum += value(a) * value(b);
    std::vector<graph::edge> edges;
    for (auto const& [a, b] : terms) {
      edges.push_back({a.id, value(b), 0});
      edges.push_back({b.id, value(a), 0});
    }
    for (number const one : all.k) edges.push_back({one.id, 0, bound * std::sqrt(length) * norm + v_error});
    for (number const one : all.v) edges.push_back({one.id, 0, bound * k_sum + k_error});
    return g.node(sum, bound * k_sum * norm + k_error * norm + k_sum * v_error + std::fabs(sum), edges);
  }
  /// k * v + skip v for v (B,1,L,D).
  static grid<4> convolved(M const& m, filter_weights const& w, grid<1> const& skip, grid<4> const& v) {
    index_t const length = v.ext[2];
    grid<4> const k = kernel(m, w, w.forward, length);
    grid<4> const back = M::bidirectional ? kernel(m, w, w.reverse, length) : grid<4>();
    typename M::convolution const mix{.channels = m.channels, .taps = length};
    double const bound = mix.rounding_bound(length) / static_cast<double>(std::numeric_limits<T>::epsilon());
    grid<4> y(v.ext);
    for (index_t b = 0; b < v.ext[0]; ++b)
      for (index_t d = 0; d < m.channels; ++d) {
        line all{{skip(d)}, {}};
        for (index_t i = 0; i < length; ++i) {
          all.k.push_back(k(0, 0, i, d));
          if (M::bidirectional) all.k.push_back(back(0, 0, i, d));
          all.v.push_back(v(b, 0, i, d));
        }
        for (index_t i = 0; i < length; ++i) {
          products terms{{skip(d), v(b, 0, i, d)}};
          for (index_t j = 0; j < (M::bidirectional ? length : i + 1); ++j)
            terms.push_back({j <= i ? k(0, 0, i - j, d) : back(0, 0, j - i - 1, d), v(b, 0, j, d)});
          y(b, 0, i, d) = entry(all, terms, bound);
        }
      }
    return y;
  }
  static grid<4> program(M const& m, weight_grids<M> const& w, grid<4> const& x) {
    grid<4> const u = m.input_norm ? layer_case<smx::layer_norm<T>>::program(m.norm(), w.norm, x) : x;
    grid<4> const p = layer_case<smx::linear<T>>::program(m.in_map(), w.in, u);
    grid<4> const c = layer_case<smx::short_convolution<T>>::program(m.gates(), w.gates, p);
    index_t const n = m.channels;
    grid<4> v(x.ext);
    auto const each = [&](auto const& f) {
      for (index_t b = 0; b < x.ext[0]; ++b)
        for (index_t i = 0; i < x.ext[2]; ++i)
          for (index_t d = 0; d < n; ++d) f(b, i, d);
    };
    each([&](index_t b, index_t i, index_t d) { v(b, 0, i, d) = c(b, 0, i, d) * c(b, 0, i, 2 * n + d); });
    grid<4> z = convolved(m, w.filter, w.skip, v);
    each([&](index_t b, index_t i, index_t d) { z(b, 0, i, d) = z(b, 0, i, d) * c(b, 0, i, n + d); });
    if (m.residual) {
      grid<4> const r = convolved(m, w.residual_filter, w.residual_skip, u);
      each([&](index_t b, index_t i, index_t d) { z(b, 0, i, d) = z(b, 0, i, d) + r(b, 0, i, d); });
    }
    return layer_case<smx::linear<T>>::program(m.out_map(), w.out, z);
  }
};

}  // namespace test
