// SPDX-License-Identifier: Apache-2.0
/// \file  The attention kernels under masks that read arrays and masks made of others, against an oracle in
/// double.
#include "tests/cuda/kernels/attention_case.cuh"

namespace {

using namespace test::attention_kernel;

void mask_algebra(test::reporter& report) {
  problem const p{1, 2, 1, 150, 150, 16, 16}, two{2, 2, 1, 150, 150, 16, 16};
  tensor<index_t, 1> const starts = pinned({0, 3, 70, 70, 110, 150}), lengths = pinned({140, 9});
  masked(report, "packed", p, packed_mask{starts.data(), 5, nullptr});
  masked(report, "prefix", two, prefix_mask{lengths.data(), 2, 0});
  masked(report, "window or partial causal", p, window_mask{9} | partial_causal_mask{4});
  masked(report, "dilated causal", p, dilated_mask{3} & causal_mask{});
}

test::suite const s8{"attention_kernel_mask_algebra", mask_algebra};

}  // namespace
