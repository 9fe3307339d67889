// SPDX-License-Identifier: Apache-2.0
/// \file  retention: linear attention with the decay gamma_h = 1 - 2^(-5-h). The loss has the output from
/// zero,
///        and the output and the last state from an initial one.
#include <tests/goldens/linear_run.hpp>

namespace goldens {
namespace {

struct retention_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    auto const q = load<T, 4>(be, g, "in.q"), k = load<T, 4>(be, g, "in.k"), v = load<T, 4>(be, g, "in.v");
    std::vector<double> log_gamma;
    for (index_t h = 0; h < v.extents()[2]; ++h) log_gamma.push_back(std::log1p(-std::exp2(-5. - double(h))));
    using run = linear_run<T, B, smx::decay_kind::head>;
    run zero(be, q, k, v, {}, {}, load<T, 4>(be, g, "in.r"), {}, log_gamma);
    run r(be, q, k, v, {}, load<T, 4>(be, g, "in.initial_state"), load<T, 4>(be, g, "in.r_o_with_state"),
          load<T, 4>(be, g, "in.r_final_state"), log_gamma);
    c.check("out.o", zero.y);
    c.check("out.final_state_zero_init", zero.final);
    c.check("out.o_with_state", r.y);
    c.check("out.final_state", r.final);
    auto const both = [&](char const* name, auto& a, auto const& b) {
      be.map(smx::add{}, a.view(), smx::as_input(a.view()), b.cview());
      c.check(name, a);
    };
    both("grad.in.q", r.dq, zero.dq);
    both("grad.in.k", r.dk, zero.dk);
    both("grad.in.v", r.dv, zero.dv);
    c.check("grad.in.initial_state", r.dinitial);
  }
};

}  // namespace

family family_retention() { return make_family<retention_family>("retention"); }

}  // namespace goldens
