// SPDX-License-Identifier: Apache-2.0
/// \file  m2_layer: a layer of M2-BERT: the sequence mixer, and a block-diagonal or dense GLU or MLP with a
/// residual connection and a norm.
#include <tests/goldens/m2_run.hpp>

namespace goldens {
namespace {

struct m2_layer_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    c.allow_single(5e-5, 1e-4);
    smx::bert_config config;
    read_mixer_config(g, "w.attention.", "long_conv_l_max", config);
    config.channels = g.size_option("hidden_size");
    config.intermediate = g.size_option("intermediate_size");
    config.blocks = g.option("use_monarch_mlp", true) ? g.size_option("monarch_mlp_nblocks") : 1;
    config.gated = g.option("use_glu_mlp", true);
    config.eps = g.option("layer_norm_eps", 1e-12);
    for_block<T>(config, [&]<class Block>(Block m) {
      smx::make_block(config, m);
      run(be, g, c, m);
    });
  }

 private:
  template <class B, class Block> static void run(B& be, golden const& g, comparison& c, Block const& m) {
    using T = typename Block::scalar;
    auto const mixing = smx::bert_mixing::m2;
    auto const w = load_parameters(be, g, m, [&](auto& from, auto const& to) {
      smx::for_each_tensor(
          m, mixing, "", [&](auto const& names, auto const& v) { from.read(names, v); }, to);
    });
    extents<3> const e = g.extents_of<3>("in.x");
    auto const x = load<T>(be, g, "in.x", extents<4>{e[0], 1, e[1], e[2]});
    c.check("out.y", smx::forward(be, m, w, x));
    if (g.contains("in.r")) {
      auto const gradients = smx::gradients(be, m, w, x, load<T>(be, g, "in.r", x.extents()));
      c.check("grad.in.x", gradients.x);
      smx::for_each_tensor(m, mixing, "", compare_gradients(g, c), gradients.w.read());
    }
    auto frame = be.scope();
    auto const t = m.make_tape(be, {x.cview()});
    smx::tensor<T, 4, smx::space_t<B>> y(be.memory(), x.extents());
    m.forward(be, w.read(), {x.cview()}, t, y.view());
    be.synchronize();
    c.check("out.y", y);
    c.check("mid.seq_mixer", t.h);
    c.check("mid.gated_layers", t.second.inner.h);
    c.check("mid.wo_in", t.second.inner.z);
  }
};

}  // namespace

family family_m2_layer() { return make_family<m2_layer_family>("m2_layer"); }

}  // namespace goldens
