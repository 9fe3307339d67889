// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/masked_monarch.hpp"

TEMPLATE_TEST_CASE("masked_monarch conforms", "", float, double) {
  test::conforms<smx::masked_monarch<TestType>>();
}
