// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/masked_monarch.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const masked_monarch_f64{"masked_monarch_f64", test::conforms<smx::masked_monarch<double>>};
}  // namespace
