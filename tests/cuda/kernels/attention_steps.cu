// SPDX-License-Identifier: Apache-2.0
/// \file  The attention kernel of one query, under every kind of mask, against an oracle in double.
#include "tests/cuda/kernels/attention_case.cuh"

namespace {

using namespace test::attention_kernel;

void steps(test::reporter& report) {
  problem const list[] = {{1, 1, 1, 1, 1, 8, 8},      {2, 2, 1, 1, 31, 20, 33},
                          {1, 10, 2, 1, 600, 33, 8},  {1, 1, 1, 1, 2000, 64, 64, 4},
                          {2, 4, 4, 1, 257, 96, 128}, {1, 6, 1, 1, 700, 130, 256}};
  for (problem p : list)
    for (layout const how : {layout::contiguous, layout::offset, layout::length_major}) {
      p.how = how;
      cuda_operands const f32 = cuda_operands::f32;
      report(p.words("step, full", f32), attends(p, full_mask{}, f32));
      report(p.words("step, causal", f32), attends(p, causal_mask{p.keys / 2}, f32, odd::hidden));
      report(p.words("step, window", f32), attends(p, window_mask{5, p.keys - 1}, f32, odd::hidden));
      report(p.words("step, sees nothing", f32), attends(p, causal_mask{-2}, f32, odd::hidden));
      report(p.words("step, dilated", f32), attends(p, dilated_mask{3}, f32, odd::hidden));
      report(p.words("step, keys of -inf", f32), attends(p, full_mask{}, f32, odd::infinite_keys));
      report(p.words("step, infinite values", f32), attends(p, full_mask{}, f32, odd::infinite_values));
    }
  problem const p{1, 4, 1, 1, 600, 16, 16};  // heads that share keys see others of them
  tensor<bool, 4> visible(pinned_memory(), {1, 4, 1, 600});
  for (index_t h = 0; h < 4; ++h)
    for (index_t j = 0; j < 600; ++j) visible(0, h, 0, j) = j % 29 == 28 ? h == 0 : j % 4 == h && h != 2;
  report(p.words("step, boolean", cuda_operands::bf16),
         attends(p, boolean_mask{visible.cview()}, cuda_operands::bf16, odd::hidden));
}

test::suite const s5{"attention_kernel_steps", steps};

}  // namespace
