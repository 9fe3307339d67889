// SPDX-License-Identifier: Apache-2.0
/// \file  The gradients of the attention kernels against an oracle in double, with and without masks.
#include "tests/cuda/kernels/attention_case.cuh"

namespace {

using namespace test::attention_kernel;

template <class M>
verdict differentiates(problem const& p, M const& mask, cuda_operands operands, odd what = odd::none) {
  arrays a(p, 7);
  guarded<float, 4> dy({p.batch, p.heads, p.queries, p.e}, p.how, -777.0f);
  testing::fill_normal(dy.write(), random_stream{7, 3});
  put(what, p, mask, a);
  if (what == odd::rows)
    for (index_t b = 0; b < p.batch; ++b)
      for (index_t h = 0; h < p.heads; ++h)
        for (index_t i = 3; i < p.queries; i += 37) {
          for (index_t d = 0; d < p.d; ++d) a.q.write()(b, h, i, d) = testing::quiet_nan<float>;
          for (index_t e = 0; e < p.e; ++e) dy.write()(b, h, i, e) = testing::quiet_nan<float>;
        }
  float const scale = p.scale != 0 ? p.scale : 1 / std::sqrt(static_cast<float>(p.d));
  auto const forward = test::attention_oracle(mask, static_cast<double>(scale), a.q.read(), a.k.read(),
                                              a.v.read(), rounding_of(operands));
  auto const set = [](auto const& to, testing::numbers const& from) {
    std::size_t n = 0;
    loops::for_each_index(to.ext,
                          [&](extents<4> const& i) { loops::at(to, i) = static_cast<float>(from[n++]); });
  };
  set(a.y.write(), forward.y), set(a.lse.write(), forward.lse);
  // f16 is bf16 in three parts here
  cuda_operands const rounds = operands == cuda_operands::f16 ? cuda_operands::f32 : operands;
  auto const want =
      test::attention_gradient_oracle(mask, static_cast<double>(scale), a.q.read(), a.k.read(), a.v.read(),
                                      a.y.read(), a.lse.read(), dy.read(), rounding_of(rounds));
  guarded<float, 4> dq({p.batch, p.heads, p.queries, p.d}, p.how, -777.0f),
      dk({p.batch, p.kv_heads, p.keys, p.d}, p.how, -777.0f),
      dv({p.batch, p.kv_heads, p.keys, p.e}, p.how, -777.0f);
  cuda_backend device({.operands = operands});
  plan_backend<cuda_backend> plan(device.how());
  bool taken = false;
  testing::mirror<device_space> mirror;
  mirror.add(a.q.read()), mirror.add(a.k.read()), mirror.add(a.v.read()), mirror.add(a.y.read());
  mirror.add(a.lse.read()), mirror.add(dy.read());
  mirror.add(dq.write()), mirror.add(dk.write()), mirror.add(dv.write());
  mirror.open();
  {
    auto const there = [&](auto const& v) { return mirror.there(v); };
    attention_backward_call<float, device_space, M> const c{mask,
                                                            scale,
                                                            there(a.q.read()),
                                                            there(a.k.read()),
                                                            there(a.v.read()),
                                                            there(a.y.read()),
                                                            there(a.lse.read()),
                                                            there(dy.read()),
                                                            there(dq.write()),
                                                            there(dk.write()),
                                                            there(dv.write())};
    taken = tuned(device, c);
    device.synchronize();
    tuned(plan, attention_backward_call<float, meta_space, M>{
                    mask, scale, shape_of(c.q), shape_of(c.k), shape_of(c.v), shape_of(c.y), shape_of(c.lse),
                    shape_of(c.dy), shape_of(c.dq), shape_of(c.dk), shape_of(c.dv)});
  }
  mirror.close();
  if (!taken) return text("no kernel took it");
  verdict bad = as_planned(plan.result(), device);
  if (!bad) bad = test::close_to("dq", testing::values(dq.read()), want.dq, want.dq_bound);
  if (!bad) bad = test::close_to("dk", testing::values(dk.read()), want.dk, want.dk_bound);
  if (!bad) bad = test::close_to("dv", testing::values(dv.read()), want.dv, want.dv_bound);
  if (!bad) bad = dq.intact("dq");
  if (!bad) bad = dk.intact("dk");
  if (!bad) bad = dv.intact("dv");
  return bad;
}

void gradients(test::reporter& report) {
  problem const list[] = {{1, 1, 1, 1, 1, 8, 8},     {2, 2, 1, 31, 2, 8, 8, 4},   {1, 2, 2, 64, 64, 64, 64},
                          {1, 4, 2, 65, 65, 33, 8},  {1, 1, 1, 129, 257, 16, 16}, {1, 6, 2, 40, 70, 20, 33},
                          {1, 1, 1, 65, 70, 96, 128}};
  for (cuda_operands const how : {cuda_operands::f32, cuda_operands::bf16})
    for (problem const& p : list) {
      report(p.words("gradients, full", how), differentiates(p, full_mask{}, how));
      report(p.words("gradients, causal", how), differentiates(p, causal_mask{}, how));
    }
  report(list[3].words("gradients, causal", cuda_operands::f16),
         differentiates(list[3], causal_mask{}, cuda_operands::f16));
  for (layout const how : {layout::offset, layout::gaps, layout::length_major}) {
    problem p = list[5];
    p.how = how;
    report(p.words("gradients, causal", cuda_operands::f32),
           differentiates(p, causal_mask{}, cuda_operands::f32));
  }
}

template <class M>
void masked_gradients(test::reporter& report, char const* name, problem const& p, M const& mask) {
  for (cuda_operands const how : {cuda_operands::f32, cuda_operands::bf16})
    for (odd const what : {odd::none, odd::hidden, odd::rows})
      report(p.words(name, how) + (what == odd::none     ? ""
                                   : what == odd::hidden ? ", NaN in keys"
                                                         : ", NaN in rows"),
             differentiates(p, mask, how, what));
}

void gradients_under_masks(test::reporter& report) {
  problem const p{1, 2, 1, 150, 150, 16, 16};
  masked_gradients(report, "gradients, causal", {2, 2, 1, 150, 150, 16, 16}, causal_mask{});
  masked_gradients(report, "gradients, causal before 70", {1, 1, 1, 140, 140, 16, 16}, causal_mask{-70});
  masked_gradients(report, "gradients, window", p, window_mask{20});
  tensor<index_t, 1> const starts = pinned({0, 3, 70, 70, 110, 150});
  masked_gradients(report, "gradients, packed", p, packed_mask{starts.data(), 5, nullptr});
  masked_gradients(report, "gradients, window or partial causal", p, window_mask{9} | partial_causal_mask{4});
  masked_gradients(report, "gradients, dilated causal", p, dilated_mask{3} & causal_mask{});
}

test::suite const s6{"attention_kernel_gradients", gradients};
test::suite const s7{"attention_kernel_gradients_under_masks", gradients_under_masks};

}  // namespace
