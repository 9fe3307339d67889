// SPDX-License-Identifier: Apache-2.0
// Errors name the argument, what was expected and what came; products of extents never wrap.
#include <limits>
#include <string>

#include <smx/core/check.hpp>

#include "../catch.hpp"

namespace {

using smx::extents;
using smx::index_t;
using smx::precondition_error;
using test::contains;

constexpr index_t top = std::numeric_limits<index_t>::max();

TEST_CASE("expects_extents says which argument, the expected and the actual extents, and where") {
  CHECK_NOTHROW(smx::expects_extents("x", extents<3>{2, 3, 4}, {2, 3, 4}));
  CHECK_NOTHROW(smx::expects_extents("x", extents<3>{2, 3, 4}, {-1, 3, -1}));
  CHECK_THROWS_AS(smx::expects_extents("x", extents<2>{2, 3}, {2, 4}), precondition_error);
  CHECK_THROWS_WITH(smx::expects_extents("forward: x", extents<4>{2, 1, 4095, 768}, {2, 1, 4096, 768}),
                    contains("forward: x: expected extents (2, 1, 4096, 768), got (2, 1, 4095, 768)") &&
                        contains("test_check.cpp:"));
  CHECK_THROWS_WITH(smx::expects_extents("w", extents<2>{5, 0}, {5, -1}),
                    contains("w: expected extents (5, *), got (5, 0)"));
  CHECK_THROWS_WITH(smx::expects_extents("w", extents<2>{5, -3}, {5, -1}), contains("got (5, -3)"));
}

TEST_CASE("every entry of the extents counts") {
  for (int r = 0; r < 4; ++r) {
    extents<4> wrong{3, 4, 5, 6};
    ++wrong[r];
    CHECK_THROWS_AS(smx::expects_extents("x", wrong, {3, 4, 5, 6}), precondition_error);
  }
}

TEST_CASE("expects_value and expects") {
  CHECK_NOTHROW(smx::expects_value(true, "order", "from 2 to 16", 1));
  CHECK_THROWS_WITH(smx::expects_value(false, "order", "from 2 to 16", 17),
                    contains("order: expected from 2 to 16, got 17"));
  CHECK_THROWS_WITH(smx::expects_value(false, "n", "at least 0", std::numeric_limits<index_t>::min()),
                    contains("got -9223372036854775808"));
  CHECK_THROWS_WITH(smx::expects(false, "y: expected memory apart from x"),
                    contains("y: expected memory apart"));
}

TEST_CASE("long messages are cut, not overrun") {
  std::string const name(4000, 'a');
  CHECK_THROWS_WITH(smx::expects(false, name.c_str()), contains("aaaa"));
  CHECK_THROWS_AS(smx::expects_value(false, name.c_str(), name.c_str(), 1), precondition_error);
  CHECK_THROWS_AS(smx::expects_extents(name.c_str(), extents<2>{1, 2}, {2, 1}), precondition_error);
  extents<16> wide = {};
  for (auto& n : wide.n) n = top;
  CHECK_THROWS_AS(smx::expects_extents("x", wide, extents<16>{}), precondition_error);
}

TEST_CASE("checked_size: positive extents whose product fits, or an error that says which extent") {
  CHECK(smx::checked_size(extents<3>{2, 3, 4}) == 24);
  CHECK(smx::checked_size(extents<1>{top}) == top);
  CHECK(smx::checked_size(extents<2>{index_t(1) << 31, index_t(1) << 31}) == index_t(1) << 62);
  CHECK_THROWS_WITH(smx::checked_size(extents<2>{4, 0}, "scratch"),
                    contains("scratch: expected every extent to be at least 1, got 0"));
  CHECK_THROWS_WITH(smx::checked_size(extents<2>{-4, 2}, "x"), contains("got -4"));
  // the product would wrap to 0, to a positive and to a negative number
  CHECK_THROWS_WITH(smx::checked_size(extents<2>{index_t(1) << 32, index_t(1) << 32}, "x"),
                    contains("overflows"));
  CHECK_THROWS_WITH(smx::checked_size(extents<2>{top, 3}, "x"),
                    contains("x: expected a product of extents below 2^63"));
  CHECK_THROWS_AS(smx::checked_size(extents<2>{top, 2}), precondition_error);
  CHECK_THROWS_AS(smx::checked_size(extents<3>{top, top, 0}), precondition_error);
}

TEST_CASE("checked_bytes: the size of the elements can overflow too") {
  CHECK(smx::checked_bytes<double>(extents<2>{3, 5}) == 120);
  CHECK(smx::checked_bytes<float>(extents<1>{top / 4}) == static_cast<std::size_t>(top / 4) * 4);
  CHECK_THROWS_WITH(smx::checked_bytes<float>(extents<1>{top / 4 + 1}, "tensor"),
                    contains("tensor: expected a size in bytes below 2^63"));
}

TEST_CASE("make_extents and deduction") {
  auto const e = smx::make_extents({2, 1, 4096, 768});
  CHECK(e == extents<4>{2, 1, 4096, 768});
  CHECK(decltype(e)::rank() == 4);
  CHECK(extents{index_t(1), index_t(2)} == extents<2>{1, 2});
  CHECK_FALSE(e == extents<4>{2, 1, 4096, 767});
}

TEST_CASE("out_of_memory says how many bytes of what") {
  smx::out_of_memory const e(std::size_t(1) << 60);
  CHECK_THAT(e.what(), contains("1152921504606846976 bytes of host memory"));
  CHECK(e.bytes() == std::size_t(1) << 60);
}

}  // namespace

TEST_CASE("a long name of a function does not push the message out") {
  auto const called_from = [](char const* function) {
    try {
      smx::detail::fail("what went wrong", {"file.hpp", 7, function});
    } catch (smx::precondition_error const& e) { return std::string(e.what()); }
  };
  CHECK_THAT(called_from(std::string(4000, 'f').c_str()), test::contains("what went wrong"));
  CHECK_THAT(called_from("short"), test::contains("file.hpp:7: short: what went wrong"));
}
