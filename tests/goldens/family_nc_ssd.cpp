// SPDX-License-Identifier: Apache-2.0
/// \file  nc_ssd: x (b,L,H,P), dt (b,L,H) after its softplus, B, C (b,L,G N). `pos` false turns the sign of
/// m.
#include <smx/mixers/nc_ssd.hpp>
#include <tests/goldens/ssd_run.hpp>

namespace goldens {
namespace {

struct nc_ssd_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    using mixer = smx::nc_ssd<T>;
    using owned = smx::tensor<T, 4, smx::space_t<B>>;
    auto const x = load<T, 4>(be, g, "in.x"), dy = load<T, 4>(be, g, "in.r");
    auto const dt = column<T>(be, g, "in.dt");
    extents<4> const e = x.extents();
    index_t const groups = g.size_option("G"), n = g.size_option("N");
    auto const b = load<T>(be, g, "in.B", extents<4>{e[0], e[1], groups, n}),
               q = load<T>(be, g, "in.C", extents<4>{e[0], e[1], groups, n});
    mixer mix{.heads = e[2], .dt_bias = false, .softplus = false};
    if (!g.option("pos", true)) mix.scale = -1;
    smx::parameters<mixer, B> w(be, mix), dw(be, mix);
    std::vector<double> const a = g.file().read<double>("in.A");
    set_rates<T>(be, a, w.write().a_log);
    be.copy(load<T>(be, g, "in.D", extents<2>{e[2], 1}).cview(), w.write().skip);
    auto const like = [&](owned const& v) { return owned(be.memory(), v.extents()); };
    owned y = like(x), dx = like(x), ddt = like(dt), db = like(b), dq = like(q);
    smx::inputs_in<mixer, B> const in{by_head(x.cview()), by_head(dt.cview()), by_head(b.cview()),
                                      by_head(q.cview())};
    auto frame = be.scope();
    mix.forward(be, w, in, {}, by_head(y.view()));
    mix.backward(be, w, in, {}, by_head(dy.cview()), dw.write(),
                 {by_head(dx.view()), by_head(ddt.view()), by_head(db.view()), by_head(dq.view())});
    c.check("out.y", y);
    c.check("grad.in.x", dx);
    c.check("grad.in.dt", ddt);
    c.check("grad.in.B", db);
    c.check("grad.in.C", dq);
    c.check("grad.in.A", rate_gradients(elements(dw.read().a_log), a));
    c.check("grad.in.D", dw.read().skip);
    c.leave_out("out.paper_weights");  // another weight
    if (!g.contains("out.interleaved_groups")) return;
    mix.groups = smx::group_map::interleaved;
    mix.forward(be, w, in, {}, by_head(y.view()));
    c.check("out.interleaved_groups", y);
  }
};

}  // namespace

family family_nc_ssd() { return make_family<nc_ssd_family>("nc_ssd"); }

}  // namespace goldens
