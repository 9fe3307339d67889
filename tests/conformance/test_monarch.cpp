// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/monarch.hpp"

TEMPLATE_TEST_CASE("monarch conforms", "", float, double) { test::conforms<smx::monarch<TestType>>(); }
