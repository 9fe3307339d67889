// SPDX-License-Identifier: Apache-2.0
#include <smx/backend/cpu/monarch_projection.hpp>

#include <complex>
#include <limits>
#include <numbers>

#include <smx/backend/cpu.hpp>
#include <smx/backend/reference.hpp>
#include <smx/core/rng.hpp>
#include <smx/core/tensor.hpp>
#include <tests/catch.hpp>

using smx::extents;
using smx::index_t;
using smx::tensor;

namespace {

struct sizes {
  index_t k, p, l, s, rank;
  index_t rows() const { return l * s; }
  index_t columns() const { return k * p; }
};

template <class T> struct factors {
  tensor<T, 3> w1, w2;
  explicit factors(sizes const& z)
      : w1(extents<3>{z.k, z.rank * z.l, z.p}), w2(extents<3>{z.l, z.s, z.k * z.rank}) {}
};

/// M[s l + l', k' p + p'] = sum over the flat indices f = k' q + q' = r' l + l' of w2[l',s,r'] w1[k',q',p'].
template <class T> tensor<T, 2> dense(sizes const& z, factors<T> const& f) {
  tensor<T, 2> m(extents<2>{z.rows(), z.columns()});
  index_t const q = z.rank * z.l;
  for (index_t kk = 0; kk < z.k; ++kk)
    for (index_t qq = 0; qq < q; ++qq) {
      index_t const flat = kk * q + qq, ll = flat % z.l, r = flat / z.l;
      for (index_t i = 0; i < z.s; ++i)
        for (index_t j = 0; j < z.p; ++j) m(i * z.l + ll, kk * z.p + j) += f.w2(ll, i, r) * f.w1(kk, qq, j);
    }
  return m;
}

template <class T> T random_value(smx::random_stream const& from, std::uint64_t n) {
  if constexpr (std::is_floating_point_v<T>)
    return static_cast<T>(from.normal(n));
  else
    return {static_cast<typename T::value_type>(from.normal(2 * n)),
            static_cast<typename T::value_type>(from.normal(2 * n + 1))};
}

template <class T, int R> void fill(tensor<T, R>& t, std::uint64_t seed) {
  smx::random_stream const from{seed, 0};
  for (index_t n = 0; n < t.size(); ++n) t.data()[n] = random_value<T>(from, static_cast<std::uint64_t>(n));
}

template <class T> double norm(tensor<T, 2> const& a) {
  double sum = 0;
  for (index_t n = 0; n < a.size(); ++n) sum += static_cast<double>(std::norm(a.data()[n]));
  return std::sqrt(sum);
}

template <class T> double distance(tensor<T, 2> const& a, tensor<T, 2> const& b) {
  double sum = 0;
  for (index_t n = 0; n < a.size(); ++n) sum += static_cast<double>(std::norm(a.data()[n] - b.data()[n]));
  return std::sqrt(sum);
}

/// The best rank-1 matrix by power iteration on A^H A: an oracle that shares no code with an SVD.
template <class T> tensor<T, 2> best_rank_1(tensor<T, 2> const& a) {
  index_t const rows = a.extents()[0], columns = a.extents()[1];
  auto const conjugate = [](T x) {
    if constexpr (std::is_floating_point_v<T>)
      return x;
    else
      return std::conj(x);
  };
  std::vector<T> v(static_cast<std::size_t>(columns), T(1)), u(static_cast<std::size_t>(rows));
  for (int n = 0; n < 3000; ++n) {
    double length = 0;
    for (T x : v) length += static_cast<double>(std::norm(x));
    for (T& x : v) x /= static_cast<T>(std::sqrt(length));
    for (index_t i = 0; i < rows; ++i) {
      u[static_cast<std::size_t>(i)] = 0;
      for (index_t j = 0; j < columns; ++j)
        u[static_cast<std::size_t>(i)] += a(i, j) * v[static_cast<std::size_t>(j)];
    }
    if (n + 1 == 3000) break;
    for (index_t j = 0; j < columns; ++j) {
      v[static_cast<std::size_t>(j)] = 0;
      for (index_t i = 0; i < rows; ++i)
        v[static_cast<std::size_t>(j)] += conjugate(a(i, j)) * u[static_cast<std::size_t>(i)];
    }
  }
  tensor<T, 2> best(a.extents());
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < columns; ++j)
      best(i, j) = u[static_cast<std::size_t>(i)] * conjugate(v[static_cast<std::size_t>(j)]);
  return best;
}

}  // namespace

TEMPLATE_TEST_CASE("projecting a Monarch matrix gives it back", "[projection]", float, double,
                   std::complex<float>, std::complex<double>) {
  smx::cpu be;
  using real = decltype(std::abs(TestType()));
  for (sizes const& z :
       {sizes{4, 4, 4, 4, 1}, sizes{6, 5, 5, 6, 1}, sizes{3, 12, 4, 6, 1}, sizes{3, 12, 4, 6, 3},
        sizes{1, 7, 1, 5, 1}, sizes{5, 1, 3, 1, 1}, sizes{2, 20, 3, 20, 2}}) {
    factors<TestType> f(z), found(z);
    fill(f.w1, 1);
    fill(f.w2, 2);
    auto const m = dense(z, f);
    double const lost = smx::project_monarch(be, m.cview(), found.w1.view(), found.w2.view());
    // m in its own type is off by one rounding for each of `rank` terms; the backward error of a
    // decomposition of size (s, p) is (s + p) eps in double; each factor is rounded once more.
    double const eps = std::numeric_limits<double>::epsilon();
    double const unit =
        static_cast<double>(std::numeric_limits<real>::epsilon()) * static_cast<double>(z.rank + 2) +
        eps * static_cast<double>(z.s + z.p);
    CHECK(lost <= unit);
    CHECK(distance(m, dense(z, found)) <= unit * norm(m));
  }
}

TEMPLATE_TEST_CASE("the projection is the best of rank 1 in every slice", "[projection]", double,
                   std::complex<double>) {
  sizes const z{3, 5, 4, 6, 1};
  tensor<TestType, 2> m(extents<2>{z.rows(), z.columns()}), expected(m.extents()),
      slice(extents<2>{z.s, z.p});
  fill(m, 3);
  for (index_t kk = 0; kk < z.k; ++kk)
    for (index_t ll = 0; ll < z.l; ++ll) {
      for (index_t i = 0; i < z.s; ++i)
        for (index_t j = 0; j < z.p; ++j) slice(i, j) = m(i * z.l + ll, kk * z.p + j);
      auto const best = best_rank_1(slice);
      for (index_t i = 0; i < z.s; ++i)
        for (index_t j = 0; j < z.p; ++j) expected(i * z.l + ll, kk * z.p + j) = best(i, j);
    }
  smx::cpu be;
  smx::reference_backend reference;
  factors<TestType> f(z), again(z);
  double const lost = smx::project_monarch(be, m.cview(), f.w1.view(), f.w2.view());
  auto const projected = dense(z, f);
  CHECK(distance(projected, expected) <= 1e-12 * norm(m));
  CHECK(lost == test::Approx(distance(m, projected) / norm(m)).epsilon(1e-12));
  smx::project_monarch(reference, m.cview(), again.w1.view(), again.w2.view());
  CHECK(distance(dense(z, again), projected) == 0);
}

TEST_CASE("the remainder of a projection of higher rank is orthogonal to it and shrinks with the rank",
          "[projection]") {
  smx::cpu be;
  double last = 1;
  for (index_t rank = 1; rank <= 5; ++rank) {
    sizes const z{3, 5, 4, 6, rank};
    tensor<double, 2> m(extents<2>{z.rows(), z.columns()});
    fill(m, 4);
    factors<double> f(z);
    double const lost = smx::project_monarch(be, m.cview(), f.w1.view(), f.w2.view());
    auto const projected = dense(z, f);
    double product = 0;
    for (index_t n = 0; n < m.size(); ++n)
      product += projected.data()[n] * (m.data()[n] - projected.data()[n]);
    CHECK(std::abs(product) <= 1e-12 * norm(m) * norm(m));
    CHECK(lost < last);
    last = lost;
  }
  CHECK(last <= 1e-15);  // rank 5 is that of a slice (6,5)
}

TEST_CASE("the DFT with permuted columns is a Monarch matrix", "[projection]") {
  index_t const a = 6, b = 8, n = a * b;
  tensor<std::complex<double>, 2> m(extents<2>{n, n});
  for (index_t i = 0; i < n; ++i)
    for (index_t column = 0; column < n; ++column) {
      index_t const j = column % b * a + column / b;
      m(i, column) =
          std::polar(1 / std::sqrt(static_cast<double>(n)),
                     -2 * std::numbers::pi * static_cast<double>(i * j % n) / static_cast<double>(n));
    }
  sizes const z{a, b, b, a, 1};
  factors<std::complex<double>> f(z);
  smx::cpu be;
  CHECK(smx::project_monarch(be, m.cview(), f.w1.view(), f.w2.view()) <= 1e-14);
  CHECK(distance(m, dense(z, f)) <= 1e-14 * norm(m));
}

TEST_CASE("missing rows and columns count as zeros", "[projection]") {
  sizes const z{3, 5, 4, 6, 1};
  tensor<double, 2> small(extents<2>{22, 13}), padded(extents<2>{z.rows(), z.columns()});
  fill(small, 5);
  for (index_t i = 0; i < 22; ++i)
    for (index_t j = 0; j < 13; ++j) padded(i, j) = small(i, j);
  smx::cpu be;
  factors<double> f(z), g(z);
  CHECK(smx::project_monarch(be, small.cview(), f.w1.view(), f.w2.view()) ==
        smx::project_monarch(be, padded.cview(), g.w1.view(), g.w2.view()));
  CHECK(distance(dense(z, f), dense(z, g)) == 0);
}

TEST_CASE("a NaN reaches its slice only", "[projection]") {
  sizes const z{2, 3, 2, 3, 1};
  tensor<double, 2> m(extents<2>{z.rows(), z.columns()});
  fill(m, 6);
  m(2, 4) = std::numeric_limits<double>::quiet_NaN();  // slice k' = 1, l' = 0
  smx::cpu be;
  factors<double> f(z);
  CHECK(std::isnan(smx::project_monarch(be, m.cview(), f.w1.view(), f.w2.view())));
  auto const projected = dense(z, f);
  for (index_t i = 0; i < z.rows(); ++i)
    for (index_t j = 0; j < z.columns(); ++j)
      CHECK(std::isnan(projected(i, j)) == (i % z.l == 0 && j / z.p == 1));
}

TEST_CASE("a zero matrix is no division by zero", "[projection]") {
  sizes const z{2, 3, 2, 3, 1};
  tensor<double, 2> m(extents<2>{z.rows(), z.columns()});
  smx::cpu be;
  factors<double> f(z);
  CHECK(smx::project_monarch(be, m.cview(), f.w1.view(), f.w2.view()) == 0);
  CHECK(norm(dense(z, f)) == 0);
}

TEST_CASE("factors that do not fit the matrix are refused by name", "[projection]") {
  smx::cpu be;
  auto const project = [&](extents<2> m, extents<3> w1, extents<3> w2) {
    tensor<float, 2> const dense_matrix(m);
    tensor<float, 3> f1(w1), f2(w2);
    smx::project_monarch(be, dense_matrix.cview(), f1.view(), f2.view());
  };
  CHECK_NOTHROW(project({24, 15}, {3, 4, 5}, {4, 6, 3}));
  CHECK_THROWS_WITH(project({25, 15}, {3, 4, 5}, {4, 6, 3}),
                    test::contains("project_monarch: m: expected no more rows"));
  CHECK_THROWS_WITH(project({24, 16}, {3, 4, 5}, {4, 6, 3}),
                    test::contains("project_monarch: m: expected no more columns"));
  CHECK_THROWS_WITH(project({24, 15}, {3, 5, 5}, {4, 6, 3}), test::contains("project_monarch: w1"));
  CHECK_THROWS_WITH(project({24, 15}, {3, 4, 5}, {4, 6, 4}),
                    test::contains("project_monarch: w2: expected extents (4, 6, 3)"));
}
