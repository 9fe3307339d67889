// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/masks.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const attention_boolean_f32{
    "attention_boolean_f32",
    test::conforms_with_recipes<smx::attention<float, smx::and_mask<smx::boolean_mask, smx::causal_mask>>>};
}  // namespace
