// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/long_convolution.hpp"

TEMPLATE_TEST_CASE("long_convolution conforms", "", float, double) {
  test::conforms<smx::long_convolution<TestType>>();
}
