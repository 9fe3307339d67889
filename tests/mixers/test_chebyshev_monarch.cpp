// SPDX-License-Identifier: Apache-2.0
// chebyshev_monarch against the form it is defined by: values at the roots of T_2n, multiplied, and back.
#include <smx/backend/cpu.hpp>
#include <smx/backend/reference.hpp>
#include <smx/mixers/causal_monarch.hpp>
#include <smx/mixers/materialize.hpp>

#include "tests/catch.hpp"
#include "tests/conformance/cases/triangular.hpp"

namespace {

using namespace smx;
using smx::testing::numbers;
using smx::testing::values;

template <class M, class B>
void generic_weights(B&, M const& m, parameters<M, B>& w, double sigma, std::uint64_t seed) {
  std::uint64_t stream = 0;
  m.for_each_weight(
      [&](auto const& info, auto const& to) {
        random_stream const from{seed, stream++};
        std::uint64_t n = 0;
        loops::for_each_index(to.ext, [&](auto const& i) {
          using T = typename M::scalar;
          double const z = from.normal(n++);
          if constexpr (std::remove_cvref_t<decltype(i)>::rank() == 4)
            loops::at(to, i) =
                static_cast<T>(i[2] == i[3] ? std::log(std::max(0.2, 1 + 0.2 * z))
                                            : sigma * z / std::sqrt(static_cast<double>(info.ext[3])));
          else  // a kernel that decays
            loops::at(to, i) = static_cast<T>(
                z * std::exp(-5 * static_cast<double>(i[1]) / static_cast<double>(info.ext[1])));
        });
      },
      w.write());
}

/// q_j(x) with degrees counted up: coefficient c of digit a is that of row and column `top - c` of the block,
/// because the weights count down. `top`: the last index of each digit.
double polynomial(test::triangular_blocks const& w, std::vector<index_t> const& top, index_t j, double x) {
  double q = 1, angle = std::acos(x);
  for (std::size_t a = 0; a < w.order(); ++a) {
    index_t const s = w.low[a];
    auto const digit = [&](std::size_t b) {
      return b + 1 < w.order() ? j / w.low[b] % w.digit[b] : j / w.low[b];
    };
    index_t block = 0;
    for (std::size_t b = 0; b < a; ++b) block += (top[b] - digit(b)) * w.low[b];
    double sum = 0;
    for (index_t c = 0; c <= digit(a); ++c) {
      index_t const row = top[a] - c, col = top[a] - digit(a);
      // of products only the upper half of the top digit is learned; what lies below is never asked for
      double const entry =
          row < w.digit[a] && col < w.digit[a]
              ? test::triangular_blocks::at(w.block[a][static_cast<std::size_t>(block)], row, col)
              : (row == col ? 1.0 : 0.1);
      sum += entry * std::cos(static_cast<double>(c * s) * angle);
    }
    q *= sum;
  }
  return q;
}

/// A^-1 b by elimination with row exchanges.
numbers solved(test::matrix a, numbers b) {
  auto const at = [&](index_t i, index_t j) -> double& {
    return a.value[static_cast<std::size_t>(i * a.cols + j)];
  };
  auto const rhs = [&](index_t i) -> double& { return b[static_cast<std::size_t>(i)]; };
  for (index_t k = 0; k < a.rows; ++k) {
    index_t best = k;
    for (index_t i = k; i < a.rows; ++i)
      if (std::fabs(at(i, k)) > std::fabs(at(best, k))) best = i;
    for (index_t j = 0; j < a.cols; ++j) std::swap(at(k, j), at(best, j));
    std::swap(rhs(k), rhs(best));
    for (index_t i = 0; i < a.rows; ++i) {
      if (i == k) continue;
      double const f = at(i, k) / at(k, k);
      for (index_t j = k; j < a.cols; ++j) at(i, j) -= f * at(k, j);
      rhs(i) -= f * rhs(k);
    }
  }
  for (index_t i = 0; i < a.rows; ++i) rhs(i) /= at(i, i);
  return b;
}

std::vector<monarch_digits> const radices = {{2, 4},    {4, 4},    {5, 3},    {3, 5},      {4, 8},
                                             {2, 2, 2}, {3, 4, 2}, {2, 3, 5}, {3, 2, 2, 2}};

}  // namespace

TEST_CASE("chebyshev_monarch is the Chebyshev form: values at the roots of T_2n, multiplied, and back",
          "[mixers][chebyshev_monarch]") {
  reference_backend be;
  using M = chebyshev_monarch<double>;
  for (auto const& f : radices) {
    index_t const n = padded_length(f), points = 2 * n;
    M const m{.channels = 1, .length = n - 1, .order = f.size(), .factors = f};
    parameters<M, reference_backend> w(be, m);
    generic_weights(be, m, w, 0.7, 5);
    auto const x = random_normal<double>(be, {1, 1, m.length, 1}, 2);
    auto const y = forward(be, m, w, x);

    test::triangular_blocks const c0(f, w.read().output, 0), c1(f, w.read().kernel, 0),
        c2(f, w.read().input, 0);
    std::vector<index_t> top, product_top;
    for (index_t d : c0.digit) top.push_back(d - 1), product_top.push_back(d - 1);
    product_top.back() = 2 * c0.digit.back() - 1;
    test::matrix basis(points, points);
    numbers product;
    for (index_t p = 0; p < points; ++p) {
      double const node = std::cos((2 * static_cast<double>(p) + 1) * 3.14159265358979323846 /
                                   (2 * static_cast<double>(points)));
      double k = 0, u = 0;
      for (index_t i = 0; i < m.length; ++i) {
        k += w.read().k(0, i) * polynomial(c1, top, n - 1 - i, node);
        u += x(0, 0, i, 0) * polynomial(c2, top, n - 1 - i, node);
      }
      product.push_back(k * u);
      for (index_t j = 0; j < points; ++j) basis.add(p, j, polynomial(c0, product_top, j, node));
    }
    numbers const found = solved(basis, product);
    double scale = 0;
    for (double one : found) scale = std::max(scale, std::fabs(one));
    for (index_t i = 0; i < m.length; ++i) {
      CAPTURE(n, i);
      CHECK(std::fabs(y(0, 0, i, 0) - found[static_cast<std::size_t>(2 * n - 2 - i)]) <= 1e-10 * scale);
    }
  }
}

TEST_CASE("chebyshev_monarch reaches every earlier position and no later one",
          "[mixers][chebyshev_monarch]") {
  cpu be(1);
  for (auto const& f : radices) {
    using M = chebyshev_monarch<double, evaluation::exact>;
    M const m{.channels = 1, .length = padded_length(f) - 1, .order = f.size(), .factors = f};
    parameters<M, cpu> w(be, m);
    generic_weights(be, m, w, 0.7, 9);
    auto const t = materialize(be, m, w, m.length);
    double top = 0;
    for (double one : values(t.cview())) top = std::max(top, std::fabs(one));
    for (index_t i = 0; i < m.length; ++i)
      for (index_t j = 0; j < m.length; ++j) {
        CAPTURE(m.length, i, j);
        if (j > i)
          CHECK(t(0, i, j) == 0);
        else
          CHECK(std::fabs(t(0, i, j)) > 1e-9 * top);
      }
  }
}

TEST_CASE("errors in float are those that were measured for the polynomial forms",
          "[mixers][chebyshev_monarch]") {
  reference_backend be;
  // relative errors at spread 0.3: 2e-7 for powers, 7e-7 for Chebyshev polynomials, to a factor of 5
  auto const error = [&]<class D, class F>(D const& exact, F const& rounded) {
    auto const run = [&](auto const& m) {
      using M = std::remove_cvref_t<decltype(m)>;
      using T = typename M::scalar;
      parameters<M, reference_backend> w(be, m);
      generic_weights(be, m, w, 0.3, 4);
      auto const x = random_normal<T>(be, {1, 1, m.length, 1}, 2);
      return values(forward(be, m, w, x).cview());
    };
    numbers const want = run(exact), got = run(rounded);
    numbers difference = want;
    for (std::size_t i = 0; i < want.size(); ++i) difference[i] -= got[i];
    return test::norm2(difference) / test::norm2(want);
  };
  for (int order : {2, 3}) {
    index_t const n = 255;
    CHECK(error(causal_monarch<double>{.channels = 1, .length = n, .order = order},
                causal_monarch<float>{.channels = 1, .length = n, .order = order}) < 5 * 2e-7);
    CHECK(error(chebyshev_monarch<double>{.channels = 1, .length = n, .order = order},
                chebyshev_monarch<float>{.channels = 1, .length = n, .order = order}) < 5 * 7e-7);
  }
}

TEST_CASE("chebyshev_monarch needs one position more than the length", "[mixers][chebyshev_monarch]") {
  cpu be(1);
  using M = chebyshev_monarch<float>;
  CHECK_THROWS_WITH(initialize(be, M{.channels = 1, .length = 8, .factors = {2, 4}}, 1),
                    test::contains("causal_monarch: factors: expected factors that multiply up"));
  CHECK(M{.channels = 1, .length = 8, .factors = {3, 4}}.digits() == monarch_digits{3, 4});
  CHECK(padded_length(M{.channels = 1, .length = 4096}.digits()) >= 4097);
}
