// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/linear_attention.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const linear_attention_f64{"linear_attention_f64",
                                       test::conforms_with_recipes<smx::linear_attention<double>>};
test::suite const retention_f64{
    "retention_f64", test::conforms_with_recipes<smx::linear_attention<double, smx::decay_kind::head>>};
test::suite const simple_gla_f64{
    "simple_gla_f64", test::conforms_with_recipes<smx::linear_attention<double, smx::decay_kind::token>>};
}  // namespace
