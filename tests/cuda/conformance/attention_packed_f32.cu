// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/masks.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const attention_packed_f32{"attention_packed_f32",
                                       test::conforms_with_recipes<smx::attention<float, smx::packed_mask>>};
}  // namespace
