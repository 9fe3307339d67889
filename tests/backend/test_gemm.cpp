// SPDX-License-Identifier: Apache-2.0
// C := alpha op(A) op(B) + beta C against a triple loop in double precision.
#include "../scalars.hpp"
#include "arrays.hpp"

namespace {

using namespace test;
using smx::op;

struct shape {
  index_t m, n, k;
  extents<2> c{1, 1}, a{1, 1}, b{1, 1};  // the leading axes; 1 broadcasts
};

template <class T> struct problem {
  shape s;
  op ta, tb;
  T alpha, beta;
  array<T, 4> a, b, c;

  problem(shape const& sh, op t, op u, T al, T be, std::uint64_t seed)
      : s(sh),
        ta(t),
        tb(u),
        alpha(al),
        beta(be),
        a({s.a[0], s.a[1], t == op::none ? s.m : s.k, t == op::none ? s.k : s.m}, seed),
        b({s.b[0], s.b[1], u == op::none ? s.k : s.n, u == op::none ? s.n : s.k}, seed + 1),
        c({s.c[0], s.c[1], s.m, s.n}, seed + 2) {}

  T left(index_t p, index_t q, index_t i, index_t l) {
    p = s.a[0] == 1 ? 0 : p, q = s.a[1] == 1 ? 0 : q;
    return ta == op::none ? a({p, q, i, l}) : a({p, q, l, i});
  }
  T right(index_t p, index_t q, index_t l, index_t j) {
    p = s.b[0] == 1 ? 0 : p, q = s.b[1] == 1 ? 0 : q;
    return tb == op::none ? b({p, q, l, j}) : b({p, q, j, l});
  }

  /// Checks gemm (or gemm_select) on every backend. Any order of the sum errs by at most
  /// (k + 3) eps (|alpha| sum |a b| + |beta c|) (Higham, Accuracy and Stability, 3.1).
  void check(bool select) {
    std::vector<double> exact, bound;
    each(c.ext(), [&](extents<4> const& i) {
      double sum = 0, magnitude = 0;
      for (index_t l = 0; l < s.k; ++l) {
        double const x = left(i[0], i[1], i[2], l), y = right(i[0], i[1], l, i[3]);
        if (select && x == 0) continue;
        sum += x * y;
        magnitude += std::fabs(x * y);
      }
      double const before = beta == T(0) ? 0.0 : double(beta) * double(c(i));
      exact.push_back(double(alpha) * sum + before);
      bound.push_back((double(s.k) + 3) * eps<T> *
                      (std::fabs(double(alpha)) * magnitude + std::fabs(before)));
    });
    INFO("m n k " << s.m << ' ' << s.n << ' ' << s.k << ", ops " << (ta == op::none ? 'n' : 't')
                  << (tb == op::none ? 'n' : 't') << ", alpha " << alpha << ", beta " << beta << ", select "
                  << select);
    on_each_backend(
        [&](auto& be) {
          auto to = c;
          if (select)
            be.gemm_select(ta, tb, alpha, a.in(), b.in(), beta, to.out());
          else
            be.gemm(ta, tb, alpha, a.in(), b.in(), beta, to.out());
          return to;
        },
        [&](auto const& got) { CHECK(agree(got.values(), exact, bound)); });
  }
};

constexpr op ops[] = {op::none, op::transpose};

TEMPLATE_TEST_CASE("gemm: every transposition, alpha and beta, on small and odd sizes", "", TEST_SCALARS) {
  using T = TestType;
  std::uint64_t seed = 1;
  for (shape const& s : {shape{1, 1, 1}, shape{3, 5, 7}, shape{17, 1, 33}, shape{1, 19, 4}, shape{16, 48, 32},
                         shape{31, 33, 65}, shape{2, 3, 1}})
    for (op const ta : ops)
      for (op const tb : ops)
        for (auto const& [alpha, beta] : {std::pair(1.0, 0.0), {1.0, 1.0}, {-0.5, 0.25}, {0.0, 1.0}})
          problem<T>(s, ta, tb, T(alpha), T(beta), seed += 3).check(false);
}

TEMPLATE_TEST_CASE("gemm: sizes on both sides of the cuts for threads and registers", "", TEST_SCALARS) {
  using T = TestType;
  std::uint64_t seed = 100;
  for (shape const& s :
       {shape{255, 40, 9}, shape{256, 40, 9}, shape{257, 40, 9}, shape{20, 1535, 5}, shape{20, 1536, 5},
        shape{20, 1537, 5}, shape{257, 1537, 2}, shape{5, 6, 255}, shape{5, 6, 256}, shape{5, 6, 257},
        shape{48, 49, 600}, shape{1, 1537, 3}, shape{513, 1, 3}})
    for (op const ta : ops)
      for (op const tb : ops) problem<T>(s, ta, tb, T(1), T(0.5), seed += 3).check(false);
}

TEMPLATE_TEST_CASE("gemm: leading axes, broadcast by extent 1", "", TEST_SCALARS) {
  using T = TestType;
  std::uint64_t seed = 200;
  for (extents<2> const& a : {extents<2>{2, 3}, extents<2>{1, 3}, extents<2>{2, 1}, extents<2>{1, 1}})
    for (extents<2> const& b : {extents<2>{2, 3}, extents<2>{1, 3}, extents<2>{2, 1}, extents<2>{1, 1}})
      problem<T>({9, 11, 6, {2, 3}, a, b}, op::none, op::transpose, T(1), T(0), seed += 3).check(false);
}

TEST_CASE("gemm: leading axes broadcast by stride 0, and operands that are slices of larger arrays") {
  array<float, 4> a({1, 1, 6, 5}, 1), b({2, 3, 8, 9}, 2), c({2, 3, 6, 4}, 3);
  auto wide = a.in();  // (2,3,6,5)
  wide.ext[0] = 2, wide.ext[1] = 3, wide.str[0] = 0, wide.str[1] = 0;
  auto const part = slice(slice(b.in(), 2, 2, 5), 3, 3, 4);  // (2,3,5,4)
  std::vector<double> exact, bound;
  each(c.ext(), [&](extents<4> const& i) {
    double sum = 0;
    for (index_t l = 0; l < 5; ++l)
      sum += double(a({0, 0, i[2], l})) * double(b({i[0], i[1], l + 2, i[3] + 3}));
    exact.push_back(sum);
    bound.push_back(8 * eps<float> * 5);
  });
  on_each_backend(
      [&](auto& be) {
        auto to = c;
        be.gemm(op::none, op::none, 1.f, wide, part, 0.f, to.out());
        return to;
      },
      [&](auto const& got) { CHECK(agree(got.values(), exact, bound)); });
}

TEMPLATE_TEST_CASE("gemm: beta = 0 does not read C", "", TEST_SCALARS) {
  using T = TestType;
  for (shape const& s : {shape{7, 9, 5}, shape{64, 64, 64}, shape{3, 2, 1}})
    for (op const ta : ops)
      for (op const tb : ops)
        for (bool const select : {false, true}) {
          problem<T> p(s, ta, tb, T(1.5), T(0), 300);
          p.c.fill(std::numeric_limits<T>::quiet_NaN());
          p.check(select);
        }
}

TEMPLATE_TEST_CASE("gemm: a NaN of A or B reaches its row or column and nothing else", "", TEST_SCALARS) {
  using T = TestType;
  problem<T> p({40, 50, 30}, op::none, op::none, T(1), T(0), 400);
  p.a({0, 0, 3, 7}) = std::numeric_limits<T>::quiet_NaN();
  p.b({0, 0, 2, 11}) = std::numeric_limits<T>::quiet_NaN();
  p.check(false);
  p.check(true);
}

TEMPLATE_TEST_CASE("gemm_select: a zero of op(A) keeps NaN and infinity of B away", "", TEST_SCALARS) {
  using T = TestType;
  for (shape const& s :
       {shape{9, 13, 11}, shape{33, 20, 64}, shape{5, 300, 260}, shape{2, 2, 2, {2, 2}, {2, 2}, {1, 2}}})
    for (op const ta : ops)
      for (op const tb : ops)
        for (T const beta : {T(0), T(0.5)}) {
          problem<T> p(s, ta, tb, T(-1), beta, 500);
          numbers random(9);
          // column l of op(A) is zero in odd rows; row l of op(B) holds a NaN: even rows see it
          each(p.a.ext(), [&](extents<4> const& i) {
            index_t const row = ta == op::none ? i[2] : i[3], l = ta == op::none ? i[3] : i[2];
            if (random.below(3) == 0 || (l == 1 && row % 2 == 1)) p.a(i) = T(0);
          });
          each(p.b.ext(), [&](extents<4> const& i) {
            index_t const l = tb == op::none ? i[2] : i[3], j = tb == op::none ? i[3] : i[2];
            if (l == 1)
              p.b(i) = j % 2 == 0 ? std::numeric_limits<T>::quiet_NaN() : std::numeric_limits<T>::infinity();
          });
          p.check(true);
        }
}

TEST_CASE("gemm: an inner extent of 0 leaves beta C") {
  float const data[16] = {};
  view<float const, 4, host_space> const a(data, {1, 1, 3, 0}, {0, 0, 1, 1}),
      b(data, {1, 1, 0, 4}, {0, 0, 4, 1});
  array<float, 4> c({1, 1, 3, 4}, 5);
  auto exact = c.values();
  for (double& x : exact) x *= 0.5;
  on_each_backend(
      [&](auto& be) {
        auto to = c;
        be.gemm(op::none, op::none, 1.f, a, b, 0.5f, to.out());
        return to;
      },
      [&](auto const& got) { CHECK(agree(got.values(), exact, std::vector<double>(12, 0.0))); });
}

TEST_CASE("gemm: every wrong extent and stride throws and names its argument") {
  auto const rejects = [](auto& be) {
    array<float, 4> a({2, 1, 4, 5}, 1), b({2, 3, 5, 6}, 2), c({2, 3, 4, 6}, 3);
    auto const run = [&](auto x, auto y, auto z, op ta = op::none, op tb = op::none) {
      be.gemm(ta, tb, 1.f, x, y, 0.f, z);
    };
    CHECK_NOTHROW(run(a.in(), b.in(), c.out()));
    CHECK_THROWS_WITH(run(slice(a.in(), 3, 0, 4), b.in(), c.out()), contains("gemm: op(b)"));
    CHECK_THROWS_WITH(run(slice(a.in(), 2, 0, 3), b.in(), c.out()), contains("gemm: op(a)"));
    CHECK_THROWS_WITH(run(a.in(), slice(b.in(), 3, 0, 5), c.out()), contains("gemm: op(b)"));
    CHECK_THROWS_WITH(run(a.in(), slice(b.in(), 1, 0, 2), c.out()), contains("gemm: b"));
    CHECK_THROWS_WITH(run(a.in(), b.in(), slice(c.out(), 0, 0, 1)), contains("gemm: a"));
    CHECK_THROWS_AS(run(a.in(), b.in(), c.out(), op::transpose), smx::precondition_error);
    CHECK_THROWS_AS(run(a.in(), b.in(), c.out(), op::none, op::transpose), smx::precondition_error);
    auto skewed = a.in();
    skewed.str[3] = 2;
    CHECK_THROWS_WITH(run(slice(skewed, 3, 0, 5), b.in(), c.out()),
                      contains("gemm: a: expected a contiguous last axis"));
  };
  smx::reference_backend reference;
  rejects(reference);
  smx::cpu cpu(2);
  rejects(cpu);
  smx::traced<smx::cpu> traced(2);
  rejects(traced);
}

}  // namespace
