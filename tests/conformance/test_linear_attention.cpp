// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/linear_attention.hpp"

using smx::decay_kind;

TEMPLATE_TEST_CASE("linear attention conforms", "", float, double) {
  test::conforms<smx::linear_attention<TestType>>();
}
TEMPLATE_TEST_CASE("retention conforms", "", float, double) {
  test::conforms<smx::linear_attention<TestType, decay_kind::head>>();
}
TEMPLATE_TEST_CASE("simple_gla conforms", "", float, double) {
  test::conforms<smx::linear_attention<TestType, decay_kind::token>>();
}
