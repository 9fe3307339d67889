// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/attention_scores.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const attention_scores_f64{
    "attention_scores_f64", test::conforms<smx::attention<double, smx::full_mask, smx::modified_scores>>};
test::suite const attention_scores_causal_f32{
    "attention_scores_causal_f32",
    test::conforms<smx::attention<float, smx::causal_mask, smx::modified_scores>>};
}  // namespace
