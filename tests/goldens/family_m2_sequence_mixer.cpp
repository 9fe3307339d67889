// SPDX-License-Identifier: Apache-2.0
/// \file  m2_sequence_mixer: the sequence mixer of M2-BERT, bidirectional or causal. Each file runs with and
/// without prepared kernels; causal ones also position by position.
#include <tests/goldens/m2_run.hpp>

namespace goldens {
namespace {

struct m2_sequence_mixer_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    c.allow_single(5e-5, 1e-4);
    if (g.option("bidirectional", true))
      run<smx::m2_sequence_mixer<T, smx::convolution_kind::bidirectional>>(be, g, c);
    else
      run<smx::m2_sequence_mixer<T>>(be, g, c);
  }

 private:
  template <class Mixer, class B> static void run(B& be, golden const& g, comparison& c) {
    using T = typename Mixer::scalar;
    smx::bert_config config;
    read_mixer_config(g, "w.", "l_max", config);
    Mixer const m{.channels = g.size_option("d_model"),
                  .max_length = config.max_length,
                  .residual = config.residual,
                  .input_norm = config.input_norm,
                  .width = config.width,
                  .features = config.features,
                  .hidden = config.hidden,
                  .modulation = config.modulation};
    auto const w = load_parameters(be, g, m, [&](auto& from, auto const& to) {
      smx::for_each_tensor(
          m, "", [&](auto const& names, auto const& v) { from.read(names, v); }, to);
    });
    extents<3> const e = g.extents_of<3>("in.u");
    auto const u = load<T>(be, g, "in.u", extents<4>{e[0], 1, e[1], e[2]});
    auto const y = smx::forward(be, m, w, u);
    c.check("out.y", y);
    if (g.contains("in.r") && has_gradients(g)) {
      auto const r = load<T>(be, g, "in.r", u.extents());
      auto const gradients = smx::gradients(be, m, w, u, r);
      c.check("grad.in.u", gradients.x);
      smx::for_each_tensor(m, "", compare_gradients(g, c), gradients.w.read());
    }
    auto frame = be.scope();
    auto const t = m.make_tape(be, {u.cview()});
    smx::tensor<T, 4, smx::space_t<B>> to(be.memory(), u.extents());
    m.forward(be, w.read(), {u.cview()}, t, to.view());
    c.check("out.y", to);
    check_mixer_tape(c, t);
    m.apply(be, w.read(), m.prepare(be, w.read(), e[1]), {u.cview()}, to.view());
    c.check("out.y", to);
    if constexpr (Mixer::about.streaming) {
      auto state = m.make_state(be, w.read(), {u.cview()}, e[1]);
      for (index_t t0 = 0; t0 < e[1]; ++t0)
        m.step(be, w.read(), {smx::slice(u.cview(), 2, t0, 1)}, state, smx::slice(to.view(), 2, t0, 1));
      be.synchronize();
      c.check("out.y", to);
    }
  }
  static bool has_gradients(golden const& g) {
    for (auto const& name : g.file().names())
      if (name.starts_with("grad.")) return true;
    return false;
  }
};

}  // namespace

family family_m2_sequence_mixer() { return make_family<m2_sequence_mixer_family>("m2_sequence_mixer"); }

}  // namespace goldens
