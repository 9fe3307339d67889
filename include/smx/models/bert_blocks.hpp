// SPDX-License-Identifier: Apache-2.0
/// \file  The blocks that BERT models are stacks of: post-norm blocks of J. Devlin et al., NAACL 2019
/// (softmax_block), and those of Monarch Mixer, D. Fu et al., NeurIPS 2023 (m2_block), whose only residual
/// connection and norm are around the MLP.
#pragma once

#include <smx/nn/m2_sequence_mixer.hpp>
#include <smx/nn/mlp.hpp>
#include <smx/nn/residual.hpp>
#include <smx/nn/self_attention.hpp>
#include <smx/nn/sequential.hpp>

namespace smx {

/// y = norm(z + feed(z)), z = norm(x + attention(x)). Queries see the keys that padding leaves.
template <Compute T, class Feed = mlp<T>, class Scores = plain_scores>
using softmax_block = sequential<residual<self_attention<T, padding_mask, Scores>, norm_placement::post>,
                                 residual<Feed, norm_placement::post>>;

/// y = norm(z + feed(z)), z = mixer(x). Padding takes part in the convolutions, as in the reference.
template <Compute T, class Feed = glu<T, block_diagonal<T>>,
          convolution_kind Kind = convolution_kind::bidirectional>
using m2_block = sequential<m2_sequence_mixer<T, Kind>, residual<Feed, norm_placement::post>>;

/// What a layer that looks at masks is told: keys j < lengths[b] are there. Other layers have nothing to be
/// told.
template <class L> void set_lengths(L&, padding_mask const&) {}
template <class T, class Scores>
void set_lengths(self_attention<T, padding_mask, Scores>& layer, padding_mask const& mask) {
  layer.mix.mask = mask;
}
template <class Inner, norm_placement Place, class Norm>
void set_lengths(residual<Inner, Place, Norm>& layer, padding_mask const& mask) {
  set_lengths(layer.inner, mask);
}
template <class First, class Second>
void set_lengths(sequential<First, Second>& layer, padding_mask const& mask) {
  set_lengths(layer.first, mask);
  set_lengths(layer.second, mask);
}

namespace nn {

/// Tables of a layer, or of the parts of a sequence.
template <class B, class L, class W> void fill_part_tables(B& be, L const& layer, W const& w) {
  if constexpr (requires { layer.fill_tables(be, w); })
    layer.fill_tables(be, w);
  else if constexpr (requires { layer.first; })
    fill_part_tables(be, layer.first, w.first), fill_part_tables(be, layer.second, w.second);
}

/// x times a number.
template <class T> struct scaled {
  T factor;
  SMX_HD T operator()(T x) const { return factor * x; }
};
/// dy times the derivative of tanh, which is y.
struct tanh_back {
  template <class T> SMX_HD T operator()(T dy, T y) const { return dy * (1 - y * y); }
};

}  // namespace nn
}  // namespace smx
