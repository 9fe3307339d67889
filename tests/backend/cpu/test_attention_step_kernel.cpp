// SPDX-License-Identifier: Apache-2.0
// One query row per head over a cache, against the dense formula in float64.
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <smx/backend/cpu/attention_step_kernel.hpp>

#include "../../catch.hpp"
#include "../../scalars.hpp"
#include "attention_oracle.hpp"

namespace {

namespace kernels = smx::cpu_kernels;
using kernels::head_rows;
using smx::causal_mask;
using smx::full_mask;
using smx::index_t;
using test::matrix;

template <class T> struct result {
  matrix<T> o, lse;  // a row per head
};

/// A row of q per head.
template <class T, class M>
result<T> step(matrix<T> const& q, matrix<T> const& k, matrix<T> const& v, double scale, M const& mask) {
  index_t const heads = q.rows;
  result<T> r{matrix<T>(heads, v.cols, 3), matrix<T>(heads, 1, 2)};
  std::vector<T> z(static_cast<std::size_t>(kernels::attention_step_scratch<T>(heads, q.cols, v.cols)) + 17,
                   std::numeric_limits<T>::quiet_NaN());
  T* const aligned = z.data() + (64 - reinterpret_cast<std::uintptr_t>(z.data()) % 64) % 64 / sizeof(T);
  using addressed = test::addressed_mask<M>;
  kernels::attention_shape const d{1,     k.rows,           q.cols,           v.cols,
                                   scale, addressed::batch, addressed::first, heads};
  kernels::attention_step<T>(d, addressed{mask, heads}, {q.data.data(), 0, q.stride},
                             {k.data.data(), k.stride, 0}, {v.data.data(), v.stride, 0},
                             {r.o.data.data(), 0, r.o.stride}, r.lse.data.data(), r.lse.stride, aligned);
  return r;
}

template <class T> matrix<T> row_of(matrix<T> const& m, index_t i) {
  matrix<T> r(1, m.cols);
  for (index_t c = 0; c < m.cols; ++c) r(0, c) = m(i, c);
  return r;
}

}  // namespace

TEMPLATE_TEST_CASE("attention_step: the dense formula", "[cpu][attention]", TEST_SCALARS) {
  using T = TestType;
  std::mt19937 gen(1);
  int turn = 0;
  for (index_t t : {1, 2, 7, 15, 16, 17, 48, 64, 65, 100, 333})
    for (index_t dk : {1, 3, 8, 40, 64, 65, 128, 300}) {
      index_t const dv = ++turn % 3 == 0 ? 65 : turn % 3 == 1 ? dk : 8, heads = 1 + turn % 10;
      double const scale = turn % 4 == 0 ? -0.7 : 1 / std::sqrt(double(dk));
      auto const q = test::random_matrix<T>(gen, heads, dk, turn % 5, 2);
      auto const k = test::random_matrix<T>(gen, t, dk, turn % 2),
                 v = test::random_matrix<T>(gen, t, dv, turn % 4);
      auto const check = [&](auto const& mask) {
        auto const got = step(q, k, v, scale, mask);
        REQUIRE((got.o.guarded() && got.lse.guarded()));
        for (index_t h = 0; h < heads; ++h) {
          test::attention_oracle<T> const want(row_of(q, h), k, v, scale, mask, 0, h);
          double const eo = test::excess(row_of(got.o, h), want.o),
                       el = test::excess(row_of(got.lse, h), want.lse);
          CAPTURE(t, dk, dv, h, eo, el);
          REQUIRE((eo <= 1 && el <= 1));
        }
      };
      check(full_mask{});
      check(causal_mask{t - 1});
      check(causal_mask{t / 2});
      check(causal_mask{-1});
      test::head_masks each;
      for (index_t h = 0; h < heads; ++h) each.of.push_back(test::random_mask(gen, 1, t));
      check(each);
    }
}

TEMPLATE_TEST_CASE("attention_step: NaN reaches the heads that see it, no others", "[cpu][attention]",
                   TEST_SCALARS) {
  using T = TestType;
  T const nan = std::numeric_limits<T>::quiet_NaN();
  std::mt19937 gen(2);
  for (int trial = 0; trial < 60; ++trial) {
    index_t const t = 20 + trial, heads = 3, d = 24, j = static_cast<index_t>(gen() % std::uint64_t(t)),
                  c = trial % 24;
    auto const q = test::random_matrix<T>(gen, heads, d), k = test::random_matrix<T>(gen, t, d),
               v = test::random_matrix<T>(gen, t, d);
    test::head_masks mask;
    for (index_t h = 0; h < heads; ++h) mask.of.push_back(test::random_mask(gen, 1, t));
    auto bad_k = k, bad_v = v, bad_q = q;
    bad_k(j, c) = bad_v(j, c) = bad_q(1, c) = nan;
    auto const clean = step(q, k, v, 0.2, mask), by_k = step(q, bad_k, v, 0.2, mask);
    auto const by_v = step(q, k, bad_v, 0.2, mask), by_q = step(bad_q, k, v, 0.2, mask);
    index_t wrong = 0;
    for (index_t h = 0; h < heads; ++h) {
      bool const sees = mask.allow(0, h, 0, j), any = !std::isinf(clean.lse(h, 0));
      for (index_t e = 0; e < d; ++e) {
        wrong += !(sees ? std::isnan(by_k.o(h, e)) : by_k.o(h, e) == clean.o(h, e));
        wrong += !(sees && e == c ? std::isnan(by_v.o(h, e)) : by_v.o(h, e) == clean.o(h, e));
        wrong += !(h == 1 && any ? std::isnan(by_q.o(h, e)) : by_q.o(h, e) == clean.o(h, e));
      }
      wrong += !(sees ? std::isnan(by_k.lse(h, 0)) : by_k.lse(h, 0) == clean.lse(h, 0));
    }
    CAPTURE(trial, j, c);
    REQUIRE(wrong == 0);
  }
}

TEMPLATE_TEST_CASE("attention_step: extreme scores", "[cpu][attention]", TEST_SCALARS) {
  using T = TestType;
  T const inf = std::numeric_limits<T>::infinity();
  index_t const t = 40;
  matrix<T> q(1, 1), k(t, 1), v(t, 1);
  q(0, 0) = T(1);
  for (index_t j = 0; j < t; ++j) v(j, 0) = T(j), k(j, 0) = T(-1e30);
  CHECK(step(q, k, v, 1, full_mask{}).o(0, 0) == Approx(19.5));
  k(30, 0) = T(1e30);
  CHECK(step(q, k, v, 1, full_mask{}).o(0, 0) == T(30));
  k(3, 0) = k(20, 0) = inf;
  CHECK(step(q, k, v, 1, full_mask{}).o(0, 0) == Approx(11.5));
  k.fill(-inf);
  CHECK(step(q, k, v, 1, full_mask{}).o(0, 0) == T(0));
  CHECK(step(q, k, v, 1, full_mask{}).lse(0, 0) == -inf);
}
