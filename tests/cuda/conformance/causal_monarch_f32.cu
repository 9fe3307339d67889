// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/causal_monarch.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const causal_monarch_f32{"causal_monarch_f32", test::conforms<smx::causal_monarch<float>>};
}  // namespace
