// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/causal_monarch.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const causal_monarch_f64{"causal_monarch_f64", test::conforms<smx::causal_monarch<double>>};
test::suite const causal_monarch_exact_f64{
    "causal_monarch_exact_f64", test::conforms<smx::causal_monarch<double, smx::evaluation::exact>>};
}  // namespace
