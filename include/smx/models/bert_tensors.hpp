// SPDX-License-Identifier: Apache-2.0
/// \file  The names that published checkpoints have for the weights of BERT models: those of Hugging Face
/// (J. Devlin et al.) and of Monarch Mixer's code (M2-BERT, and its attention baseline with ALiBi).
///
/// One walk over the weights serves reading, writing and comparing gradients: f(names, view...), with the
/// names in the order of preference; several where files differ or one tensor has more than one name. Names
/// of the encoder come without `bert.`, those of heads begin with `cls.` or `classifier.`.
#pragma once

#include <string>
#include <vector>

#include <smx/models/bert.hpp>

namespace smx {

/// What mixes the sequence, and with it the names: self-attention in the layout of Hugging Face,
/// self-attention with ALiBi and m2_sequence_mixer in the layout of Monarch Mixer.
enum class bert_mixing : char { softmax, alibi, m2 };

namespace detail {

using tensor_names = std::vector<std::string>;

template <class F, class... W> void name_linear(bool bias, std::string const& at, F&& f, W const&... w) {
  f(tensor_names{at + "weight"}, w.weight...);
  if (bias) f(tensor_names{at + "bias"}, w.bias...);
}
/// `gamma` and `beta` are the names of the first checkpoints.
template <class F, class... W> void name_norm(std::string const& at, F&& f, W const&... w) {
  f(tensor_names{at + "weight", at + "gamma"}, w.weight...);
  f(tensor_names{at + "bias", at + "beta"}, w.bias...);
}

template <class T, class F, class... N>
void name_network(hyena_filter<T> const& m, std::string const& at, F&& f, N const&... n) {
  name_linear(true, at + "0.", f, n.in...);
  for (index_t i = 0; i < m.hidden; ++i)
    name_linear(true, at + std::to_string(2 * i + 2) + ".", f, n.hidden[i]...);
  name_linear(false, at + std::to_string(2 * m.hidden + 2) + ".", f, n.out...);
}
/// All activations share one frequency. Files repeat it or keep one of its names.
template <class T, class F, class... W>
void name_filter(hyena_filter<T> const& m, std::string const& at, F&& f, W const&... w) {
  f(tensor_names{at + "pos_emb.z"}, w.z...);
  f(tensor_names{at + "pos_emb.t"}, w.t...);
  f(tensor_names{at + "modulation.deltas"}, w.deltas...);
  tensor_names frequency;
  for (char const* network : {"implicit_filter.", "implicit_filter_rev."})
    for (index_t i = 0; i <= m.hidden; ++i)
      frequency.push_back(at + network + std::to_string(2 * i + 1) + ".freq");
  f(frequency, w.frequency...);
  name_network(m, at + "implicit_filter.", f, w.forward...);
  if (m.bidirectional) name_network(m, at + "implicit_filter_rev.", f, w.reverse...);
}

}  // namespace detail

/// The weights of m2_sequence_mixer.
template <class T, convolution_kind K, class F, class... W>
void for_each_tensor(m2_sequence_mixer<T, K> const& m, std::string const& at, F&& f, W const&... w) {
  using detail::tensor_names;
  if (m.input_norm) detail::name_norm(at + "layernorm.", f, w.norm...);
  detail::name_linear(true, at + "in_linear.", f, w.in...);
  detail::name_linear(true, at + "short_filter.", f, w.gates...);
  detail::name_filter(m.filter(), at + "filter_fn.", f, w.filter...);
  f(tensor_names{at + "filter_fn.bias"}, w.skip...);
  if (m.residual) {
    detail::name_filter(m.filter(), at + "filter_fn2.", f, w.residual_filter...);
    f(tensor_names{at + "filter_fn2.bias"}, w.residual_skip...);
  }
  detail::name_linear(true, at + "out_linear.", f, w.out...);
}

/// The weights of a block whose names begin with `at`.
template <class T, convolution_kind K, class Feed, class F, class... W>
void for_each_tensor(m2_block<T, Feed, K> const& m, bert_mixing, std::string const& at, F&& f,
                     W const&... w) {
  for_each_tensor(m.first, at + "attention.", f, w.first...);
  detail::name_linear(m.second.inner.up.bias, at + "mlp.gated_layers.", f, w.second.inner.up...);
  detail::name_linear(m.second.inner.down.bias, at + "mlp.wo.", f, w.second.inner.down...);
  detail::name_norm(at + "mlp.layernorm.", f, w.second.norm...);
}
template <class T, class Feed, class Scores, class F, class... W>
void for_each_tensor(softmax_block<T, Feed, Scores> const& m, bert_mixing mixing, std::string const& at,
                     F&& f, W const&... w) {
  auto const& attention = m.first.inner;
  bool const split = mixing == bert_mixing::softmax;
  index_t const rows[] = {attention.heads * attention.dim(), attention.keys() * attention.dim()};
  if (!split) detail::name_linear(attention.bias, at + "attention.self.Wqkv.", f, w.first.inner.qkv...);
  index_t first = 0;
  for (int part = 0; part < 3 && split; ++part) {
    std::string const name = at + "attention.self." + (part == 0 ? "query." : part == 1 ? "key." : "value.");
    index_t const n = rows[part == 0 ? 0 : 1];
    f(detail::tensor_names{name + "weight"}, slice(w.first.inner.qkv.weight, 0, first, n)...);
    if (attention.bias) f(detail::tensor_names{name + "bias"}, slice(w.first.inner.qkv.bias, 0, first, n)...);
    first += n;
  }
  detail::name_linear(attention.bias, at + "attention.output.dense.", f, w.first.inner.out...);
  detail::name_norm(at + "attention.output.LayerNorm.", f, w.first.norm...);
  detail::name_linear(m.second.inner.up.bias, at + (split ? "intermediate.dense." : "mlp.gated_layers."), f,
                      w.second.inner.up...);
  detail::name_linear(m.second.inner.down.bias, at + (split ? "output.dense." : "mlp.wo."), f,
                      w.second.inner.down...);
  detail::name_norm(at + (split ? "output.LayerNorm." : "mlp.layernorm."), f, w.second.norm...);
}

/// The weights of a whole model.
template <class Block, class F, class... W>
void for_each_tensor(bert<Block> const& m, bert_mixing mixing, F&& f, W const&... w) {
  using detail::tensor_names;
  f(tensor_names{"embeddings.word_embeddings.weight"}, w.words.weight...);
  if (m.positions > 0) f(tensor_names{"embeddings.position_embeddings.weight"}, w.positions.weight...);
  f(tensor_names{"embeddings.token_type_embeddings.weight"}, w.types.weight...);
  detail::name_norm("embeddings.LayerNorm.", f, w.norm...);
  for (index_t i = 0; i < m.depth; ++i)
    for_each_tensor(m.block, mixing, "encoder.layer." + std::to_string(i) + ".", f, w.blocks.layers[i]...);
  if (m.pooler) detail::name_linear(true, "pooler.dense.", f, w.pooler...);
  if (m.classes > 0) detail::name_linear(true, "classifier.", f, w.classifier...);
  if (!m.head) return;
  detail::name_linear(true, "cls.predictions.transform.dense.", f, w.head.dense...);
  detail::name_norm("cls.predictions.transform.LayerNorm.", f, w.head.norm...);
  f(tensor_names{"cls.predictions.bias", "cls.predictions.decoder.bias"}, w.head.bias...);
}

}  // namespace smx
