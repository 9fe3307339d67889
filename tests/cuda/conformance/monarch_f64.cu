// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/block_diagonal.hpp"
#include "tests/conformance/cases/dense.hpp"
#include "tests/conformance/cases/monarch.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const monarch_f64{"monarch_f64", test::conforms<smx::monarch<double>>};
test::suite const block_diagonal_f64{"block_diagonal_f64", test::conforms<smx::block_diagonal<double>>};
test::suite const dense_f64{"dense_f64", test::conforms<smx::dense<double>>};
test::suite const dense_causal_f64{"dense_causal_f64", test::conforms<smx::dense<double, true>>};
}  // namespace
