// SPDX-License-Identifier: Apache-2.0
/// \file  Vision transformers from their sizes, and the layout of published ViT checkpoints (those that
/// `google/vit-base-patch16-224` and its relatives have): names and extents of all tensors, reading, writing.
#pragma once

#include <string>

#include <smx/io/checkpoint_reader.hpp>
#include <smx/io/safetensors_writer.hpp>
#include <smx/models/vit.hpp>

namespace smx {

/// The sizes of a vision transformer. What a kind of block does not have is not used.
struct vit_sizes {
  index_t image_height = 224, image_width = 224, image_channels = 3;
  index_t patch_height = 16, patch_width = 16;
  index_t channels = 768, depth = 12, classes = 1000;
  index_t mlp_channels = 3072;
  index_t mlp_blocks = 4;  ///< of a block-diagonal MLP
  index_t heads = 12;
  index_t filter_width = 128;  ///< of the networks that make the kernels of m2
  bool class_token = true;     ///< false: the classifier reads the mean of the tokens
  double eps = 1e-12;          ///< of all norms
  double deviation = 0.02;     ///< that weights start with, except those of block-diagonal maps
  friend bool operator==(vit_sizes const&, vit_sizes const&) = default;
};

namespace detail {

template <class Map> Map vit_map(vit_sizes const& s, index_t from, index_t to) {
  Map m;
  m.channels = from, m.output_channels = to;
  if constexpr (requires { m.blocks; })
    m.blocks = s.mlp_blocks;
  else
    m.deviation = s.deviation;
  return m;
}

}  // namespace detail

/// The model of these sizes. Throws precondition_error for images that are not whole patches; other sizes
/// are checked where weights are made.
template <class Block> vit<Block> make_vit(vit_sizes const& s) {
  vit<Block> m;
  auto& e = m.first;
  e.image_height = s.image_height, e.image_width = s.image_width;
  e.patches = {s.image_channels, s.patch_height, s.patch_width, s.channels, true, s.deviation};
  e.class_token = s.class_token;
  e.eps = s.eps, e.deviation = s.deviation;
  e.blocks.depth = s.depth;
  auto& mix = e.blocks.layer.first;
  auto& feed = e.blocks.layer.second;
  mix.norm = feed.norm = {s.channels, s.eps};
  mix.inner.channels = s.channels, mix.inner.deviation = s.deviation;
  if constexpr (requires { mix.inner.heads; }) mix.inner.heads = s.heads;
  if constexpr (requires { mix.inner.max_length; }) {
    mix.inner.max_length = e.tokens();
    mix.inner.width = s.filter_width;
  }
  using map = decltype(feed.inner.up);
  feed.inner.up = detail::vit_map<map>(s, s.channels, s.mlp_channels);
  feed.inner.down = detail::vit_map<map>(s, s.mlp_channels, s.channels);
  m.second = {s.channels, s.classes, s.class_token, s.deviation};
  return m;
}

/// Calls f(name, view of each weights struct...) for every tensor of the published layout, with its extents
/// there. Names of the encoder stand without their prefix "vit.". Some checkpoints have no biases at queries,
/// keys and values.
template <class Act, Compute T, class F, class... W>
void for_each_hf_vit_tensor(vit<vit_softmax_block<T, linear<T>, Act>> const& m, bool qkv_bias, F&& f,
                            W const&... w) {
  auto const& encoder = m.first;
  auto const one = [](auto const& v) { return broadcast_axis(v, 0, 1); };  // published with an axis of 1
  auto const pair = [&f](std::string const& name, auto const&... part) {
    f(name + ".weight", part.weight...);
    f(name + ".bias", part.bias...);
  };
  if (encoder.class_token) f(std::string("embeddings.cls_token"), one(one(w.first.class_token))...);
  f(std::string("embeddings.position_embeddings"), one(w.first.positions)...);
  pair("embeddings.patch_embeddings.projection", w.first.patches...);
  index_t const d = encoder.channels();
  for (index_t i = 0; i < encoder.blocks.depth; ++i) {
    std::string const at = "encoder.layer." + std::to_string(i) + ".";
    pair(at + "layernorm_before", w.first.blocks.layers[i].first.norm...);
    index_t row = 0;
    for (char const* const part : {"query", "key", "value"}) {
      std::string const name = at + "attention.attention." + part;
      f(name + ".weight", slice(w.first.blocks.layers[i].first.inner.qkv.weight, 0, row, d)...);
      if (qkv_bias) f(name + ".bias", slice(w.first.blocks.layers[i].first.inner.qkv.bias, 0, row, d)...);
      row += d;
    }
    pair(at + "attention.output.dense", w.first.blocks.layers[i].first.inner.out...);
    pair(at + "layernorm_after", w.first.blocks.layers[i].second.norm...);
    pair(at + "intermediate.dense", w.first.blocks.layers[i].second.inner.up...);
    pair(at + "output.dense", w.first.blocks.layers[i].second.inner.down...);
  }
  pair("layernorm", w.first.norm...);
  pair("classifier", w.second...);
}

/// Reads the published layout into w, which must be those of m and zero; a pooler, which has no part in the
/// logits, may be there. `from` needs the prefixes "vit." and "". What is missing or wrong is said by
/// from.finish().
template <class Act, Compute T>
void read_hf_vit(
    vit<vit_softmax_block<T, linear<T>, Act>> const& m, bool qkv_bias, checkpoint_reader& from,
    typename vit<vit_softmax_block<T, linear<T>, Act>>::template weights<writes_in<host_space>> const& w) {
  for_each_hf_vit_tensor<Act, T>(
      m, qkv_bias, [&](std::string const& name, auto const& to) { from.read(name, to); }, w);
  from.skip("pooler.dense.weight");
  from.skip("pooler.dense.bias");
}

/// Adds all tensors of w under their published names.
template <class Act, Compute T>
void add_hf_vit(
    vit<vit_softmax_block<T, linear<T>, Act>> const& m, bool qkv_bias,
    typename vit<vit_softmax_block<T, linear<T>, Act>>::template weights<reads_in<host_space>> const& w,
    safetensors_writer& to) {
  for_each_hf_vit_tensor<Act, T>(
      m, qkv_bias,
      [&](std::string const& name, auto const& from) {
        to.add((name.starts_with("classifier") ? "" : "vit.") + name, from);
      },
      w);
}

}  // namespace smx
