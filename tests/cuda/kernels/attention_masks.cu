// SPDX-License-Identifier: Apache-2.0
/// \file  The attention kernels under causal, window, boolean and dilated masks, for many queries and for
/// one, against an oracle in double.
#include "tests/cuda/kernels/attention_case.cuh"

namespace {

using namespace test::attention_kernel;

void masks(test::reporter& report) {
  problem const p{1, 2, 1, 150, 150, 16, 16}, two{2, 2, 1, 150, 150, 16, 16}, cross{1, 2, 2, 70, 200, 16, 24};
  masked(report, "causal", two, causal_mask{});
  masked(report, "causal after 100", {1, 2, 1, 100, 200, 16, 16}, causal_mask{100});
  for (index_t const offset : {62, 63, 127})  // where a tile's last key is the first row's last, or is not
    masked(report, "causal after some", {1, 1, 1, 3, 260, 16, 16}, causal_mask{offset});
  for (index_t const size : {85, 86})  // the same for its first key and the last row
    masked(report, "window", {1, 1, 1, 150, 150, 16, 16}, window_mask{size});
  masked(report, "causal before 70", {1, 1, 1, 140, 140, 16, 16}, causal_mask{-70});
  masked(report, "window", p, window_mask{20});
  tensor<bool, 4> visible(pinned_memory(), {1, 2, 70, 200});
  for (index_t h = 0; h < 2; ++h)
    for (index_t i = 0; i < 70; ++i)
      for (index_t j = 0; j < 200; ++j)
        visible(0, h, i, j) = i != 11 && (j < 64 ? false : j < 128 ? true : (i * 7 + j * 5 + h) % 3 != 0);
  masked(report, "boolean", cross, boolean_mask{visible.cview()});
}

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

test::suite const s3{"attention_kernel_masks", masks};
test::suite const s5{"attention_kernel_steps", steps};

}  // namespace
