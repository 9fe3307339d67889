// SPDX-License-Identifier: Apache-2.0
/// \file  Fills the tables that layers have beside their trained weights (the positions and decays of Hyena
/// filters), wherever they are nested. `initialize` leaves them at zero.
#pragma once

#include <smx/nn/recomputed.hpp>
#include <smx/nn/residual.hpp>
#include <smx/nn/sequential.hpp>
#include <smx/nn/stack.hpp>

namespace smx::nn {

/// A layer that is made of others has an overload here or a member `fill_tables` that names them. All are
/// declared before the first is defined, so that each finds the others.
template <class B, class L, class W> void fill_tables(B& be, L const& layer, W const& w);
template <class B, class Inner, class W> void fill_tables(B& be, recomputed<Inner> const& layer, W const& w);
template <class B, class Inner, norm_placement Place, class Norm, class W>
void fill_tables(B& be, residual<Inner, Place, Norm> const& layer, W const& w);
template <class B, class First, class Second, class W>
void fill_tables(B& be, sequential<First, Second> const& layer, W const& w);
template <class B, class L, int MaxDepth, class W>
void fill_tables(B& be, stack<L, MaxDepth> const& layer, W const& w);

template <class B, class L, class W> void fill_tables(B& be, L const& layer, W const& w) {
  if constexpr (requires { layer.fill_tables(be, w); }) layer.fill_tables(be, w);
}
template <class B, class Inner, class W> void fill_tables(B& be, recomputed<Inner> const& layer, W const& w) {
  fill_tables(be, layer.inner, w);
}
template <class B, class Inner, norm_placement Place, class Norm, class W>
void fill_tables(B& be, residual<Inner, Place, Norm> const& layer, W const& w) {
  fill_tables(be, layer.inner, w.inner);
}
template <class B, class First, class Second, class W>
void fill_tables(B& be, sequential<First, Second> const& layer, W const& w) {
  fill_tables(be, layer.first, w.first);
  fill_tables(be, layer.second, w.second);
}
template <class B, class L, int MaxDepth, class W>
void fill_tables(B& be, stack<L, MaxDepth> const& layer, W const& w) {
  for (index_t i = 0; i < layer.depth; ++i) fill_tables(be, layer.layer, w.layers[i]);
}

}  // namespace smx::nn
