// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/block_diagonal.hpp"

TEMPLATE_TEST_CASE("block_diagonal conforms", "", float, double) {
  test::conforms<smx::block_diagonal<TestType>>();
}
