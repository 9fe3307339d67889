// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/attention.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const attention_f64{"attention_f64", test::conforms_with_recipes<smx::attention<double>>};
test::suite const attention_causal_f64{"attention_causal_f64",
                                       test::conforms_with_recipes<smx::attention<double, smx::causal_mask>>};
}  // namespace
