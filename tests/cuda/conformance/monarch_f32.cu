// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/block_diagonal.hpp"
#include "tests/conformance/cases/dense.hpp"
#include "tests/conformance/cases/monarch.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const monarch_f32{"monarch_f32", test::conforms<smx::monarch<float>>};
test::suite const block_diagonal_f32{"block_diagonal_f32", test::conforms<smx::block_diagonal<float>>};
test::suite const dense_f32{"dense_f32", test::conforms<smx::dense<float>>};
test::suite const dense_causal_f32{"dense_causal_f32", test::conforms<smx::dense<float, true>>};
}  // namespace
