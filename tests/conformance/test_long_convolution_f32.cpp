// SPDX-License-Identifier: Apache-2.0
/// \file  All kinds of one element type in one translation unit: they share the kernels.
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/long_convolution.hpp"

using smx::convolution_kind;
using smx::long_convolution;

TEMPLATE_TEST_CASE("long_convolution conforms, f32", "", (long_convolution<float>),
                   (long_convolution<float, convolution_kind::causal, smx::evaluation::exact>),
                   (long_convolution<float, convolution_kind::bidirectional>),
                   (long_convolution<float, convolution_kind::circular>)) {
  test::conforms<TestType>();
}
