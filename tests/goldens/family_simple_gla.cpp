// SPDX-License-Identifier: Apache-2.0
/// \file  simple_gla: linear attention with a log-decay g for each token and head.
#include <tests/goldens/linear_run.hpp>

namespace goldens {
namespace {

struct simple_gla_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    auto const q = load<T, 4>(be, g, "in.q"), k = load<T, 4>(be, g, "in.k"), v = load<T, 4>(be, g, "in.v"),
               dy = load<T, 4>(be, g, "in.r"), initial = load<T, 4>(be, g, "in.initial_state"),
               dfinal = load<T, 4>(be, g, "in.r_final_state");
    auto const gate = column<T>(be, g, "in.g");
    using run = linear_run<T, B, smx::decay_kind::token>;
    run const r(be, q, k, v, gate, initial, dy, dfinal);
    c.check("out.o", r.y);
    c.check("out.o_chunk", r.y);
    c.check("out.final_state", r.final);
    c.check("out.final_state_chunk", r.final);
    c.check("grad.in.q", r.dq);
    c.check("grad.in.k", r.dk);
    c.check("grad.in.v", r.dv);
    c.check("grad.in.g", r.dg);
    c.check("grad.in.initial_state", r.dinitial);
    c.check("out.o_parallel", run(be, q, k, v, gate, {}, dy, {}).y);
  }
};

}  // namespace

family family_simple_gla() { return make_family<simple_gla_family>("simple_gla"); }

}  // namespace goldens
