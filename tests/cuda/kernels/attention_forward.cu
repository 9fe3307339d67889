// SPDX-License-Identifier: Apache-2.0
/// \file  The attention kernels against an oracle in double: shapes around the edges of tiles, shared key
/// heads, layouts, operands of 8, 11 and 24 bits, numbers that are not finite.
#include "tests/cuda/kernels/attention_case.cuh"

namespace {

using namespace test::attention_kernel;

/// A user's, whose keys() says no more than it has to.
struct loosely_causal_mask : causal_mask {
  SMX_HD constexpr index_range keys(index_t, index_t, index_range, index_t count) const { return {0, count}; }
};
static_assert(IntervalMask<loosely_causal_mask>);

constexpr cuda_operands all_operands[] = {cuda_operands::f32, cuda_operands::bf16, cuda_operands::f16};

void shapes(test::reporter& report) {
  full_mask const all;
  causal_mask const past;
  problem const list[] = {
      {1, 1, 1, 2, 1, 8, 8},       {2, 2, 1, 31, 2, 8, 8, 4},   {1, 2, 2, 64, 64, 64, 64},
      {1, 1, 1, 65, 129, 20, 33},  {1, 4, 2, 65, 65, 33, 8},    {1, 1, 1, 129, 257, 64, 64},
      {1, 1, 1, 257, 64, 8, 8, 4}, {1, 1, 1, 65, 129, 96, 128}, {1, 1, 1, 130, 65, 128, 20},
      {1, 1, 1, 65, 65, 256, 256}, {1, 1, 1, 70, 129, 130, 8},  {1, 3, 1, 2, 31, 1, 1},
      {1, 1, 1, 66, 600, 16, 16},
  };
  for (cuda_operands const how : all_operands)
    for (problem p : list) {
      report(p.words("full", how), attends(p, all, how));
      report(p.words("causal", how), attends(p, past, how));
    }
  report(list[3].words("full", cuda_operands::tf32), attends(list[3], all, cuda_operands::tf32));
}

void layouts(test::reporter& report) {
  for (layout const how : {layout::offset, layout::gaps, layout::length_major})
    for (cuda_operands const operands : {cuda_operands::f32, cuda_operands::bf16})
      for (problem p : {problem{2, 4, 2, 33, 70, 20, 12}, problem{2, 2, 1, 5, 9, 7, 3}}) {
        p.how = how;
        report(p.words("causal", operands), attends(p, causal_mask{}, operands));
      }
}

void odd_numbers(test::reporter& report) {
  for (cuda_operands const how : all_operands)
    for (problem const p : {problem{1, 2, 1, 70, 150, 16, 16}, problem{1, 1, 1, 65, 70, 128, 100}}) {
      report(p.words("full, keys of -inf", how), attends(p, full_mask{}, how, odd::infinite_keys));
      report(p.words("causal, keys of -inf", how), attends(p, causal_mask{}, how, odd::infinite_keys));
      report(p.words("full, infinite values", how), attends(p, full_mask{}, how, odd::infinite_values));
      report(p.words("causal, infinite values", how), attends(p, causal_mask{}, how, odd::infinite_values));
      report(p.words("causal, infinite values of small weight", how),
             attends(p, causal_mask{}, how, odd::faint_values));
    }
}

void under_a_causal_mask(test::reporter& report) {
  masked(report, "causal", {2, 2, 1, 150, 150, 16, 16}, causal_mask{});
  masked(report, "causal after 100", {1, 2, 1, 100, 200, 16, 16}, causal_mask{100});
  for (index_t const offset : {62, 63, 127})  // where a tile's last key is the first row's last, or is not
    masked(report, "causal after some", {1, 1, 1, 3, 260, 16, 16}, causal_mask{offset});
  masked(report, "causal before 70", {1, 1, 1, 140, 140, 16, 16}, causal_mask{-70});
}

void steps(test::reporter& report) {
  for (problem const& p : one_query()) {
    cuda_operands const f32 = cuda_operands::f32;
    report(p.words("step, full", f32), attends(p, full_mask{}, f32));
    report(p.words("step, causal", f32), attends(p, causal_mask{p.keys / 2}, f32, odd::hidden));
    report(p.words("step, causal, all keys may be seen", f32),
           attends(p, loosely_causal_mask{p.keys / 2}, f32, odd::hidden));
    report(p.words("step, sees nothing", f32), attends(p, causal_mask{-2}, f32, odd::hidden));
    report(p.words("step, keys of -inf", f32), attends(p, full_mask{}, f32, odd::infinite_keys));
    report(p.words("step, infinite values", f32), attends(p, full_mask{}, f32, odd::infinite_values));
  }
}

/// Images of many short rows are left to the recipe where they would not fit into a slab.
void memory(test::reporter& report) {
  auto const takes = [](index_t length, index_t width, std::size_t slab_bytes) {
    tiling how = cuda_backend().how();
    how.slab_bytes = slab_bytes;
    plan_backend<cuda_backend> plan(how);
    using array = view<float, 4, meta_space>;
    array const rows(nullptr, {64, 4, length, width});
    return tuned(plan, attention_forward_call<float, meta_space, full_mask>{
                           full_mask{}, 1, rows, rows, rows, array(nullptr, {64, 4, length, 1}), rows});
  };
  report("short rows, a large slab", takes(16, 16, std::size_t{1} << 30) ? holds : verdict("not taken"));
  report("short rows, a small slab", takes(16, 16, std::size_t{1} << 20) ? verdict("taken") : holds);
  report("long rows, a small slab", takes(64, 64, std::size_t{1} << 20) ? holds : verdict("not taken"));
}

test::suite const s6{"attention_kernel_memory", memory};
test::suite const s1{"attention_kernel_shapes", shapes};
test::suite const s2{"attention_kernel_layouts", layouts};
test::suite const s4{"attention_kernel_odd_numbers", odd_numbers};
test::suite const s3{"attention_kernel_causal", under_a_causal_mask};
test::suite const s5{"attention_kernel_steps", steps};

}  // namespace
