// SPDX-License-Identifier: Apache-2.0
// Attention over parts of the keys, merged in any order, is attention over all of them.
#include <limits>

#include <smx/backend/cpu.hpp>
#include <smx/smx.hpp>
#include <smx/testing/numbers.hpp>

#include "tests/catch.hpp"

namespace {

using namespace smx;
using T = double;
using mixer = attention<T, causal_mask>;

/// Each share is off by an exp of a rounded difference of lse, some 8 eps of |lse| < 10, and by few roundings
/// for each merge; y is a mean of values below 5.
constexpr double bound = 1e-13;

void check_equal(tensor<T, 4> const& a, tensor<T, 4> const& b) {
  auto const x = testing::values(a.cview()), y = testing::values(b.cview());
  REQUIRE(x.size() == y.size());
  for (std::size_t n = 0; n < x.size(); ++n)
    if (x[n] != y[n]) CHECK(std::fabs(x[n] - y[n]) <= bound);  // equal infinities are equal
}

}  // namespace

TEST_CASE("parts of the keys merge in any order") {
  cpu be(2);
  auto const q = random_normal<T>(be, {2, 4, 13, 6}, 1), k = random_normal<T>(be, {2, 2, 17, 6}, 2),
             v = random_normal<T>(be, {2, 2, 17, 5}, 3);
  // query i sees keys j <= i; a part that starts at key s sees them from -s on
  auto const part = [&](index_t first, index_t count) {
    return partial_attention(be, mixer{.mask = {-first}}, {}, q, slice(k.cview(), 2, first, count),
                             slice(v.cview(), 2, first, count));
  };
  auto const whole = part(0, 17), a = part(0, 3), b = part(3, 8), c = part(11, 6);
  CHECK(c.lse.cview()(0, 0, 5, 0) == -std::numeric_limits<T>::infinity());  // rows before key 11 see nothing
  for (auto const& all :
       {merge(be, merge(be, a, b), c), merge(be, c, merge(be, b, a)), merge(be, merge(be, c, a), b)}) {
    check_equal(all.y, whole.y);
    check_equal(all.lse, whole.lse);
  }
}

TEST_CASE("merging with an empty part changes no bit, and its values are not read") {
  cpu be(1);
  auto const q = random_normal<T>(be, {1, 2, 4, 6}, 1), k = random_normal<T>(be, {1, 2, 7, 6}, 2);
  auto const some = partial_attention(be, mixer{.mask = {3}}, {}, q, k, k);
  auto nothing = partial_attention(be, mixer{.mask = {-100}}, {}, q, k, k);
  testing::fill(nothing.y.view(), std::numeric_limits<T>::quiet_NaN());
  for (auto const& all : {merge(be, some, nothing), merge(be, nothing, some)}) {
    CHECK(testing::values(all.y.cview()) == testing::values(some.y.cview()));
    CHECK(testing::values(all.lse.cview()) == testing::values(some.lse.cview()));
  }
  auto const none = merge(be, nothing, nothing);
  for (double y : testing::values(none.y.cview())) CHECK(y == 0);
  for (double lse : testing::values(none.lse.cview())) CHECK(lse == -std::numeric_limits<T>::infinity());
}

TEST_CASE("merge writes into a part, on any backend") {
  reference_backend be;
  auto const q = random_normal<T>(be, {1, 1, 4, 6}, 1), k = random_normal<T>(be, {1, 1, 8, 6}, 2);
  attention<T> const m;
  auto const half = [&](index_t first) {
    return partial_attention(be, m, {}, q, slice(k.cview(), 2, first, 4), slice(k.cview(), 2, first, 4));
  };
  auto a = half(0);
  auto const b = half(4), whole = partial_attention(be, m, {}, q, k, k);
  merge<T>(be, a.y.cview(), a.lse.cview(), b.y.cview(), b.lse.cview(), a.y.view(), a.lse.view());
  check_equal(a.y, whole.y);
  check_equal(a.lse, whole.lse);
  CHECK_THROWS_WITH(
      merge<T>(be, a.y.cview(), a.lse.cview(), k.cview(), b.lse.cview(), a.y.view(), a.lse.view()),
      test::contains("merge: y2: expected extents (1, 1, 4, 6), got (1, 1, 8, 6)"));
}
