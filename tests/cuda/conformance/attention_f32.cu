// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/attention.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const attention_f32{"attention_f32", test::conforms_with_recipes<smx::attention<float>>};
}  // namespace
