// SPDX-License-Identifier: Apache-2.0
/// \file  GPT-2 as Hugging Face stores it: names, layouts and the reader of checkpoints. Their Conv1D keeps
/// (in, out) where `linear` keeps (out, in); the mask that old files carry as h.N.attn.bias is no weight.
#pragma once

#include <string>
#include <vector>

#include <smx/io/checkpoint_reader.hpp>
#include <smx/mixers/parameters.hpp>
#include <smx/models/gpt.hpp>
#include <smx/nn/self_attention.hpp>

namespace smx {

template <Compute T> using gpt2 = gpt<self_attention<T, causal_mask>>;

/// The sizes that config.json gives: vocab_size, n_embd, n_head, n_layer, n_positions, n_inner,
/// layer_norm_epsilon, tie_word_embeddings, scale_attn_weights.
struct gpt2_sizes {
  index_t vocabulary = 50257, channels = 768, heads = 12, depth = 12, positions = 1024, inner = 0;
  double eps = 1e-5;
  bool tied = true;
  bool scaled = true;  ///< whether scores are divided by sqrt(d)
};

template <Compute T> gpt2<T> make_gpt2(gpt2_sizes const& s) {
  expects_value(s.heads >= 1, "gpt2: heads", "at least 1", s.heads);
  expects_value(s.channels >= 1 && s.channels % s.heads == 0, "gpt2: channels", "a multiple of the heads",
                s.channels);
  self_attention<T, causal_mask> mixer;
  mixer.channels = s.channels, mixer.heads = s.heads, mixer.deviation = 0.02;
  if (!s.scaled) mixer.mix.scale = 1;
  return make_gpt(mixer, {s.vocabulary, s.channels, s.depth, s.positions, s.inner, s.eps, s.tied, 0.02});
}

/// f(name in the file, view with the file's extents) for every weight; w: weights of views.
template <Compute T, class W, class F> void for_each_gpt2_tensor(gpt2<T> const& m, W const& w, F&& f) {
  auto const norm = [&](std::string const& name, auto const& n) {
    f(name + ".weight", n.weight);
    f(name + ".bias", n.bias);
  };
  auto const conv1d = [&](std::string const& name, auto const& l) {
    f(name + ".weight", swap_axes(l.weight, 0, 1));
    f(name + ".bias", l.bias);
  };
  f(std::string("wte.weight"), w.tokens.weight);
  if (m.positions > 0) f(std::string("wpe.weight"), w.places.weight);
  for (index_t i = 0; i < m.blocks.depth; ++i) {
    std::string const h = "h." + std::to_string(i) + ".";
    auto const& b = w.blocks.layers[i];
    norm(h + "ln_1", b.first.norm);
    conv1d(h + "attn.c_attn", b.first.inner.qkv);
    conv1d(h + "attn.c_proj", b.first.inner.out);
    norm(h + "ln_2", b.second.norm);
    conv1d(h + "mlp.c_fc", b.second.inner.up);
    conv1d(h + "mlp.c_proj", b.second.inner.down);
  }
  norm("ln_f", w.norm);
  if (!m.tied) f(std::string("lm_head.weight"), w.head.weight);
}

/// Reads a checkpoint into w, whose names may stand behind "transformer." or one of `prefixes`. Throws
/// file_error with every tensor that is missing or has another shape or type; returns the names of tensors
/// that the model does not know, or refuses them.
template <Compute T>
std::vector<std::string> read_gpt2(safetensors_file const& file, gpt2<T> const& m,
                                   parameters_in<gpt2<T>, host_space>& w, bool refuse_unknown = false,
                                   std::vector<std::string> prefixes = {"", "transformer."}) {
  checkpoint_reader from(file, std::move(prefixes));
  for_each_gpt2_tensor(m, w.write(), [&](std::string const& name, auto const& to) { from.read(name, to); });
  for (index_t i = 0; i < m.blocks.depth; ++i) {
    std::string const h = "h." + std::to_string(i) + ".attn.";
    from.skip(h + "bias");
    from.skip(h + "masked_bias");
  }
  if (m.tied) from.skip("lm_head.weight");
  return from.finish(refuse_unknown);
}

}  // namespace smx
