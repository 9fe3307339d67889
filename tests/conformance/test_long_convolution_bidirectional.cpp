// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/long_convolution.hpp"

TEMPLATE_TEST_CASE("bidirectional long_convolution conforms", "", float, double) {
  using enum smx::convolution_kind;
  test::conforms<smx::long_convolution<TestType, bidirectional>>();
}
