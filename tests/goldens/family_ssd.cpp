// SPDX-License-Identifier: Apache-2.0
/// \file  ssd: Mamba-2's scan with initial and final states. One file holds the paper's listing instead, on X
/// =
///        delta x and log-decays A (b,L,H): linear attention with a gate for each token and a scale of 1.
#include <smx/mixers/linear_attention.hpp>
#include <tests/goldens/ssd_run.hpp>

namespace goldens {
namespace {

struct ssd_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    if (g.contains("in.X")) return listing<T>(be, g, c);
    using owned = smx::tensor<T, 4, smx::space_t<B>>;
    ssd_run<T, B> run(be, g);
    owned initial, dfinal;
    if (g.contains("in.initial_states")) initial = turned_state<T>(be, g, "in.initial_states");
    if (g.contains("in.r_final_state")) dfinal = turned_state<T>(be, g, "in.r_final_state");
    auto const r = run.all(be, initial, load<T, 4>(be, g, "in.r"), dfinal);
    c.check("out.out", r.y);
    c.check("out.final_state", turned(r.final.cview()));
    run.check_gradients(g, c, r);
    if (initial.size() > 0) c.check("grad.in.initial_states", turned(r.dinitial.cview()));
  }

 private:
  template <class T, class B> static void listing(B& be, golden const& g, comparison& c) {
    using mixer = smx::linear_attention<T, smx::decay_kind::token>;
    using owned = smx::tensor<T, 4, smx::space_t<B>>;
    mixer const mix{.scale = 1};
    auto const x = load<T, 4>(be, g, "in.X"), b = load<T, 4>(be, g, "in.B"), q = load<T, 4>(be, g, "in.C");
    auto const a = column<T>(be, g, "in.A"), dy = load<T, 4>(be, g, "in.r");
    auto const initial = turned_state<T>(be, g, "in.initial_state"),
               dfinal = turned_state<T>(be, g, "in.r_final_state");
    auto const like = [&](owned const& v) { return owned(be.memory(), v.extents()); };
    owned y = like(x), final = like(initial), dx = like(x), db = like(b), dq = like(q), da = like(a),
          dinitial = like(initial);
    smx::inputs_in<mixer, B> const in{by_head(q.cview()), by_head(b.cview()), by_head(x.cview()),
                                      by_head(a.cview()), initial.cview()};
    auto frame = be.scope();
    mix.forward(be, {}, in, smx::tape_of<mixer, B>{}, by_head(y.view()), final.view());
    mix.backward(
        be, {}, in, smx::tape_of<mixer, B>{}, by_head(dy.cview()), dfinal.cview(), {},
        {by_head(dq.view()), by_head(db.view()), by_head(dx.view()), by_head(da.view()), dinitial.view()});
    c.check("out.Y", y);
    c.check("out.final_state", turned(final.cview()));
    c.check("grad.in.X", dx);
    c.check("grad.in.B", db);
    c.check("grad.in.C", dq);
    c.check("grad.in.A", da);
    c.check("grad.in.initial_state", turned(dinitial.cview()));
  }
};

}  // namespace

family family_ssd() { return make_family<ssd_family>("ssd"); }

}  // namespace goldens
