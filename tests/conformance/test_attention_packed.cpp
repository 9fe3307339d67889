// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/masks.hpp"

TEMPLATE_TEST_CASE("attention under a packed_mask conforms", "", float) {
  test::conforms<smx::attention<TestType, smx::packed_mask>>();
}
