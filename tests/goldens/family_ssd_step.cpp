// SPDX-License-Identifier: Apache-2.0
/// \file  ssd_step: a prefill of L_prefill tokens, then T single ones; every state after them, from the steps
///        and from the snapshots of one call. The gradients are those of the T tokens from the state between.
#include <tests/goldens/ssd_run.hpp>

namespace goldens {
namespace {

struct ssd_step_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    using owned = smx::tensor<T, 4, smx::space_t<B>>;
    using mixer = smx::ssd<T>;
    ssd_run<T, B> run(be, g);
    index_t const first = g.size_option("L_prefill"), steps = g.size_option("T");
    if (first + steps != run.length()) g.fail("in.x: expected L_prefill + T tokens");
    auto const e = run.x.extents();
    owned y_prefill(be.memory(), extents<4>{e[0], first, e[2], e[3]}),
        y_steps(be.memory(), extents<4>{e[0], steps, e[2], e[3]});
    auto frame = be.scope();
    auto state = run.mix.make_state(be, run.w, run.inputs(0, first), run.length());
    run.mix.prefill(be, run.w, run.inputs(0, first), state, by_head(y_prefill.view()));
    c.check("out.y_prefill", y_prefill);
    c.check("out.state_prefill", turned(state.s.cview()));

    auto again = run.mix.make_state(be, run.w, run.inputs(0, first), run.length());
    be.copy(state.s.cview(), again.s.view());
    extents<4> const s = state.s.extents();
    owned initial(be.memory(), s);
    be.copy(state.s.cview(), initial.view());
    smx::tensor<T, 5, smx::space_t<B>> states(be.memory(), extents<5>{s[0], steps, s[1], s[3], s[2]});
    for (index_t t = 0; t < steps; ++t) {
      run.mix.step(be, run.w, run.inputs(first + t, 1), state, slice(by_head(y_steps.view()), 2, t, 1));
      be.copy(turned(state.s.cview()), fix_axis(states.view(), 1, t));
    }
    c.check("out.y_steps", y_steps);
    c.check("out.state_steps", states);
    c.check("out.last_state", turned(state.s.cview()));

    // all T tokens at once, the state after each of them
    smx::tensor<T, 5, smx::space_t<B>> kept(be.memory(), extents<5>{steps, s[0], s[1], s[2], s[3]});
    run.mix.prefill(be, run.w, run.inputs(first, steps), again, by_head(y_steps.view()), kept.view());
    for (index_t t = 0; t < steps; ++t)
      be.copy(turned(fix_axis(kept.cview(), 0, steps - 1 - t)), fix_axis(states.view(), 1, t));
    c.check("out.y_steps", y_steps);
    c.check("out.state_steps", states);

    owned dx(be.memory(), e), ddt(be.memory(), run.dt.extents()), db(be.memory(), run.b.extents()),
        dc(be.memory(), run.c.extents()), dz(be.memory(), e), dinitial(be.memory(), s);
    auto const late = [&](owned& v) { return slice(by_head(v.view()), 2, first, steps); };
    smx::inputs_in<mixer, B> in = run.inputs(first, steps);
    in.initial = initial.cview();
    auto const dy = load<T, 4>(be, g, "in.r"), dfinal = turned_state<T>(be, g, "in.r_last_state");
    run.mix.backward(be, run.w, in, smx::tape_of<mixer, B>{}, by_head(dy.cview()), dfinal.cview(),
                     run.dw.write(), {late(dx), late(ddt), late(db), late(dc), late(dz), dinitial.view()});
    run.check_gradients(
        g, c, {{}, {}, std::move(dx), std::move(ddt), std::move(db), std::move(dc), std::move(dz), {}});
    c.check("grad.in.state_prefill", turned(dinitial.cview()));
  }
};

}  // namespace

family family_ssd_step() { return make_family<ssd_step_family>("ssd_step"); }

}  // namespace goldens
