// SPDX-License-Identifier: Apache-2.0
/// \file  The attention kernels under causal, window and boolean masks, for many queries, against an oracle
/// in double.
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

test::suite const s3{"attention_kernel_masks", masks};

}  // namespace
