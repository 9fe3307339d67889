// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/masks.hpp"

TEMPLATE_TEST_CASE("attention under a window_mask conforms", "", float, double) {
  test::conforms<smx::attention<TestType, smx::window_mask>>();
}
