// SPDX-License-Identifier: Apache-2.0
/// \file  The dense mixing matrix of a mixer, by running it on unit vectors: for looking at, testing and
/// converting.
#pragma once

#include <smx/mixers/attention.hpp>
#include <smx/mixers/run.hpp>

namespace smx {

namespace detail {
/// 1 where the indices along two axes are equal.
struct unit_entries {
  int a, b;
  template <int R> SMX_HD constexpr double operator()(extents<R> const& i) const {
    return i[a] == i[b] ? 1 : 0;
  }
};
}  // namespace detail

/// The matrices (D,L',L) by which a mixer that does not look at its data acts along the sequence, one for
/// each of `channels` channels: y[i,d] = sum_j result[d,i,j] x[j,d]. Costs `length` forward passes.
template <MixerValue M, class B>
requires Mixer<M, B> &&(!M::about.data_dependent) &&
    (!M::about.pointwise)tensor<typename M::scalar, 3, space_t<B>> materialize(
        B& be, M const& m, std::type_identity_t<weights_in<M, B>> const& w, index_t length,
        index_t channels = 1) {
  using T = typename M::scalar;
  tensor<T, 4, space_t<B>> unit(be.memory(),
                                extents<4>{length, 1, length, channels});  // (j,1,L,D): e_j in every channel
  be.generate(detail::unit_entries{0, 2}, unit.view());
  auto const y = forward(be, m, w, unit);  // (j,1,L',D)
  tensor<T, 3, space_t<B>> matrix(be.memory(), extents<3>{channels, y.extents()[2], length});
  be.copy(swap_axes(fix_axis(y.cview(), 1, 0), 0, 2), matrix.view());
  be.synchronize();
  return matrix;
}

/// The matrix (D',D) by which a mixer acts along the channels: y[i] = sum_j result[i,j] x[j] for every row x.
/// A bias is part of every column.
template <MixerValue M, class B>
requires Mixer<M, B> &&
    (!M::about.data_dependent)tensor<typename M::scalar, 2, space_t<B>> materialize_channels(
        B& be, M const& m, std::type_identity_t<weights_in<M, B>> const& w, index_t channels) {
  using T = typename M::scalar;
  tensor<T, 4, space_t<B>> unit(be.memory(), extents<4>{1, 1, channels, channels});  // row j is e_j
  be.generate(detail::unit_entries{2, 3}, unit.view());
  auto const y = forward(be, m, w, unit);  // (1,1,D,D')
  tensor<T, 2, space_t<B>> matrix(be.memory(), extents<2>{y.extents()[3], channels});
  be.copy(swap_axes(fix_axis(fix_axis(y.cview(), 0, 0), 0, 0), 0, 1), matrix.view());
  be.synchronize();
  return matrix;
}

/// The probabilities (B,Hq,L,M) of softmax attention for queries q and keys k.
template <class T, class MaskType, class B>
tensor<T, 4, space_t<B>> materialize(B& be, attention<T, MaskType> const& m,
                                     std::type_identity_t<in<B, T, 4>> q,
                                     std::type_identity_t<in<B, T, 4>> k) {
  index_t const keys = k.ext[2];
  tensor<T, 4, space_t<B>> unit(be.memory(), extents<4>{k.ext[0], k.ext[1], keys, keys});
  be.generate(detail::unit_entries{2, 3}, unit.view());
  return forward(be, m, {}, q, k, unit);
}

}  // namespace smx
