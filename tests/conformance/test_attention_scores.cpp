// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/attention_scores.hpp"

TEST_CASE("attention with modified scores conforms") {
  test::conforms<smx::attention<double, smx::full_mask, smx::modified_scores>>();
}
TEST_CASE("causal attention with modified scores conforms") {
  test::conforms<smx::attention<float, smx::causal_mask, smx::modified_scores>>();
}
