// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/masks.hpp"

TEST_CASE("attention under a boolean and a causal mask conforms") {
  test::conforms<smx::attention<double, smx::and_mask<smx::boolean_mask, smx::causal_mask>>>();
}
