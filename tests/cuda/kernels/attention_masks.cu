// SPDX-License-Identifier: Apache-2.0
/// \file  The attention kernels under window, boolean and dilated masks, for many queries and for one,
/// against an oracle in double. Each mask is another set of kernels to compile: a mask belongs to one file.
#include "tests/cuda/kernels/attention_case.cuh"

namespace {

using namespace test::attention_kernel;

void masks(test::reporter& report) {
  for (index_t const size : {85, 86})  // where a tile's first key is the last row's first, or is not
    masked(report, "window", {1, 1, 1, 150, 150, 16, 16}, window_mask{size});
  masked(report, "window", {1, 2, 1, 150, 150, 16, 16}, window_mask{20});
  tensor<bool, 4> visible(pinned_memory(), {1, 2, 70, 200});
  for (index_t h = 0; h < 2; ++h)
    for (index_t i = 0; i < 70; ++i)
      for (index_t j = 0; j < 200; ++j)
        visible(0, h, i, j) = i != 11 && (j < 64 ? false : j < 128 ? true : (i * 7 + j * 5 + h) % 3 != 0);
  masked(report, "boolean", {1, 2, 2, 70, 200, 16, 24}, boolean_mask{visible.cview()});
}

void steps(test::reporter& report) {
  for (problem const& p : one_query()) {
    cuda_operands const f32 = cuda_operands::f32;
    report(p.words("step, window", f32), attends(p, window_mask{5, p.keys - 1}, f32, odd::hidden));
    report(p.words("step, dilated", f32), attends(p, dilated_mask{3}, f32, odd::hidden));
  }
  problem const p{1, 4, 1, 1, 600, 16, 16};  // heads that share keys see others of them
  tensor<bool, 4> visible(pinned_memory(), {1, 4, 1, 600});
  for (index_t h = 0; h < 4; ++h)
    for (index_t j = 0; j < 600; ++j) visible(0, h, 0, j) = j % 29 == 28 ? h == 0 : j % 4 == h && h != 2;
  report(p.words("step, boolean", cuda_operands::bf16),
         attends(p, boolean_mask{visible.cview()}, cuda_operands::bf16, odd::hidden));
}

test::suite const s6{"attention_kernel_masks", masks};
test::suite const s7{"attention_kernel_steps_under_masks", steps};

}  // namespace
