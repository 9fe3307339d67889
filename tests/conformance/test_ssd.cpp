// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/ssd.hpp"

TEMPLATE_TEST_CASE("ssd conforms", "", float, double) { test::conforms<smx::ssd<TestType>>(); }
