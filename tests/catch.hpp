// SPDX-License-Identifier: Apache-2.0
/// \file  Catch2 2.13 and 3 under one name: tests include this header and use what both have.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <string>

namespace test {

#if __has_include(<catch2/catch_all.hpp>)
using Catch::Approx;
#else
using Catch::Detail::Approx;
#endif

/// Matches text that contains `part`: `CHECK_THROWS_WITH(f(x), test::contains("x: expected"))`.
inline auto contains(std::string const& part) {
#if __has_include(<catch2/catch_all.hpp>)
  return Catch::Matchers::ContainsSubstring(part);
#else
  return Catch::Matchers::Contains(part);
#endif
}

}  // namespace test
