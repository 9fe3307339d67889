// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/nc_ssd.hpp"

TEMPLATE_TEST_CASE("nc_ssd conforms", "", float, double) {
  using smx::pattern;
  using mixer = smx::nc_ssd<TestType>;
  STATIC_REQUIRE(smx::supports<mixer, pattern::noncausal_self>);
  STATIC_REQUIRE(smx::supports<mixer, pattern::noncausal_cross>);
  STATIC_REQUIRE(smx::supports<mixer, pattern::causal_cross>);
  STATIC_REQUIRE(!smx::supports<mixer, pattern::causal_self>);
  test::conforms<mixer>();
}
