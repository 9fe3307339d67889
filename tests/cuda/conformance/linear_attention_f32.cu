// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/linear_attention.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const linear_attention_f32{"linear_attention_f32",
                                       test::conforms_with_recipes<smx::linear_attention<float>>};
test::suite const retention_f32{
    "retention_f32", test::conforms_with_recipes<smx::linear_attention<float, smx::decay_kind::head>>};
test::suite const simple_gla_f32{
    "simple_gla_f32", test::conforms_with_recipes<smx::linear_attention<float, smx::decay_kind::token>>};
}  // namespace
