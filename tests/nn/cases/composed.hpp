// SPDX-License-Identifier: Apache-2.0
/// \file  Layers made of layers: residual, sequential, stack; and dropout that drops nothing.
#pragma once

#include <smx/nn/dropout.hpp>
#include <smx/nn/positions.hpp>
#include <smx/nn/recomputed.hpp>
#include <smx/nn/residual.hpp>
#include <smx/nn/sequential.hpp>
#include <smx/nn/stack.hpp>

#include "tests/nn/graph.hpp"

namespace test {

template <class T> struct layer_case<smx::dropout<T>> {
  using M = smx::dropout<T>;
  static std::vector<smx::testing::example<M>> examples() {
    return {{{}, {{2, 1, 1, 1}}}, {{}, {{2, 2, 5, 3}}}};
  }
  static smx::testing::example<M> sized(index_t length) { return {{.rate = 0.5}, {{1, 1, length, 4}}}; }
  static bool sees(M const&, index_t row, index_t position) { return row == position; }
  static grid<4> program(M const&, weight_grids<M> const&, grid<4> x) {
    for (number& one : x.cells) one = one * one.of->leaf(1);  // the rounding of a product
    return x;
  }
};

template <class Inner, smx::norm_placement Place, class Norm>
struct layer_case<smx::residual<Inner, Place, Norm>> {
  using M = smx::residual<Inner, Place, Norm>;
  static smx::testing::example<M> around(smx::testing::example<Inner> const& e) {
    M m;
    m.inner = e.mixer;
    m.norm.channels = e.inputs[0][3];
    return {m, e.inputs, e.small};
  }
  static std::vector<smx::testing::example<M>> examples() {
    std::vector<smx::testing::example<M>> all;
    for (auto const& e : layer_case<Inner>::examples()) {
      extents<4> out = e.mixer.output_extents(smx::nn::input_of_extents{e.inputs[0]});
      if (out == e.inputs[0] && out[3] > 1) all.push_back(around(e));  // one channel: its norm is constant
    }
    return all;
  }
  static smx::testing::example<M> sized(index_t length) { return around(layer_case<Inner>::sized(length)); }
  static bool sees(M const& m, index_t row, index_t position) {
    return row == position || layer_case<Inner>::sees(m.inner, row, position);
  }
  static grid<4> program(M const& m, weight_grids<M> const& w, grid<4> const& x) {
    auto const add = [](grid<4> a, grid<4> const& b) {
      for (std::size_t i = 0; i < a.cells.size(); ++i) a.cells[i] = a.cells[i] + b.cells[i];
      return a;
    };
    if (M::pre)
      return add(layer_case<Inner>::program(m.inner, w.inner, layer_case<Norm>::program(m.norm, w.norm, x)),
                 x);
    return layer_case<Norm>::program(m.norm, w.norm, add(layer_case<Inner>::program(m.inner, w.inner, x), x));
  }
};

/// Any two whose channels fit: the second is made for what the first gives.
template <class First, class Second> struct layer_case<smx::sequential<First, Second>> {
  using M = smx::sequential<First, Second>;
  static std::vector<smx::testing::example<M>> examples() {
    std::vector<smx::testing::example<M>> all;
    for (auto const& a : layer_case<First>::examples())
      for (auto const& b : layer_case<Second>::examples())
        if (a.mixer.output_extents(smx::nn::input_of_extents{a.inputs[0]})[3] == b.inputs[0][3] &&
            (a.inputs[0][1] == 1 || b.inputs[0][1] > 1))
          all.push_back({{a.mixer, b.mixer}, a.inputs, a.small && b.small});
    return all;
  }
  static smx::testing::example<M> sized(index_t length) {
    return {{layer_case<First>::sized(length).mixer, layer_case<Second>::sized(length).mixer},
            layer_case<First>::sized(length).inputs};
  }
  static bool sees(M const& m, index_t row, index_t position) {
    for (index_t i = 0; i <= std::max(row, position); ++i)
      if (layer_case<Second>::sees(m.second, row, i) && layer_case<First>::sees(m.first, i, position))
        return true;
    return false;
  }
  static grid<4> program(M const& m, weight_grids<M> const& w, grid<4> const& x) {
    return layer_case<Second>::program(m.second, w.second, layer_case<First>::program(m.first, w.first, x));
  }
};

template <class L, int MaxDepth> struct layer_case<smx::stack<L, MaxDepth>> {
  using M = smx::stack<L, MaxDepth>;
  static std::vector<smx::testing::example<M>> examples() {
    std::vector<smx::testing::example<M>> all;
    index_t depth = 1;
    for (auto const& e : layer_case<L>::examples()) {
      if (e.mixer.output_extents(smx::nn::input_of_extents{e.inputs[0]}) != e.inputs[0]) continue;
      all.push_back({{.layer = e.mixer, .depth = depth}, e.inputs, e.small});
      depth = depth % MaxDepth + 1;
    }
    return all;
  }
  static smx::testing::example<M> sized(index_t length) {
    auto const e = layer_case<L>::sized(length);
    return {{.layer = e.mixer, .depth = 2}, e.inputs};
  }
  static bool sees(M const& m, index_t row, index_t position) {
    std::vector<index_t> reached{position};
    for (index_t n = 0; n < m.depth; ++n) {
      std::vector<index_t> next;
      for (index_t i = 0; i <= std::max(row, position); ++i)
        for (index_t const j : reached)
          if (layer_case<L>::sees(m.layer, i, j)) {
            next.push_back(i);
            break;
          }
      reached = next;
    }
    return std::find(reached.begin(), reached.end(), row) != reached.end();
  }
  static grid<4> program(M const& m, weight_grids<M> const& w, grid<4> x) {
    for (index_t i = 0; i < m.depth; ++i) x = layer_case<L>::program(m.layer, w.layers[i], x);
    return x;
  }
};

template <class Inner> struct layer_case<smx::recomputed<Inner>> {
  using M = smx::recomputed<Inner>;
  static std::vector<smx::testing::example<M>> examples() {
    std::vector<smx::testing::example<M>> all;
    for (auto const& e : layer_case<Inner>::examples()) all.push_back({{e.mixer}, e.inputs, e.small});
    return all;
  }
  static smx::testing::example<M> sized(index_t length) {
    auto const e = layer_case<Inner>::sized(length);
    return {{e.mixer}, e.inputs};
  }
  static bool sees(M const& m, index_t row, index_t position) {
    return layer_case<Inner>::sees(m.inner, row, position);
  }
  static grid<4> program(M const& m, weight_grids<M> const& w, grid<4> const& x) {
    return layer_case<Inner>::program(m.inner, w, x);
  }
};

template <class T> struct layer_case<smx::learned_positions<T>> {
  using M = smx::learned_positions<T>;
  static std::vector<smx::testing::example<M>> examples() {
    return {{{.channels = 3, .max_length = 40}, {{2, 1, 1, 3}}},
            {{.channels = 4, .max_length = 40, .offset = 2}, {{2, 2, 9, 4}}},
            {{.channels = 5, .max_length = 40}, {{1, 1, 11, 5}}}};
  }
  static smx::testing::example<M> sized(index_t length) {
    return {{.channels = 4, .max_length = length}, {{1, 1, length, 4}}};
  }
  static bool sees(M const&, index_t row, index_t position) { return row == position; }
  static grid<4> program(M const& m, weight_grids<M> const& w, grid<4> const& x) {
    grid<4> y(x.ext);
    smx::loops::for_each_index(x.ext, [&](extents<4> const& i) {
      y(i[0], i[1], i[2], i[3]) = x(i[0], i[1], i[2], i[3]) + w.table(i[2] + m.offset, i[3]);
    });
    return y;
  }
};

}  // namespace test
