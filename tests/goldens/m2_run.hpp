// SPDX-License-Identifier: Apache-2.0
/// \file  What the families of M2 layers and models share: the block that a config asks for.
#pragma once

#include <tests/goldens/bert_run.hpp>

namespace goldens {

/// f(a block) of the type that a config asks for. Dense maps are block-diagonal ones of one block.
template <class T, class F> void for_block(smx::bert_config const& config, F const& f) {
  using smx::convolution_kind;
  using map = smx::block_diagonal<T>;
  if (config.gated && config.bidirectional)
    f(smx::m2_block<T, smx::glu<T, map>>{});
  else if (config.gated)
    f(smx::m2_block<T, smx::glu<T, map>, convolution_kind::causal>{});
  else if (config.bidirectional)
    f(smx::m2_block<T, smx::mlp<T, map>>{});
  else
    f(smx::m2_block<T, smx::mlp<T, map>, convolution_kind::causal>{});
}

/// The mixer's part of a config, from the config and the names of the tensors; `at` is before the mixer's.
inline void read_mixer_config(golden const& g, std::string const& at, char const* l_max,
                              smx::bert_config& config) {
  config.mixing = smx::bert_mixing::m2;
  config.max_length = g.size_option(l_max);
  config.width = g.size_option("hyena_filter_order");
  config.features = g.size_option("hyena_emb_dim");
  config.modulation = g.option("hyena_w_mod", 1.0);
  config.bidirectional = g.option("bidirectional", true);
  config.residual = g.option("residual_long_conv", true);
  config.input_norm = g.option("hyena_training_additions", false);
  index_t layers = 0;
  while (g.contains(at + "filter_fn.implicit_filter." + std::to_string(2 * layers) + ".weight")) ++layers;
  config.hidden = layers - 2;
}

/// Intermediate results of a mixer.
template <class Tape> void check_mixer_tape(comparison& c, Tape const& t) {
  c.check("mid.layernorm", t.u);
  c.check("mid.in_proj", t.p);
  c.check("mid.short_conv", smx::swap_axes(t.c, 2, 3));
  c.check("mid.before_out_proj", t.z);
  auto const kernels = [&](std::string const& name, auto const& k) {
    c.check("mid." + name, smx::swap_axes(k.k, 0, 1));
    c.check("mid." + name + "_rev", smx::swap_axes(k.k_rev, 0, 1));
  };
  kernels("k", t.main);
  kernels("k2", t.residual);
}

}  // namespace goldens
