// SPDX-License-Identifier: Apache-2.0
/// \file  Layers that work on each row alone: linear, block_diagonal, norms, MLPs.
#pragma once

#include <smx/nn/mlp.hpp>
#include <smx/nn/norm.hpp>

#include "tests/nn/graph.hpp"

namespace test {

/// y(row, o) := f(row of x) for every row.
template <class F> grid<4> by_row(grid<4> const& x, index_t outputs, F const& f) {
  extents<4> e = x.ext;
  e[3] = outputs;
  grid<4> y(e);
  auto const width = static_cast<std::size_t>(x.ext[3]);
  for (std::size_t row = 0; row < x.cells.size() / width; ++row) {
    auto const at = x.cells.begin() + static_cast<std::ptrdiff_t>(row * width);
    std::vector<number> const made = f(std::vector<number>(at, at + x.ext[3]));
    std::copy(made.begin(), made.end(),
              y.cells.begin() + static_cast<std::ptrdiff_t>(row) * static_cast<std::ptrdiff_t>(outputs));
  }
  return y;
}

template <class T> struct layer_case<smx::linear<T>> {
  using M = smx::linear<T>;
  static std::vector<smx::testing::example<M>> examples() {
    return {{{.channels = 1}, {{2, 1, 1, 1}}},
            {{.channels = 3, .output_channels = 5}, {{2, 2, 5, 3}}},
            {{.channels = 7, .output_channels = 2, .bias = false, .deviation = 0.3}, {{1, 1, 2, 7}}},
            {{.channels = 64, .output_channels = 96}, {{2, 1, 33, 64}}, false}};
  }
  static smx::testing::example<M> sized(index_t length) { return {{.channels = 4}, {{1, 1, length, 4}}}; }
  static bool sees(M const&, index_t row, index_t position) { return row == position; }
  static grid<4> program(M const& m, weight_grids<M> const& w, grid<4> const& x) {
    return by_row(x, m.output(), [&](std::vector<number> const& row) {
      std::vector<number> y;
      for (index_t o = 0; o < m.output(); ++o) {
        products terms;
        for (index_t c = 0; c < m.channels; ++c) terms.push_back({w.weight(o, c), row[std::size_t(c)]});
        y.push_back(m.bias ? dot(terms) + w.bias(o) : dot(terms));
      }
      return y;
    });
  }
};

/// Only as the map of an MLP: the mixer has cases of its own in tests/conformance.
template <class T>
grid<4> map_program(smx::block_diagonal<T> const& m, weight_grids<smx::block_diagonal<T>> const& w,
                    grid<4> const& x) {
  return by_row(x, m.output(), [&](std::vector<number> const& row) {
    std::vector<number> y;
    for (index_t o = 0; o < m.output(); ++o) {
      index_t const g = o / m.block_out();
      products terms;
      for (index_t c = 0; c < m.block_in() && g * m.block_in() + c < m.channels; ++c)
        terms.push_back({w.weight(g, o % m.block_out(), c), row[std::size_t(g * m.block_in() + c)]});
      number const sum = terms.empty() ? x.cells[0].of->leaf(0) : dot(terms);
      y.push_back(m.bias ? sum + w.bias(o) : sum);
    }
    return y;
  });
}
template <class T>
grid<4> map_program(smx::linear<T> const& m, weight_grids<smx::linear<T>> const& w, grid<4> const& x) {
  return layer_case<smx::linear<T>>::program(m, w, x);
}

template <class T, smx::norm_kind Kind> struct layer_case<smx::norm_layer<T, Kind>> {
  using M = smx::norm_layer<T, Kind>;
  static std::vector<smx::testing::example<M>> examples() {
    return {{{.channels = 2, .bias = !M::rms}, {{2, 1, 1, 2}}},
            {{.channels = 7, .eps = 1e-2, .bias = true}, {{2, 2, 5, 7}}},
            {{.channels = 4, .bias = false}, {{1, 1, 3, 4}}},
            {{.channels = 129, .bias = !M::rms}, {{2, 1, 33, 129}}, false}};
  }
  static smx::testing::example<M> sized(index_t length) { return {{.channels = 4}, {{1, 1, length, 4}}}; }
  static bool sees(M const&, index_t row, index_t position) { return row == position; }
  static grid<4> program(M const& m, weight_grids<M> const& w, grid<4> const& x) {
    graph& g = *x.cells[0].of;
    number const share = g.constant(1 / static_cast<double>(m.channels)), eps = g.constant(m.eps);
    return by_row(x, m.channels, [&](std::vector<number> row) {
      if (!M::rms) {
        number const mean = sum(row) * share;
        for (number& one : row) one = one - mean;
      }
      products squares;
      for (number const one : row) squares.push_back({one, one});
      number const scale = inverse_root(dot(squares) * share + eps);
      for (std::size_t c = 0; c < row.size(); ++c) {
        row[c] = row[c] * scale * w.weight(c);
        if (m.bias) row[c] = row[c] + w.bias(c);
      }
      return row;
    });
  }
};

inline number activated(smx::gelu_erf_activation, number x) { return gelu(x); }
inline number activated(smx::silu_activation, number x) { return silu(x); }

template <class T, bool Gated, class Map, class Act>
struct layer_case<smx::feed_forward<T, Gated, Map, Act>> {
  using M = smx::feed_forward<T, Gated, Map, Act>;
  static constexpr bool blocks = requires(Map m) { m.blocks; };
  static M made(index_t in, index_t inner, index_t out, bool bias) {
    M m;
    m.up.channels = in, m.up.output_channels = Gated ? 2 * inner : inner, m.up.bias = bias;
    m.down.channels = inner, m.down.output_channels = out;
    if constexpr (blocks) m.up.blocks = m.down.blocks = 3;
    return m;
  }
  static std::vector<smx::testing::example<M>> examples() {
    return {{made(1, 1, 1, true), {{2, 1, 1, 1}}},
            {made(6, 9, 6, !blocks), {{2, 2, 5, 6}}},
            {made(3, 4, 2, false), {{1, 1, 2, 3}}},
            {made(24, 40, 24, true), {{2, 1, 17, 24}}, false}};
  }
  static smx::testing::example<M> sized(index_t length) { return {made(4, 4, 4, true), {{1, 1, length, 4}}}; }
  static bool sees(M const&, index_t row, index_t position) { return row == position; }
  static grid<4> program(M const& m, weight_grids<M> const& w, grid<4> const& x) {
    grid<4> const h = map_program(m.up, w.up, x);
    auto const inner = static_cast<std::size_t>(m.down.channels);
    return map_program(m.down, w.down, by_row(h, m.down.channels, [&](std::vector<number> row) {
                         for (std::size_t c = 0; c < inner; ++c) {
                           row[c] = activated(Act{}, row[c]);
                           if (Gated) row[c] = row[c] * row[inner + c];
                         }
                         row.resize(inner);
                         return row;
                       }));
  }
};

}  // namespace test
