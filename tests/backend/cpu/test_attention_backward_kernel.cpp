// SPDX-License-Identifier: Apache-2.0
// Gradients of softmax attention against the dense formulas in float64 and against central differences.
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <smx/backend/cpu/attention_backward_kernel.hpp>
#include <smx/backend/cpu/attention_kernel.hpp>

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

template <class T> head_rows<T const> rows(matrix<T> const& m, index_t head_rows_ = 0) {
  return {m.data.data(), m.stride, head_rows_ * m.stride};
}
template <class T> head_rows<T> rows(matrix<T>& m, index_t head_rows_ = 0) {
  return {m.data.data(), m.stride, head_rows_ * m.stride};
}

/// Scratch that holds NaN: nobody may rely on what is in it.
template <class T> struct scratch {
  std::vector<T> data;
  explicit scratch(index_t n) : data(static_cast<std::size_t>(n) + 16, std::numeric_limits<T>::quiet_NaN()) {}
  T* get() {
    return data.data() + (64 - reinterpret_cast<std::uintptr_t>(data.data()) % 64) % 64 / sizeof(T);
  }
};

template <class T> struct inputs {
  matrix<T> q, k, v, dout, o, lse;  // the heads of a group below each other in q, dout, o, lse
};
template <class T> struct gradients { matrix<T> dq, dk, dv; };

template <class T>
inputs<T> random_inputs(std::mt19937& gen, index_t lq, index_t lk, index_t dk, index_t dv, index_t heads = 1,
                        index_t gap = 0) {
  return {test::random_matrix<T>(gen, heads * lq, dk, gap, 2),
          test::random_matrix<T>(gen, lk, dk, gap),
          test::random_matrix<T>(gen, lk, dv, gap),
          test::random_matrix<T>(gen, heads * lq, dv, gap),
          matrix<T>(heads * lq, dv, gap),
          matrix<T>(heads * lq, 1, gap)};
}

/// Fills o and lse by the forward kernel.
template <class T, class M> void run_forward(inputs<T>& x, double scale, M const& mask, index_t heads = 1) {
  index_t const lq = x.q.rows / heads;
  scratch<T> z(kernels::attention_scratch<T>(x.q.cols, x.v.cols));
  using addressed = test::addressed_mask<M>;
  for (index_t h = 0; h < heads; ++h) {
    kernels::attention_shape const d{
        lq, x.k.rows, x.q.cols, x.v.cols, scale, addressed::batch, addressed::first + h, 1};
    kernels::attention_forward<T>(d, addressed{mask, heads}, rows(x.q, lq).head(h), rows(x.k), rows(x.v),
                                  rows(x.o, lq).head(h), x.lse.data.data() + h * lq * x.lse.stride,
                                  x.lse.stride, 0, kernels::attention_panels<T>(lq), z.get());
  }
}

template <class T, class M>
gradients<T> run_backward(inputs<T> const& x, double scale, M const& mask, index_t heads = 1, index_t gap = 0,
                          index_t first = 0, index_t last = -1) {
  index_t const lq = x.q.rows / heads;
  gradients<T> g{matrix<T>(x.q.rows, x.q.cols, gap), matrix<T>(x.k.rows, x.k.cols, gap),
                 matrix<T>(x.v.rows, x.v.cols, gap)};
  using addressed = test::addressed_mask<M>;
  kernels::attention_shape const d{lq,    x.k.rows,         x.q.cols,         x.v.cols,
                                   scale, addressed::batch, addressed::first, heads};
  scratch<T> z(kernels::attention_backward_scratch<T>(lq, heads, x.q.cols, x.v.cols));
  kernels::attention_backward<T>(d, addressed{mask, heads}, rows(x.q, lq), rows(x.k), rows(x.v),
                                 rows(x.o, lq), x.lse.data.data(), x.lse.stride, lq * x.lse.stride,
                                 rows(x.dout, lq), rows(g.dq, lq), rows(g.dk), rows(g.dv), first,
                                 last < 0 ? kernels::attention_key_blocks<T>(x.k.rows) : last, z.get());
  return g;
}

/// Rows h * n .. of m.
template <class T> matrix<T> part_of(matrix<T> const& m, index_t first, index_t n) {
  matrix<T> r(n, m.cols);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < m.cols; ++j) r(i, j) = m(first + i, j);
  return r;
}

constexpr index_t lengths[] = {1, 2, 7, 16, 17, 48, 49, 64, 65, 100, 161, 333};
constexpr index_t dims[] = {1, 3, 8, 40, 64, 65, 128, 300};

}  // namespace

TEMPLATE_TEST_CASE("attention_backward: the dense formulas", "[cpu][attention]", TEST_SCALARS) {
  using T = TestType;
  std::mt19937 gen(1);
  double worst[3] = {};
  int turn = 0;
  for (index_t lq : lengths)
    for (index_t dk : dims) {
      if (++turn % 2 == 0 && lq > 100) continue;
      index_t const dv = dims[(turn * 3 + 1) % 8], lk = turn % 3 == 0 ? lengths[(turn * 5) % 12] : lq;
      double const scale = turn % 4 == 0 ? -0.7 : 1 / std::sqrt(double(dk));
      auto x = random_inputs<T>(gen, lq, lk, dk, dv, 1, turn % 3);
      auto const check = [&](auto const& mask) {
        test::attention_oracle<T> want(x.q, x.k, x.v, scale, mask);
        want.backward(x.q, x.k, x.v, x.dout, scale, mask);
        for (index_t i = 0; i < lq; ++i) {
          x.lse(i, 0) = static_cast<T>(want.lse(i, 0).value);
          for (index_t c = 0; c < dv; ++c) x.o(i, c) = static_cast<T>(want.o(i, c).value);
        }
        auto const got = run_backward(x, scale, mask, 1, turn % 4);
        double const e[3] = {test::excess(got.dq, want.dq), test::excess(got.dk, want.dk_),
                             test::excess(got.dv, want.dv_)};
        CAPTURE(lq, lk, dk, dv, scale, e[0], e[1], e[2]);
        REQUIRE((e[0] <= 1 && e[1] <= 1 && e[2] <= 1));
        REQUIRE((got.dq.guarded() && got.dk.guarded() && got.dv.guarded()));
        for (int n = 0; n < 3; ++n) worst[n] = std::max(worst[n], e[n]);
      };
      check(full_mask{});
      check(causal_mask{lk - lq});
      check(causal_mask{turn % 2 == 0 ? 0 : -3});
      check(test::random_mask(gen, lq, lk));
    }
  INFO("largest fraction of the bound: " << worst[0] << " " << worst[1] << " " << worst[2]);
  CHECK((worst[0] > 1e-4 && worst[1] > 1e-4 && worst[2] > 1e-4));  // the bounds mean something
}

TEST_CASE("attention_forward and attention_backward agree with central differences", "[cpu][attention]") {
  std::mt19937 gen(2);
  index_t const lq = 9, lk = 11, dk = 5, dv = 3;
  double const scale = 0.4, step = 1e-5;
  auto const check = [&](auto const& mask) {
    auto x = random_inputs<double>(gen, lq, lk, dk, dv);
    run_forward(x, scale, mask);
    auto const g = run_backward(x, scale, mask);
    auto const loss = [&](inputs<double> y) {
      run_forward(y, scale, mask);
      double sum = 0;
      for (index_t i = 0; i < lq; ++i)
        for (index_t c = 0; c < dv; ++c) sum += y.o(i, c) * y.dout(i, c);
      return sum;
    };
    double worst = 0;
    auto const differ = [&](matrix<double> inputs<double>::*member, matrix<double> const& gradient) {
      for (index_t i = 0; i < gradient.rows; ++i)
        for (index_t c = 0; c < gradient.cols; ++c) {
          auto up = x, down = x;
          (up.*member)(i, c) += step;
          (down.*member)(i, c) -= step;
          worst = std::max(worst, std::fabs((loss(up) - loss(down)) / (2 * step) - gradient(i, c)));
        }
    };
    differ(&inputs<double>::q, g.dq);
    differ(&inputs<double>::k, g.dk);
    differ(&inputs<double>::v, g.dv);
    // Third derivatives (below 100 here) times step^2 / 6, rounding of a sum of 27 numbers over step.
    CHECK(worst < 100 * step * step / 6 + 27 * 10 * 2.3e-16 / step);
  };
  check(full_mask{});
  check(causal_mask{lk - lq});
  check(causal_mask{-4});
  check(test::random_mask(gen, lq, lk));
}

TEMPLATE_TEST_CASE("attention_backward: heads of a group add up", "[cpu][attention]", TEST_SCALARS) {
  using T = TestType;
  std::mt19937 gen(3);
  index_t const lq = 130, lk = 150, dk = 24, dv = 17, heads = 3;
  auto x = random_inputs<T>(gen, lq, lk, dk, dv, heads);
  test::head_masks mask;  // another for each head
  for (index_t h = 0; h < heads; ++h) mask.of.push_back(test::random_mask(gen, lq, lk));
  run_forward(x, 0.3, mask, heads);
  auto const all = run_backward(x, 0.3, mask, heads);
  matrix<T> dk_sum(lk, dk), dv_sum(lk, dv);
  dk_sum.fill(0);
  dv_sum.fill(0);
  double size = 0, off = 0;
  for (index_t h = 0; h < heads; ++h) {
    inputs<T> const one{
        part_of(x.q, h * lq, lq),  x.k, x.v, part_of(x.dout, h * lq, lq), part_of(x.o, h * lq, lq),
        part_of(x.lse, h * lq, lq)};
    auto const g = run_backward(one, 0.3, mask.at(h));
    for (index_t i = 0; i < lq; ++i)
      for (index_t c = 0; c < dk; ++c) REQUIRE(all.dq(h * lq + i, c) == g.dq(i, c));
    for (index_t j = 0; j < lk; ++j) {
      for (index_t c = 0; c < dk; ++c)
        dk_sum(j, c) += g.dk(j, c), size = std::max(size, std::fabs(double(g.dk(j, c))));
      for (index_t c = 0; c < dv; ++c)
        dv_sum(j, c) += g.dv(j, c), size = std::max(size, std::fabs(double(g.dv(j, c))));
    }
  }
  for (index_t j = 0; j < lk; ++j) {
    for (index_t c = 0; c < dk; ++c)
      off = std::max(off, std::fabs(double(all.dk(j, c)) - double(dk_sum(j, c))));
    for (index_t c = 0; c < dv; ++c)
      off = std::max(off, std::fabs(double(all.dv(j, c)) - double(dv_sum(j, c))));
  }
  // The same terms in another order: a few additions of numbers up to 3 * size.
  CHECK(off <= 12 * 3 * size * test::unit_roundoff<T>);
}

TEMPLATE_TEST_CASE("attention_backward: blocks of keys one by one", "[cpu][attention]", TEST_SCALARS) {
  using T = TestType;
  std::mt19937 gen(4);
  index_t const l = 333, d = 20, blocks = kernels::attention_key_blocks<T>(l);
  REQUIRE(blocks > 1);
  auto x = random_inputs<T>(gen, l, l, d, d);
  run_forward(x, 0.3, causal_mask{});
  auto const all = run_backward(x, 0.3, causal_mask{});
  matrix<double> dq(l, d);
  dq.fill(0);
  double size = 0, off = 0;
  for (index_t b = 0; b < blocks; ++b) {
    auto const g = run_backward(x, 0.3, causal_mask{}, 1, 0, b, b + 1);
    index_t const first = b * kernels::attention_backward_keys<T>,
                  last = std::min(l, first + kernels::attention_backward_keys<T>);
    for (index_t j = first; j < last; ++j)
      for (index_t c = 0; c < d; ++c) {
        REQUIRE(g.dk(j, c) == all.dk(j, c));
        REQUIRE(g.dv(j, c) == all.dv(j, c));
      }
    REQUIRE((last == l || g.dk(last, 0) == matrix<T>::guard));  // keys of other blocks are left alone
    for (index_t i = 0; i < l; ++i)
      for (index_t c = 0; c < d; ++c)
        dq(i, c) += double(g.dq(i, c)), size = std::max(size, std::fabs(double(g.dq(i, c))));
  }
  for (index_t i = 0; i < l; ++i)
    for (index_t c = 0; c < d; ++c) off = std::max(off, std::fabs(double(all.dq(i, c)) - dq(i, c)));
  CHECK(off <= double(blocks * blocks) * size * test::unit_roundoff<T>);
}

TEMPLATE_TEST_CASE("attention_backward: NaN goes where the formulas take it, nowhere else",
                   "[cpu][attention]", TEST_SCALARS) {
  using T = TestType;
  T const nan = std::numeric_limits<T>::quiet_NaN();
  std::mt19937 gen(5);
  for (index_t l : {17, 65, 161, 333}) {
    index_t const dk = 40, dv = 33;
    auto const check = [&](auto const& mask) {
      auto x = random_inputs<T>(gen, l, l, dk, dv);
      run_forward(x, 0.2, mask);
      auto const clean = run_backward(x, 0.2, mask);
      auto const sees = [&](index_t i, index_t j) { return mask.allow(0, 0, i, j); };
      for (int trial = 0; trial < 8; ++trial) {
        index_t const at =
            trial < 4 ? (trial % 2 == 0 ? l - 1 : 0) : static_cast<index_t>(gen() % std::uint64_t(l));
        index_t const c = static_cast<index_t>(gen() % 33);
        // Rows whose probabilities are NaN, rows whose delta is NaN.
        std::vector<char> p_bad(static_cast<std::size_t>(l), 0), d_bad(p_bad);
        auto y = x;
        int const what = trial % 4;
        if (what == 0) y.q(at, c) = nan;
        if (what == 1) y.k(at, c) = nan;
        if (what == 2) y.v(at, c) = nan;
        if (what == 3) y.dout(at, c) = nan;
        for (index_t i = 0; i < l; ++i) {
          auto const r = static_cast<std::size_t>(i);
          if (what == 0) p_bad[r] = d_bad[r] = i == at;
          if (what == 1) p_bad[r] = d_bad[r] = sees(i, at);
          if (what == 2) d_bad[r] = sees(i, at);
          if (what == 3) d_bad[r] = i == at;
        }
        run_forward(y, 0.2, mask);
        auto const g = run_backward(y, 0.2, mask);
        index_t wrong = 0;
        std::vector<char> k_bad(static_cast<std::size_t>(l), 0), v_bad(k_bad);
        for (index_t i = 0; i < l; ++i) {
          bool any = false;
          for (index_t j = 0; j < l; ++j) {
            if (!sees(i, j)) continue;
            any = true;
            if (d_bad[static_cast<std::size_t>(i)]) k_bad[static_cast<std::size_t>(j)] = 1;
            if (p_bad[static_cast<std::size_t>(i)]) v_bad[static_cast<std::size_t>(j)] = 1;
          }
          bool const bad = any && d_bad[static_cast<std::size_t>(i)];
          for (index_t e = 0; e < dk; ++e)
            wrong += !(bad ? std::isnan(g.dq(i, e)) : g.dq(i, e) == clean.dq(i, e));
        }
        for (index_t j = 0; j < l; ++j) {
          for (index_t e = 0; e < dk; ++e)
            wrong +=
                !(k_bad[static_cast<std::size_t>(j)] ? std::isnan(g.dk(j, e)) : g.dk(j, e) == clean.dk(j, e));
          for (index_t e = 0; e < dv; ++e) {
            bool const bad = v_bad[static_cast<std::size_t>(j)] || (what == 3 && e == c && sees(at, j));
            wrong += !(bad ? std::isnan(g.dv(j, e)) : g.dv(j, e) == clean.dv(j, e));
          }
        }
        CAPTURE(l, at, c, what);
        REQUIRE(wrong == 0);
      }
    };
    check(full_mask{});
    check(causal_mask{});
    check(causal_mask{5});
    check(causal_mask{-7});
    check(test::random_mask(gen, l, l));
  }
}

TEMPLATE_TEST_CASE("attention_backward: rows without keys and extreme scores", "[cpu][attention]",
                   TEST_SCALARS) {
  using T = TestType;
  T const nan = std::numeric_limits<T>::quiet_NaN();
  std::mt19937 gen(6);
  index_t const l = 60, d = 8;
  SECTION("empty rows have no gradient, whatever they hold") {
    auto x = random_inputs<T>(gen, l, l, d, d);
    causal_mask const mask{-20};
    run_forward(x, 1, mask);
    auto y = x;
    for (index_t i = 0; i < 20; ++i)
      for (index_t c = 0; c < d; ++c) y.q(i, c) = y.dout(i, c) = nan;
    for (index_t j = l - 20; j < l; ++j)
      for (index_t c = 0; c < d; ++c) y.k(j, c) = y.v(j, c) = nan;
    run_forward(y, 1, mask);
    auto const a = run_backward(x, 1, mask), b = run_backward(y, 1, mask);
    CHECK(a.dq.data == b.dq.data);
    CHECK(a.dk.data == b.dk.data);
    CHECK(a.dv.data == b.dv.data);
    for (index_t i = 0; i < 20; ++i) CHECK(b.dq(i, 3) == T(0));
    for (index_t j = l - 20; j < l; ++j) CHECK((b.dk(j, 3) == T(0) && b.dv(j, 3) == T(0)));
  }
  SECTION("scores of 1e30, of +inf and of -inf give no NaN") {
    for (T s : {T(1e30), T(-1e30), std::numeric_limits<T>::max(), std::numeric_limits<T>::lowest()}) {
      auto x = random_inputs<T>(gen, l, l, 1, d);
      for (index_t i = 0; i < l; ++i) x.q(i, 0) = T(i % 3), x.k(i, 0) = i % 2 == 0 ? s : T(1);
      run_forward(x, 1.5, causal_mask{});
      auto const g = run_backward(x, 1.5, causal_mask{});
      index_t bad = 0;
      for (index_t i = 0; i < l; ++i) {
        for (index_t c = 0; c < d; ++c) bad += std::isnan(x.o(i, c)) || std::isnan(g.dv(i, c));
        bad += std::isnan(g.dk(i, 0));
      }
      CAPTURE(s);
      CHECK(bad == 0);
    }
  }
  SECTION("a row all of whose scores are -inf has no gradient and gives none") {
    auto x = random_inputs<T>(gen, l, l, 1, d);
    for (index_t i = 0; i < l; ++i)
      x.q(i, 0) = i == l / 2 ? T(-1) : T(2), x.k(i, 0) = std::numeric_limits<T>::lowest();
    for (index_t c = 0; c < d; ++c) x.dout(l / 2, c) = T(0);  // its scores are +inf
    run_forward(x, 1.5, full_mask{});
    auto const g = run_backward(x, 1.5, full_mask{});
    index_t wrong = 0;
    for (index_t i = 0; i < l; ++i) {
      wrong += i != l / 2 && !(x.lse(i, 0) == -std::numeric_limits<T>::infinity() && g.dq(i, 0) == T(0));
      wrong += g.dk(i, 0) != T(0);
      for (index_t c = 0; c < d; ++c) wrong += g.dv(i, c) != T(0);
    }
    CHECK(wrong == 0);
  }
}
