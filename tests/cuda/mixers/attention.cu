// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/attention_scores.hpp"
#include "tests/conformance/cases/masks.hpp"
#include "tests/cuda/short.cuh"

namespace {
test::suite const attention{"short_attention", test::in_short<smx::attention<float>>};
test::suite const attention_causal{"short_attention_causal",
                                   test::in_short<smx::attention<float, smx::causal_mask>>};
test::suite const attention_modified{
    "short_attention_modified",
    test::in_short<smx::attention<float, smx::causal_mask, smx::modified_scores>>};
}  // namespace
