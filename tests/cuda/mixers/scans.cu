// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/linear_attention.hpp"
#include "tests/conformance/cases/nc_ssd.hpp"
#include "tests/conformance/cases/ssd.hpp"
#include "tests/cuda/short.cuh"

namespace {
test::suite const ssd{"short_ssd", test::in_short<smx::ssd<float>>};
test::suite const simple_gla{"short_simple_gla",
                             test::in_short<smx::linear_attention<float, smx::decay_kind::token>>};
test::suite const nc_ssd{"short_nc_ssd", test::in_short<smx::nc_ssd<float>>};
}  // namespace
