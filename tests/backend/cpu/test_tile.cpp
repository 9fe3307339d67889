// SPDX-License-Identifier: Apache-2.0
// The register tile and its cover, and the transposition through registers, against plain loops.
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <smx/backend/cpu/tile.hpp>
#include <smx/backend/cpu/transpose.hpp>

#include "../../catch.hpp"
#include "../../scalars.hpp"

namespace {

namespace kernels = smx::cpu_kernels;
using smx::index_t;

/// Uniform in (-1, 1), the same on every machine.
template <class T> std::vector<T> numbers(index_t n, std::uint32_t seed) {
  std::vector<T> v(static_cast<std::size_t>(n));
  std::uint32_t s = seed * 2654435761u + 12345u;
  for (auto& x : v) {
    s = s * 1664525u + 1013904223u;
    x = static_cast<T>(static_cast<double>(s >> 8) / 8388608.0 - 1.0);
  }
  return v;
}

template <class T> double at(std::vector<T> const& v, index_t i) {
  return static_cast<double>(v[static_cast<std::size_t>(i)]);
}

/// C = diag(f) C diag(g) + 2 (A B) + C0/2 through every piece of a tile; what lies outside C must stay.
template <class T, kernels::layout How> void check_product(index_t m, index_t n, index_t k) {
  INFO("m " << m << " n " << n << " k " << k << " layout "
            << (How == kernels::layout::rows ? "rows" : "cols"));
  index_t const lda = (How == kernels::layout::rows ? k : m) + 3, ldb = n + 5, ldc = n + 2;
  auto const a = numbers<T>((How == kernels::layout::rows ? m : k) * lda + 1, 1),
             b = numbers<T>(k * ldb + 1, 2);
  auto const before = numbers<T>(m * ldc, 3), row = numbers<T>(m, 4), column = numbers<T>(n, 5);
  auto c = before;
  kernels::cover<T>(0, m, n, [&](auto& t, index_t i, index_t j) {
    t.zero();
    t.template mac<How>(k, How == kernels::layout::rows ? a.data() + i * lda : a.data() + i, lda,
                        b.data() + j, ldb);
    t.scale(T(2));
    t.scale_rows(row.data() + i);
    t.scale_cols(column.data() + j);
    t.add_scaled(before.data() + i * ldc + j, ldc, T(0.5));
    t.scale_cols_add(c.data() + i * ldc + j, ldc, column.data() + j);
    t.load(c.data() + i * ldc + j, ldc);
    t.scale_rows_add(c.data() + i * ldc + j, ldc, row.data() + i);
    t.add_to(c.data() + i * ldc + j, ldc);
  });
  // Every entry is below 6 (k + 3) and goes through k + 9 roundings of at most that size.
  double const bound = 6.0 * static_cast<double>((k + 3) * (k + 9)) * std::numeric_limits<T>::epsilon();
  double worst = 0;
  bool outside = true;
  for (index_t i = 0; i < m; ++i) {
    for (index_t j = 0; j < ldc; ++j) {
      if (j >= n) {
        outside = outside && at(c, i * ldc + j) == at(before, i * ldc + j);
        continue;
      }
      double s = 0;
      for (index_t p = 0; p < k; ++p)
        s += at(a, How == kernels::layout::rows ? i * lda + p : p * lda + i) * at(b, p * ldb + j);
      double const r = 2 * s * at(row, i) * at(column, j) + at(before, i * ldc + j) / 2;
      double const c1 = at(before, i * ldc + j) * at(column, j) + r;
      double const expected = c1 * at(row, i) + c1 + c1;
      worst = std::fmax(worst, std::fabs(expected - at(c, i * ldc + j)));
    }
  }
  CHECK(outside);
  CHECK(worst <= bound);
}

template <class T> void check_transpose(index_t rows, index_t cols) {
  INFO("rows " << rows << " cols " << cols);
  index_t const lds = cols + 3, ldd = rows + 2;
  auto const a = numbers<T>(rows * lds, 7);
  auto const before = numbers<T>(cols * ldd, 8);
  auto b = before;
  kernels::transpose(rows, cols, a.data(), lds, b.data(), ldd, T(2));
  bool same = true;
  for (index_t j = 0; j < cols; ++j)
    for (index_t i = 0; i < ldd; ++i)
      same = same && at(b, j * ldd + i) == (i < rows ? 2 * at(a, i * lds + j) : at(before, j * ldd + i));
  CHECK(same);
}

}  // namespace

TEMPLATE_TEST_CASE("register tiles cover a product exactly once", "[cpu][tile]", TEST_SCALARS) {
  for (index_t m : {1, 2, 3, 7, 8, 17, 33})
    for (index_t n : {1, 2, 7, 17, 33, 48, 63, 100})
      for (index_t k : {0, 1, 7, 33}) {
        check_product<TestType, kernels::layout::rows>(m, n, k);
        check_product<TestType, kernels::layout::cols>(m, n, k);
      }
}

TEMPLATE_TEST_CASE("select leaves out terms whose entry of A is zero", "[cpu][tile]", TEST_SCALARS) {
  using T = TestType;
  constexpr index_t m = 11, n = 37, k = 5;
  auto a = numbers<T>(m * k, 1), b = numbers<T>(k * n, 2);
  for (index_t i = 0; i < m; ++i) a[static_cast<std::size_t>(i * k + 2)] = T(0);
  for (index_t j = 0; j < n; ++j)
    b[static_cast<std::size_t>(2 * n + j)] = std::numeric_limits<T>::quiet_NaN();
  std::vector<T> c(m * n);
  kernels::cover<T>(0, m, n, [&](auto& t, index_t i, index_t j) {
    t.zero();
    t.template mac<kernels::layout::rows, true>(k, a.data() + i * k, k, b.data() + j, n);
    t.store(c.data() + i * n + j, n);
  });
  double worst = 0;
  for (index_t i = 0; i < m; ++i)
    for (index_t j = 0; j < n; ++j) {
      double s = 0;
      for (index_t p : {0, 1, 3, 4}) s += at(a, i * k + p) * at(b, p * n + j);
      worst = std::isnan(at(c, i * n + j)) ? INFINITY : std::fmax(worst, std::fabs(s - at(c, i * n + j)));
    }
  CHECK(worst <= 20 * static_cast<double>(std::numeric_limits<T>::epsilon()));
}

TEMPLATE_TEST_CASE("a NaN passes through a product of finite numbers", "[cpu][tile]", TEST_SCALARS) {
  using T = TestType;
  std::vector<T> const a{T(0)}, b{std::numeric_limits<T>::quiet_NaN()};
  T c = 0;
  kernels::cover<T>(0, 1, 1, [&](auto& t, index_t, index_t) {
    t.zero();
    t.template mac<kernels::layout::rows>(1, a.data(), 1, b.data(), 1);
    t.store(&c, 1);
  });
  CHECK(std::isnan(c));
}

TEMPLATE_TEST_CASE("an entry has the same bits in whatever tile it falls", "[cpu][tile]", TEST_SCALARS) {
  using T = TestType;
  constexpr index_t m = 33, n = 100, k = 65;
  auto const a = numbers<T>(m * k, 1), b = numbers<T>(k * n, 2);
  auto const product = [&](index_t i0, index_t i1, index_t j0, index_t j1, T* c) {
    kernels::cover<T>(i0, i1, j1 - j0, [&](auto& t, index_t i, index_t j) {
      t.zero();
      t.template mac<kernels::layout::rows>(k, a.data() + i * k, k, b.data() + j0 + j, n);
      t.store(c + i * n + j0 + j, n);
    });
  };
  std::vector<T> whole(m * n), pieces(m * n);
  product(0, m, 0, n, whole.data());
  for (index_t i = 0; i < m; i += 5)
    for (index_t j = 0; j < n; j += 9) product(i, std::min(i + 5, m), j, std::min(j + 9, n), pieces.data());
  CHECK(whole == pieces);
}

TEMPLATE_TEST_CASE("stores past the cache arrive", "[cpu][tile]", TEST_SCALARS) {
  using T = TestType;
  constexpr index_t n = kernels::panel_columns<T>;
  alignas(64) T c[12 * n];
  auto const b = numbers<T>(12 * n, 2);
  kernels::cover<T>(0, 12, n, [&](auto& t, index_t i, index_t j) {
    t.load(b.data() + i * n + j, n);
    t.store_past(c + i * n + j, n);
  });
  kernels::settle_stores();
  CHECK(std::equal(b.begin(), b.end(), c));
}

TEMPLATE_TEST_CASE("transposition through registers", "[cpu][transpose]", TEST_SCALARS) {
  for (index_t rows : {1, 2, 7, 16, 17, 33, 64})
    for (index_t cols : {1, 2, 8, 17, 33, 100}) check_transpose<TestType>(rows, cols);
}
