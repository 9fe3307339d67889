// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <smx/backend/cpu/attention_kernel.hpp>
#include "../../catch.hpp"
#include "../../scalars.hpp"
#include "attention_oracle.hpp"

namespace {

using smx::causal_mask;
using smx::full_mask;
using smx::index_t;
using smx::cpu_kernels::attention_forward;
using smx::cpu_kernels::attention_panels;
using smx::cpu_kernels::attention_scratch;
using smx::cpu_kernels::attention_shape;
using smx::cpu_kernels::head_rows;
using test::matrix;

template <class T> struct result { matrix<T> o, lse; };

template <class T> head_rows<T const> rows(matrix<T> const& m) { return {m.data.data(), m.stride, 0}; }
template <class T> head_rows<T> rows(matrix<T>& m) { return {m.data.data(), m.stride, 0}; }

template <class T, class M>
result<T> forward(matrix<T> const& q, matrix<T> const& k, matrix<T> const& v, double scale, M const& mask,
                  index_t gap = 0, bool one_by_one = false) {
  result<T> r{matrix<T>(q.rows, v.cols, gap), matrix<T>(q.rows, 1, gap)};
  r.o.fill(T(55));
  using addressed = test::addressed_mask<M>;
  attention_shape const d{q.rows, k.rows, q.cols, v.cols, scale, addressed::batch, addressed::first, 1};
  addressed const at{mask};
  index_t const panels = attention_panels<T>(q.rows);
  // NaN: nobody may rely on what is in scratch.
  std::vector<T> z(static_cast<std::size_t>(attention_scratch<T>(q.cols, v.cols)) + 16,
                   std::numeric_limits<T>::quiet_NaN());
  T* const aligned = z.data() + (64 - reinterpret_cast<std::uintptr_t>(z.data()) % 64) % 64 / sizeof(T);
  for (index_t p = panels; p > 0 && one_by_one; --p)
    attention_forward<T>(d, at, rows(q), rows(k), rows(v), rows(r.o), r.lse.data.data(), r.lse.stride, p - 1,
                         p, aligned);
  if (!one_by_one)
    attention_forward<T>(d, at, rows(q), rows(k), rows(v), rows(r.o), r.lse.data.data(), r.lse.stride, 0,
                         panels, aligned);
  return r;
}

constexpr index_t lengths[] = {1, 2, 7, 16, 17, 48, 49, 64, 65, 100, 161, 333};
constexpr index_t dims[] = {1, 3, 8, 40, 64, 65, 128, 300};

}  // namespace

TEMPLATE_TEST_CASE("attention_forward: the dense formula", "[attention]", TEST_SCALARS) {
  using T = TestType;
  std::mt19937 gen(1);
  double worst_o = 0, worst_lse = 0;
  int turn = 0;
  for (index_t lq : lengths)
    for (index_t dk : dims) {
      ++turn;
      index_t const dv = dims[(turn * 3 + 1) % 8], lk = turn % 3 == 0 ? lengths[(turn * 5) % 12] : lq;
      double const scale = turn % 4 == 0 ? -0.7 : 1 / std::sqrt(double(dk));
      auto const q = test::random_matrix<T>(gen, lq, dk, turn % 5, 2),
                 k = test::random_matrix<T>(gen, lk, dk, turn % 2);
      auto const v = test::random_matrix<T>(gen, lk, dv, turn % 7);
      auto const check = [&](auto const& mask) {
        test::attention_oracle<T> const want(q, k, v, scale, mask);
        auto const got = forward(q, k, v, scale, mask, turn % 3);
        double const eo = test::excess(got.o, want.o), el = test::excess(got.lse, want.lse);
        CAPTURE(lq, lk, dk, dv, scale, eo, el);
        REQUIRE((eo <= 1 && el <= 1));
        REQUIRE((got.o.guarded() && got.lse.guarded()));
        worst_o = std::max(worst_o, eo);
        worst_lse = std::max(worst_lse, el);
      };
      check(full_mask{});
      check(causal_mask{lk - lq});
      check(causal_mask{});
      if (turn % 2 == 0) check(causal_mask{-3});
      check(test::random_mask(gen, lq, lk));
    }
  INFO("largest fraction of the bound: o " << worst_o << ", lse " << worst_lse);
  CHECK(worst_o > 1e-4);  // the bound means something
}

TEMPLATE_TEST_CASE("attention_forward: panels one by one give the same bits", "[attention]", TEST_SCALARS) {
  using T = TestType;
  std::mt19937 gen(2);
  for (index_t l : {1, 49, 161, 333}) {
    auto const q = test::random_matrix<T>(gen, l, 40), k = test::random_matrix<T>(gen, l, 40),
               v = test::random_matrix<T>(gen, l, 65);
    auto const a = forward(q, k, v, 0.2, causal_mask{}, 0, false),
               b = forward(q, k, v, 0.2, causal_mask{}, 0, true);
    CHECK(a.o.data == b.o.data);
    CHECK(a.lse.data == b.lse.data);
  }
}

TEMPLATE_TEST_CASE("attention_forward: a causal prefix does not depend on what follows, bit for bit",
                   "[attention]", TEST_SCALARS) {
  using T = TestType;
  std::mt19937 gen(3);
  index_t const l = 333, d = 24;
  auto const q = test::random_matrix<T>(gen, l, d), k = test::random_matrix<T>(gen, l, d),
             v = test::random_matrix<T>(gen, l, d);
  auto const all = forward(q, k, v, 0.2, causal_mask{});
  for (index_t n : {1, 2, 47, 48, 49, 97, 200}) {
    auto q2 = q, k2 = k, v2 = v;
    q2.rows = k2.rows = v2.rows = n;
    auto const some = forward(q2, k2, v2, 0.2, causal_mask{});
    bool same = true;
    for (index_t i = 0; i < n; ++i)
      for (index_t c = 0; c < d; ++c) same = same && some.o(i, c) == all.o(i, c);
    CAPTURE(n);
    CHECK(same);
  }
}

TEMPLATE_TEST_CASE("attention_forward: NaN and infinity reach the rows that see them, no others",
                   "[attention]", TEST_SCALARS) {
  using T = TestType;
  T const nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  std::mt19937 gen(4);
  for (index_t l : {17, 65, 161, 333}) {
    index_t const dk = 40, dv = 65, n = l;
    auto const q = test::random_matrix<T>(gen, l, dk), k = test::random_matrix<T>(gen, l, dk),
               v = test::random_matrix<T>(gen, l, dv);
    auto const check = [&](auto const& mask) {
      auto const clean = forward(q, k, v, 0.2, mask);
      for (int trial = 0; trial < 6; ++trial) {
        index_t const j = trial == 0 ? n - 1 : static_cast<index_t>(gen() % std::uint64_t(n)),
                      c = static_cast<index_t>(gen() % 40);
        auto bad_k = k, bad_v = v;
        auto bad_q = q;
        bad_k(j, c) = nan;
        bad_v(j, c) = trial % 2 == 0 ? nan : inf;
        bad_q(j, c) = nan;
        auto const by_k = forward(q, bad_k, v, 0.2, mask), by_v = forward(q, k, bad_v, 0.2, mask);
        auto const by_q = forward(bad_q, k, v, 0.2, mask);
        index_t wrong = 0;
        for (index_t i = 0; i < l; ++i) {
          bool const sees = mask.allow(0, 0, i, j), any = !std::isinf(clean.lse(i, 0));
          for (index_t e = 0; e < dv; ++e) {
            wrong += !(sees ? std::isnan(by_k.o(i, e)) : by_k.o(i, e) == clean.o(i, e));
            wrong += !(sees && e == c ? !std::isfinite(by_v.o(i, e)) : by_v.o(i, e) == clean.o(i, e));
            wrong += !(i == j && any ? std::isnan(by_q.o(i, e)) : by_q.o(i, e) == clean.o(i, e));
          }
          wrong += !(sees ? std::isnan(by_k.lse(i, 0)) : by_k.lse(i, 0) == clean.lse(i, 0));
          wrong += by_v.lse(i, 0) != clean.lse(i, 0);
          wrong += !(i == j && any ? std::isnan(by_q.lse(i, 0)) : by_q.lse(i, 0) == clean.lse(i, 0));
        }
        CAPTURE(l, j, c, trial);
        REQUIRE(wrong == 0);
      }
    };
    check(full_mask{});
    check(causal_mask{});
    check(causal_mask{5});
    check(test::random_mask(gen, l, l));
  }
}

TEMPLATE_TEST_CASE("attention_forward: rows without keys", "[attention]", TEST_SCALARS) {
  using T = TestType;
  std::mt19937 gen(5);
  index_t const l = 60;
  auto const q = test::random_matrix<T>(gen, l, 8), v = test::random_matrix<T>(gen, l, 8);
  auto k = test::random_matrix<T>(gen, l, 8);
  k.fill(std::numeric_limits<T>::quiet_NaN());
  auto const check = [&](auto const& r, index_t first) {
    for (index_t i = 0; i < first; ++i) {
      REQUIRE(r.lse(i, 0) == -std::numeric_limits<T>::infinity());
      for (index_t c = 0; c < 8; ++c) REQUIRE(r.o(i, c) == T(0));
    }
  };
  check(forward(q, k, v, 1, causal_mask{-l}), l);
  check(forward(q, k, v, 1, causal_mask{-20}), 20);
  k.rows = 0;
  check(forward(q, k, v, 1, full_mask{}), l);
}

TEMPLATE_TEST_CASE("attention_forward: extreme scores", "[attention]", TEST_SCALARS) {
  using T = TestType;
  T const inf = std::numeric_limits<T>::infinity(), large = T(1e30);
  index_t const l = 101;
  matrix<T> q(l, 1), k(l, 1), v(l, 2);
  for (index_t j = 0; j < l; ++j) v(j, 0) = T(j), v(j, 1) = T(1);
  q.fill(T(1));
  SECTION("one great score takes everything") {
    for (T s : {T(1e4), large}) {
      for (index_t j = 0; j < l; ++j) k(j, 0) = -s;
      k(70, 0) = s;
      auto const r = forward(q, k, v, 1, full_mask{});
      CHECK(r.o(5, 0) == T(70));
      CHECK(std::fabs(r.lse(5, 0) - s) <= s * std::numeric_limits<T>::epsilon() * 2);
    }
  }
  SECTION("all scores alike, however low or high") {
    for (T s : {-large, large}) {
      k.fill(s);
      auto const r = forward(q, k, v, 1, full_mask{});
      CHECK(r.o(5, 0) == Approx(50));
      CHECK(r.o(5, 1) == Approx(1));
    }
  }
  SECTION("scores of +inf share the weight") {
    k.fill(T(3));
    k(10, 0) = k(30, 0) = k(100, 0) = inf;
    auto const r = forward(q, k, v, 1, full_mask{});
    CHECK(r.o(5, 0) == Approx(140. / 3));
    CHECK(r.lse(5, 0) > T(1e37));
    auto const causal = forward(q, k, v, 1, causal_mask{});
    CHECK(causal.o(5, 0) == Approx(2.5));
    CHECK(causal.o(20, 0) == Approx(10));
    CHECK(causal.o(40, 0) == Approx(20));
  }
  SECTION("scores of -inf have no weight; a row of nothing else is empty") {
    k.fill(-inf);
    auto const r = forward(q, k, v, 1, full_mask{});
    CHECK(r.o(5, 0) == T(0));
    CHECK(r.lse(5, 0) == -inf);
    k(99, 0) = T(2);
    auto const s = forward(q, k, v, 1, full_mask{});
    CHECK(s.o(5, 0) == T(99));
    CHECK(s.lse(5, 0) == Approx(2));
  }
}
