// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/long_convolution.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const long_convolution_f64{"long_convolution_f64",
                                       test::conforms_with_recipes<smx::long_convolution<double>>};
test::suite const long_convolution_exact_f64{
    "long_convolution_exact_f64",
    test::conforms<smx::long_convolution<double, smx::convolution_kind::causal, smx::evaluation::exact>>};
test::suite const long_convolution_bidirectional_f64{
    "long_convolution_bidirectional_f64",
    test::conforms_with_recipes<smx::long_convolution<double, smx::convolution_kind::bidirectional>>};
test::suite const long_convolution_circular_f64{
    "long_convolution_circular_f64",
    test::conforms_with_recipes<smx::long_convolution<double, smx::convolution_kind::circular>>};
}  // namespace
