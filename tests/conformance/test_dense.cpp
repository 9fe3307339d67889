// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/dense.hpp"

TEMPLATE_TEST_CASE("dense conforms", "", float, double) { test::conforms<smx::dense<TestType>>(); }
TEMPLATE_TEST_CASE("causal dense conforms", "", float, double) {
  test::conforms<smx::dense<TestType, true>>();
}
