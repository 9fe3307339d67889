// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/masks.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const attention_block_causal_f32{
    "attention_block_causal_f32", test::conforms_with_recipes<smx::attention<float, smx::block_causal_mask>>};
}  // namespace
