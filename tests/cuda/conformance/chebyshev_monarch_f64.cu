// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/causal_monarch.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const chebyshev_monarch_f64{"chebyshev_monarch_f64",
                                        test::conforms<smx::chebyshev_monarch<double>>};
test::suite const chebyshev_monarch_exact_f64{
    "chebyshev_monarch_exact_f64", test::conforms<smx::chebyshev_monarch<double, smx::evaluation::exact>>};
}  // namespace
