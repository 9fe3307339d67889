// SPDX-License-Identifier: Apache-2.0
/// \file  linear_attention: without decay. The normalised outputs o / (z + 1e-10), z_t = scale q_t . (z_0 +
/// sum
///        of k), come from a column of ones in v: its state is the sum of k, its output is z.
#include <tests/goldens/linear_run.hpp>

namespace goldens {
namespace {

struct linear_attention_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    using run = linear_run<T, B, smx::decay_kind::none>;
    auto const q = load<T, 4>(be, g, "in.q"), k = load<T, 4>(be, g, "in.k"), v = load<T, 4>(be, g, "in.v"),
               initial = load<T, 4>(be, g, "in.initial_state");
    run r(be, q, k, v, {}, initial, load<T, 4>(be, g, "in.r"), load<T, 4>(be, g, "in.r_final_state"));
    c.check("out.o", r.y);
    c.check("out.final_state", r.final);
    c.check("grad.in.q", r.dq);
    c.check("grad.in.k", r.dk);
    if (!g.contains("in.q_pos")) {
      c.check("grad.in.v", r.dv);
      c.check("grad.in.initial_state", r.dinitial);
      return;
    }
    auto const q_pos = load<T, 4>(be, g, "in.q_pos"), k_pos = load<T, 4>(be, g, "in.k_pos");
    auto const sum = [&](auto& to, auto const& from) {
      be.map(smx::add{}, to.view(), smx::as_input(to.view()), from.cview());
    };
    auto zero = normalised<T>(be, g, c, q_pos, k_pos, v, {}, "norm");
    // the gradient of the state is that of the file's initial state and of initial_z
    extents<4> e = initial.extents();
    e[3] += 1;
    smx::tensor<T, 4, smx::space_t<B>> with_z(be.memory(), e);
    be.copy(initial.cview(), slice(with_z.view(), 3, 0, e[3] - 1));
    auto const z = load<T>(be, g, "in.initial_z", extents<4>{e[0], e[1], e[2], 1});
    be.copy(z.cview(), slice(with_z.view(), 3, e[3] - 1, 1));
    auto const from = normalised<T>(be, g, c, q_pos, k_pos, v, with_z, "norm_state");
    sum(zero.dq, from.dq);
    sum(zero.dk, from.dk);
    sum(zero.dv, from.dv);
    index_t const width = v.extents()[3];
    auto const values = slice(zero.dv.cview(), 3, 0, width);
    be.map(smx::add{}, r.dv.view(), smx::as_input(r.dv.view()), values);
    be.map(smx::add{}, r.dinitial.view(), smx::as_input(r.dinitial.view()),
           slice(from.dinitial.cview(), 3, 0, width));
    c.check("grad.in.q_pos", zero.dq);
    c.check("grad.in.k_pos", zero.dk);
    c.check("grad.in.v", r.dv);
    c.check("grad.in.initial_state", r.dinitial);
    c.check("grad.in.initial_z", slice(from.dinitial.cview(), 3, width, 1));
  }

 private:
  template <class T, class B>
  static linear_run<T, B, smx::decay_kind::none> normalised(B& be, golden const& g, comparison& c,
                                                            smx::tensor<T, 4, smx::space_t<B>> const& q,
                                                            smx::tensor<T, 4, smx::space_t<B>> const& k,
                                                            smx::tensor<T, 4, smx::space_t<B>> const& v,
                                                            smx::tensor<T, 4, smx::space_t<B>> const& initial,
                                                            std::string const& name) {
    using run = linear_run<T, B, smx::decay_kind::none>;
    using owned = smx::tensor<T, 4, smx::space_t<B>>;
    extents<4> e = v.extents();
    index_t const width = e[3]++;
    owned ones(be.memory(), e), none(be.memory(), e);
    be.copy(v.cview(), slice(ones.view(), 3, 0, width));
    be.map(smx::constant<T>{T(1)}, slice(ones.view(), 3, width, 1));
    run const first(be, q, k, ones, {}, initial, none, {});
    auto const up = g.file().template read<T>("in.r_o_" + name);
    auto const out = here(first.y);
    smx::tensor<T, 4> o_here(v.extents()), dy_here(e);
    auto next = up.begin();
    for (index_t b = 0; b < e[0]; ++b)
      for (index_t t = 0; t < e[1]; ++t)
        for (index_t h = 0; h < e[2]; ++h) {
          T const z = out(b, t, h, width) + T(1e-10);
          T dz = 0;
          for (index_t p = 0; p < width; ++p, ++next) {
            T const o = out(b, t, h, p) / z;
            o_here(b, t, h, p) = o;
            dy_here(b, t, h, p) = *next / z;
            dz -= *next * o / z;
          }
          dy_here(b, t, h, width) = dz;
        }
    auto const dy = there(be, dy_here);
    c.check("out.o_" + name, o_here);
    c.check("out.final_state_" + name, slice(first.final.cview(), 3, 0, width));
    c.check("out.final_z_" + name, slice(first.final.cview(), 3, width, 1));
    return run(be, q, k, ones, {}, initial, dy, {});
  }
};

}  // namespace

family family_linear_attention() { return make_family<linear_attention_family>("linear_attention"); }

}  // namespace goldens
