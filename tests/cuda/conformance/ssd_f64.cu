// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/ssd.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const ssd_f64{"ssd_f64", test::conforms_with_recipes<smx::ssd<double>>};
}  // namespace
