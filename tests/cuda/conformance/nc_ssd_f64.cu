// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/nc_ssd.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const nc_ssd_f64{"nc_ssd_f64", test::conforms<smx::nc_ssd<double>>};
}  // namespace
