// SPDX-License-Identifier: Apache-2.0
/// \file  The conformance suite for Catch2 2.13 and 3: one assertion for each law, example and backend.
///
/// ```cpp
/// TEMPLATE_TEST_CASE("my_mixer conforms", "", my_mixer<float>, my_mixer<double>) {
///   smx::testing::conforms<TestType>(backends);
/// }
/// ```
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <smx/testing/suite.hpp>

namespace smx::testing {

/// Runs check_mixer and turns each verdict into an assertion; a failure says which law, mixer, extents and
/// backend.
template <HasCases M, class Backends>
void conforms(Backends const& backends, long (*allocations)() = nullptr) {
  check_mixer<M>(backends, allocations, [](std::string const& what, verdict const& found) {
    if (found)
      FAIL_CHECK(what << "\n  " << *found);
    else
      SUCCEED();
  });
}

}  // namespace smx::testing
