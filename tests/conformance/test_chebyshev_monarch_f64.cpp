// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cases/causal_monarch.hpp"

TEMPLATE_TEST_CASE("chebyshev_monarch conforms, f64", "", smx::chebyshev_monarch<double>,
                   (smx::chebyshev_monarch<double, smx::evaluation::exact>)) {
  test::conforms<TestType>();
}
