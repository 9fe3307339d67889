// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/masks.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const attention_window_f32{"attention_window_f32",
                                       test::conforms_with_recipes<smx::attention<float, smx::window_mask>>};
}  // namespace
