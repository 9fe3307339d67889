// SPDX-License-Identifier: Apache-2.0
/// \file  Attention of a golden file under a stored mask, with an array that is added to the scores or
/// without.
#pragma once

#include <limits>
#include <utility>

#include <smx/mixers/attention.hpp>
#include <tests/goldens/family.hpp>
#include <tests/goldens/stored_mask.hpp>

namespace goldens {

template <class T, class B> struct attention_with_bias {
  using mixer = smx::attention<T, stored_mask, smx::modified_scores>;
  using owned = smx::tensor<T, 4, smx::space_t<B>>;
  using input = smx::in<B, T, 4>;

  owned y, dq, dk, dv, dbias;

  /// A bias of -inf must be one that the mask hides: it is written 0 (`bias_of`).
  attention_with_bias(B& be, T scale, stored_mask const& mask, input q, input k, input v, input bias,
                      input dy) {
    mixer const mix{.scale = scale, .mask = mask, .scores = {}};
    smx::inputs_in<mixer, B> const x{q, k, v, bias, {}};
    y = owned(be.memory(), mix.output_extents(x));
    dq = owned(be.memory(), q.ext), dk = owned(be.memory(), k.ext), dv = owned(be.memory(), v.ext);
    smx::inputs_out<mixer, B> dx{dq.view(), dk.view(), dv.view(), {}, {}};
    if (bias.size() != 0) {
      dbias = owned(be.memory(), bias.ext);
      dx.bias = dbias.view();
    }
    auto frame = be.scope();
    auto const tape = mix.make_tape(be, x);
    mix.forward(be, {}, x, tape, y.view());
    mix.backward(be, {}, x, tape, dy, {}, dx);
    be.synchronize();
  }
};

/// An additive mask (M,N) of the file as a bias (1,1,M,N), and bytes that hide its -inf.
template <class T, class B>
std::pair<smx::tensor<T, 4, smx::space_t<B>>, std::vector<std::uint8_t>> bias_of(B& be, golden const& g,
                                                                                 char const* name) {
  auto const [queries, keys] = g.extents_of<2>(name).n;
  std::vector<T> values = g.file().read<T>(name);
  std::vector<std::uint8_t> visible;
  for (T& one : values) {
    visible.push_back(one != -std::numeric_limits<T>::infinity());
    if (visible.back() == 0) one = 0;
  }
  return {upload<T>(be, values, extents<4>{1, 1, queries, keys}), std::move(visible)};
}

/// visible(b,h,i,j) for all scores of these extents.
template <class F> std::vector<std::uint8_t> marks(extents<4> const& e, F const& visible) {
  std::vector<std::uint8_t> all;
  for (index_t b = 0; b < e[0]; ++b)
    for (index_t h = 0; h < e[1]; ++h)
      for (index_t i = 0; i < e[2]; ++i)
        for (index_t j = 0; j < e[3]; ++j) all.push_back(visible(b, h, i, j));
  return all;
}
inline extents<4> row_major(extents<4> const& e) { return {e[1] * e[2] * e[3], e[2] * e[3], e[3], 1}; }

}  // namespace goldens
