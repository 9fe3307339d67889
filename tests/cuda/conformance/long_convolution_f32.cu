// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/long_convolution.hpp"
#include "tests/cuda/conformance.cuh"

namespace {
test::suite const long_convolution_f32{"long_convolution_f32",
                                       test::conforms_with_recipes<smx::long_convolution<float>>};
test::suite const long_convolution_exact_f32{
    "long_convolution_exact_f32",
    test::conforms<smx::long_convolution<float, smx::convolution_kind::causal, smx::evaluation::exact>>};
test::suite const long_convolution_bidirectional_f32{
    "long_convolution_bidirectional_f32",
    test::conforms_with_recipes<smx::long_convolution<float, smx::convolution_kind::bidirectional>>};
test::suite const long_convolution_circular_f32{
    "long_convolution_circular_f32",
    test::conforms_with_recipes<smx::long_convolution<float, smx::convolution_kind::circular>>};
}  // namespace
