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
}

TEST_CASE("parts whose exponentials no type holds merge") {
  cpu be(1);
  for (double lse : {-2000.0, 0.0, 2000.0}) {
    partial_attention_in<T, host_space> a{tensor<T, 4>({1, 1, 2, 1}), tensor<T, 4>({1, 1, 2, 1})},
        b{tensor<T, 4>({1, 1, 2, 1}), tensor<T, 4>({1, 1, 2, 1})};
    a.y(0, 0, 0, 0) = a.y(0, 0, 1, 0) = 1, b.y(0, 0, 0, 0) = b.y(0, 0, 1, 0) = 5;
    a.lse(0, 0, 0, 0) = lse, b.lse(0, 0, 0, 0) = lse + std::log(3.0);
    a.lse(0, 0, 1, 0) = lse + 1000, b.lse(0, 0, 1, 0) = lse - 1000;
    auto const all = merge(be, a, b);
    // three quarters of the weight are b's; |lse| eps is what a share is off by
    CHECK(all.y(0, 0, 0, 0) == test::Approx(4).epsilon(1e-12));
    CHECK(all.lse(0, 0, 0, 0) == test::Approx(lse + std::log(4.0)).epsilon(1e-14));
    CHECK(all.y(0, 0, 1, 0) == 1);
    CHECK(all.lse(0, 0, 1, 0) == lse + 1000);
  }
}

TEST_CASE("merge reads and writes views of any strides") {
  cpu be(1);
  auto const ya = random_normal<T>(be, {2, 3, 5, 4}, 1), yb = random_normal<T>(be, {2, 3, 5, 4}, 2),
             la = random_normal<T>(be, {2, 3, 5, 1}, 3), lb = random_normal<T>(be, {2, 3, 5, 1}, 4);
  tensor<T, 4> y(ya.extents()), lse(la.extents()), turned({5, 2, 4, 3}), wide({3, 2, 5, 2});
  merge<T>(be, ya.cview(), la.cview(), yb.cview(), lb.cview(), y.view(), lse.view());
  auto const at = [](auto const& v) { return swap_axes(swap_axes(swap_axes(v, 2, 3), 0, 1), 1, 2); };
  out<cpu, T, 4> const to = at(turned.view());  // (2,3,5,4) in another order
  REQUIRE(to.ext == y.extents());
  merge<T>(be, ya.cview(), la.cview(), yb.cview(), lb.cview(), to,
           slice(swap_axes(wide.view(), 0, 1), 3, 1, 1));
  CHECK(testing::values(to) == testing::values(y.cview()));
  CHECK(testing::values(slice(swap_axes(wide.view(), 0, 1), 3, 1, 1)) == testing::values(lse.cview()));
}

TEST_CASE("merge refuses parts that do not fit, and writes nothing") {
  cpu be(1);
  auto const y = random_normal<T>(be, {1, 2, 4, 6}, 1), lse = random_normal<T>(be, {1, 2, 4, 1}, 2),
             tall = random_normal<T>(be, {1, 2, 8, 6}, 1), few = random_normal<T>(be, {1, 2, 3, 1}, 2);
  tensor<T, 4> to({1, 2, 4, 6}), sum({1, 2, 4, 1}), narrow({1, 2, 4, 2});
  auto const given = [&](auto const& y1, auto const& lse1, auto const& y2, auto const& lse2, auto& out_lse) {
    merge<T>(be, y1.cview(), lse1.cview(), y2.cview(), lse2.cview(), to.view(), out_lse.view());
  };
  CHECK_THROWS_WITH(given(tall, lse, y, lse, sum),
                    test::contains("merge: y1: expected extents (1, 2, 4, 6), got (1, 2, 8, 6)"));
  CHECK_THROWS_WITH(given(y, lse, tall, lse, sum), test::contains("merge: y2: expected extents"));
  CHECK_THROWS_WITH(given(y, few, y, lse, sum),
                    test::contains("merge: lse1: expected extents (1, 2, 4, 1), got (1, 2, 3, 1)"));
  CHECK_THROWS_WITH(given(y, lse, y, few, sum), test::contains("merge: lse2: expected extents"));
  CHECK_THROWS_WITH(given(y, lse, y, lse, narrow), test::contains("merge: lse: expected extents"));
  for (double entry : testing::values(to.cview())) CHECK(entry == 0);
  for (double entry : testing::values(sum.cview())) CHECK(entry == 0);
}

TEST_CASE("merge gives its scratch back") {
  reference_backend be;
  auto const y = random_normal<T>(be, {1, 2, 4, 6}, 1), lse = random_normal<T>(be, {1, 2, 4, 1}, 2);
  tensor<T, 4> to({1, 2, 4, 6}), sum({1, 2, 4, 1});
  auto const run = [&] {
    merge<T>(be, y.cview(), lse.cview(), y.cview(), lse.cview(), to.view(), sum.view());
  };
  auto const next = [&] {
    auto inner = be.scope();
    return be.template scratch<T>(extents<1>{1}).ptr;
  };
  run();
  auto frame = be.scope();  // in one block, which the first call made large enough
  auto const* const where = next();
  run();
  CHECK(next() == where);
}
