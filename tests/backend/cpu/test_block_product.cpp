// SPDX-License-Identifier: Apache-2.0
// C = alpha op(A) op(B) + beta C against plain loops in double precision.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <smx/backend/cpu/block_product.hpp>

#include "../../catch.hpp"
#include "../../scalars.hpp"

namespace {

namespace kernels = smx::cpu_kernels;
using smx::index_t;
using smx::op;

template <class T> std::vector<T> numbers(index_t n, std::uint32_t seed) {
  std::vector<T> v(static_cast<std::size_t>(n));
  std::uint32_t s = seed * 2654435761u + 12345u;
  for (auto& x : v) {
    s = s * 1664525u + 1013904223u;
    x = static_cast<T>(static_cast<double>(s >> 8) / 8388608.0 - 1.0);
  }
  return v;
}

/// Scratch of exactly the promised size, aligned to a vector, with a guard behind it.
template <class T> class scratch {
 public:
  explicit scratch(index_t n) : n_(static_cast<std::size_t>(n)), memory_(n_ + 64 / sizeof(T) + 16, T(77)) {}
  T* data() {
    auto const bytes = reinterpret_cast<std::uintptr_t>(memory_.data()) % 64;
    return memory_.data() + (bytes == 0 ? 0 : (64 - bytes) / sizeof(T));
  }
  bool intact() {
    return std::all_of(data() + n_, memory_.data() + memory_.size(), [](T x) { return x == T(77); });
  }

 private:
  std::size_t n_;
  std::vector<T> memory_;
};

template <class T> struct problem {
  op ta, tb;
  index_t m, n, k, lda, ldb, ldc;
  std::vector<T> a, b, c;

  problem(op a_op, op b_op, index_t rows, index_t cols, index_t depth)
      : ta(a_op), tb(b_op), m(rows), n(cols), k(depth) {
    lda = (ta == op::none ? k : m) + 3;
    ldb = (tb == op::none ? n : k) + 1;
    ldc = n + 2;
    a = numbers<T>((ta == op::none ? m : k) * lda + 1, 1);
    b = numbers<T>((tb == op::none ? k : n) * ldb + 1, 2);
    c = numbers<T>(m * ldc, 3);
  }
  T& a_at(index_t i, index_t p) {
    return a[static_cast<std::size_t>(ta == op::none ? i * lda + p : p * lda + i)];
  }
  T& b_at(index_t p, index_t j) {
    return b[static_cast<std::size_t>(tb == op::none ? p * ldb + j : j * ldb + p)];
  }
  T& c_at(index_t i, index_t j) { return c[static_cast<std::size_t>(i * ldc + j)]; }

  /// Largest |result - exact| in units of eps * (k + 4) * (|alpha| sum |a b| + |beta c|), the bound of any
  /// summation order (Higham, Accuracy and Stability, 3.1): at most 1. Infinite if something outside of C has
  /// changed.
  double error(T alpha, T beta, std::vector<T> const& before, bool select) {
    double worst = 0;
    for (index_t i = 0; i < m; ++i)
      for (index_t j = 0; j < ldc; ++j) {
        double const old = static_cast<double>(before[static_cast<std::size_t>(i * ldc + j)]);
        double const got = static_cast<double>(c_at(i, j));
        if (j >= n) {
          if (!(old == got)) return INFINITY;
          continue;
        }
        double sum = 0, size = 0;
        for (index_t p = 0; p < k; ++p) {
          if (select && a_at(i, p) == T(0)) continue;
          double const term = static_cast<double>(a_at(i, p)) * static_cast<double>(b_at(p, j));
          sum += term;
          size += std::fabs(term);
        }
        double expected = static_cast<double>(alpha) * sum,
               bound = std::fabs(static_cast<double>(alpha)) * size;
        if (beta != T(0)) {
          expected += static_cast<double>(beta) * old;
          bound += std::fabs(static_cast<double>(beta) * old);
        }
        double const unit = std::numeric_limits<T>::epsilon() * static_cast<double>(k + 4) * bound;
        double const e = std::fabs(got - expected);
        if (std::isnan(e)) return INFINITY;
        if (e > 0) worst = std::max(worst, unit > 0 ? e / unit : INFINITY);
      }
    return worst;
  }
};

template <class T> double error(op ta, op tb, index_t m, index_t n, index_t k, T alpha, T beta) {
  problem<T> x(ta, tb, m, n, k);
  scratch<T> s(kernels::block_gemm_scratch<T>(k));
  auto const before = x.c;
  if (beta == T(0))  // beta = 0 must not read C
    for (index_t i = 0; i < m; ++i)
      for (index_t j = 0; j < n; ++j) x.c_at(i, j) = std::numeric_limits<T>::quiet_NaN();
  kernels::block_gemm<T>(ta, tb, m, n, k, alpha, x.a.data(), x.lda, x.b.data(), x.ldb, beta, x.c.data(),
                         x.ldc, s.data());
  return s.intact() ? x.error(alpha, beta, before, false) : INFINITY;
}

constexpr op both[] = {op::none, op::transpose};

}  // namespace

TEMPLATE_TEST_CASE("block product: every transposition, size and scale", "[cpu][product]", TEST_SCALARS) {
  for (op ta : both)
    for (op tb : both)
      for (index_t m : {1, 2, 7, 17, 33, 100})
        for (index_t n : {1, 2, 3, 7, 17, 33, 100})
          for (index_t k : {0, 1, 2, 17, 33}) {
            INFO("transposed " << (ta != op::none) << (tb != op::none) << " m " << m << " n " << n << " k "
                               << k);
            CHECK(error<TestType>(ta, tb, m, n, k, 1, 0) <= 1);
            CHECK(error<TestType>(ta, tb, m, n, k, TestType(-0.5), 1) <= 1);
            CHECK(error<TestType>(ta, tb, m, n, k, 2, TestType(0.75)) <= 1);
          }
}

TEMPLATE_TEST_CASE("block product: long sums", "[cpu][product]", TEST_SCALARS) {
  for (op ta : both)
    for (op tb : both)
      for (index_t k : {256, 257, 600})
        for (index_t n : {1, 40}) {
          INFO("transposed " << (ta != op::none) << (tb != op::none) << " n " << n << " k " << k);
          CHECK(error<TestType>(ta, tb, 19, n, k, TestType(0.5), 0) <= 1);
          CHECK(error<TestType>(ta, tb, 19, n, k, 1, TestType(-2)) <= 1);
        }
}

TEMPLATE_TEST_CASE("block product: splitting rows or columns changes no bit", "[cpu][product]",
                   TEST_SCALARS) {
  using T = TestType;
  constexpr index_t m = 33, n = 70, k = 300;
  for (op ta : both)
    for (op tb : both) {
      problem<T> whole(ta, tb, m, n, k), pieces(ta, tb, m, n, k);
      scratch<T> s(kernels::block_gemm_scratch<T>(k));
      auto const run = [&](problem<T>& x, index_t i0, index_t i1, index_t j0, index_t j1) {
        kernels::block_gemm<T>(ta, tb, i1 - i0, j1 - j0, k, T(0.3), &x.a_at(i0, 0), x.lda, &x.b_at(0, j0),
                               x.ldb, T(0.7), &x.c_at(i0, j0), x.ldc, s.data());
      };
      run(whole, 0, m, 0, n);
      for (index_t i = 0; i < m; i += 16)
        for (index_t j = 0; j < n; j += 23) run(pieces, i, std::min(i + 16, m), j, std::min(j + 23, n - 1));
      for (index_t i = 0; i < m; i += 5)
        run(pieces, i, std::min(i + 5, m), n - 1, n);  // one column: the narrow path
      CHECK(whole.c == pieces.c);
    }
}

TEMPLATE_TEST_CASE("block product: select hides what a zero of A meets", "[cpu][product]", TEST_SCALARS) {
  using T = TestType;
  for (op ta : both)
    for (op tb : both)
      for (index_t n : {1, 35}) {
        problem<T> x(ta, tb, 18, n, 290);
        for (index_t i = 0; i < x.m; ++i)
          for (index_t p = 0; p < x.k; p += 3) x.a_at(i, p) = p % 2 == 0 ? T(0) : T(-0.0);
        for (index_t p = 0; p < x.k; p += 3)
          for (index_t j = 0; j < n; ++j) x.b_at(p, j) = std::numeric_limits<T>::quiet_NaN();
        scratch<T> s(kernels::block_gemm_scratch<T>(x.k));
        auto const before = x.c;
        kernels::block_gemm_select<T>(ta, tb, x.m, n, x.k, T(2), x.a.data(), x.lda, x.b.data(), x.ldb, T(1),
                                      x.c.data(), x.ldc, s.data());
        CHECK(s.intact());
        CHECK(x.error(T(2), T(1), before, true) <= 1);
      }
}

TEST_CASE("block product: a NaN of A passes, also through select", "[cpu][product]") {
  problem<float> x(op::none, op::none, 3, 20, 4);
  x.a_at(1, 2) = std::numeric_limits<float>::quiet_NaN();
  scratch<float> s(kernels::block_gemm_scratch<float>(x.k));
  kernels::block_gemm_select<float>(op::none, op::none, 3, 20, 4, 1.f, x.a.data(), x.lda, x.b.data(), x.ldb,
                                    0.f, x.c.data(), x.ldc, s.data());
  CHECK(std::isnan(x.c_at(1, 7)));
  CHECK_FALSE(std::isnan(x.c_at(0, 7)));
}
