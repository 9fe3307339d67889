// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/attention.hpp"

TEMPLATE_TEST_CASE("attention conforms", "", float, double) { test::conforms<smx::attention<TestType>>(); }
