// SPDX-License-Identifier: Apache-2.0
#include <concepts>
#include <type_traits>

#include <smx/core/inline_vector.hpp>

#include "../catch.hpp"

namespace {

using list = smx::inline_vector<int, 3>;

TEST_CASE("a list of up to its capacity; one more throws and changes nothing") {
  list v;
  CHECK(v.empty());
  for (int i = 0; i < 3; ++i) v.push_back(10 + i);
  CHECK(v.size() == 3);
  CHECK(v[2] == 12);
  CHECK_THROWS_WITH(v.push_back(1),
                    test::contains("inline_vector: expected no more entries than its capacity, got 4"));
  CHECK(v == list{10, 11, 12});
  CHECK_THROWS_AS((list{1, 2, 3, 4}), smx::precondition_error);
}

TEST_CASE("equality looks at the entries in use only") {
  list a{1, 2}, b{1, 2, 3};
  CHECK_FALSE(a == b);
  b.count = 2;  // the third entry stays behind
  CHECK(a == b);
  CHECK_FALSE(a == list{1, 3});
  CHECK(list{} == list{});
}

TEST_CASE("a regular, trivially copyable value that works at compile time") {
  STATIC_REQUIRE(std::regular<list>);
  STATIC_REQUIRE(std::is_trivially_copyable_v<list>);
  STATIC_REQUIRE(list{4, 5}.size() == 2);
  int sum = 0;
  for (int const i : list{4, 5, 6}) sum += i;
  CHECK(sum == 15);
}

}  // namespace
