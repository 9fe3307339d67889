// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/causal_monarch.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const chebyshev_monarch_f32{"chebyshev_monarch_f32",
                                        test::conforms<smx::chebyshev_monarch<float>>};
test::suite const chebyshev_monarch_exact_f32{
    "chebyshev_monarch_exact_f32", test::conforms<smx::chebyshev_monarch<float, smx::evaluation::exact>>};
}  // namespace
