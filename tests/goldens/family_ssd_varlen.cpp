// SPDX-License-Identifier: Apache-2.0
/// \file  ssd_varlen: packed sequences, each with its own initial and final state, and from zero.
#include <tests/goldens/ssd_run.hpp>

namespace goldens {
namespace {

struct ssd_varlen_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    using owned = smx::tensor<T, 4, smx::space_t<B>>;
    std::vector<std::int64_t> const given = g.file().read<std::int64_t>("in.cu_seqlens");
    std::vector<index_t> const bounds(given.begin(), given.end());
    ssd_run<T, B> run(be, g);
    run.mix.packing = {bounds.data(), static_cast<index_t>(bounds.size()) - 1};
    owned const dy = load<T, 4>(be, g, "in.r"), dfinal = turned_state<T>(be, g, "in.r_final_states");
    auto const zero = run.all(be, {}, dy, {});
    c.check("out.out_zero_init", zero.y);
    c.check("out.final_states_zero_init", turned(zero.final.cview()));
    ssd_run<T, B> fresh(be, g);
    fresh.mix.packing = run.mix.packing;
    auto const from = fresh.all(be, turned_state<T>(be, g, "in.initial_states"), dy, dfinal);
    c.check("out.out", from.y);
    c.check("out.final_states", turned(from.final.cview()));
    fresh.check_gradients(g, c, from);
    c.check("grad.in.initial_states", turned(from.dinitial.cview()));
    c.leave_out("out.out_mamba_ssm_rule");  // its initial state reaches the first sequence alone
  }
};

}  // namespace

family family_ssd_varlen() { return make_family<ssd_varlen_family>("ssd_varlen"); }

}  // namespace goldens
