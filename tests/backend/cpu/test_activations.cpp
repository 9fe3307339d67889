// SPDX-License-Identifier: Apache-2.0
// Activations on vectors: errors against long double, the ends of the range, and that map gives the same bits
// whatever the layout.
#include <cmath>
#include <limits>
#include <vector>

#include <smx/backend/cpu/elementwise.hpp>

#include "../../catch.hpp"
#include "../../scalars.hpp"

namespace {

namespace kernels = smx::cpu_kernels;
using wide = long double;
wide const pi = std::acos(wide(-1));

template <class T, class F> T value(F const& f, T x) {
  return kernels::on_vectors(f, kernels::splat(x))[kernels::lanes<T> - 1];
}

/// The largest error on points of [low, high], as a multiple of the last place of `scale(x)`.
template <class T, class F, class E, class S>
double worst(F const& f, E const& exact, S const& scale, double low, double high, int n = 100000) {
  wide most = 0;
  for (int i = 0; i <= n; ++i) {
    T const x = static_cast<T>(low + (high - low) * i / n);
    wide const e = exact(static_cast<wide>(x)), s = std::fabs(scale(static_cast<wide>(x)));
    if (s < std::numeric_limits<T>::min() * wide(1e3)) continue;
    int power = 0;
    (void)std::frexp(s, &power);
    wide const ulp = std::ldexp(wide(1), power - std::numeric_limits<T>::digits);
    most = std::max(most, std::fabs(static_cast<wide>(value<T>(f, x)) - e) / ulp);
  }
  return static_cast<double>(most);
}
template <class T, class F, class E> double worst(F const& f, E const& exact, double low, double high) {
  return worst<T>(f, exact, exact, low, high);
}

wide logistic(wide x) { return 1 / (1 + std::exp(-x)); }
wide phi(wide x) { return std::erfc(-x / std::sqrt(wide(2))) / 2; }
wide bell(wide x) { return std::exp(-x * x / 2) / std::sqrt(2 * pi); }
wide cubic(wide x) { return std::sqrt(8 / pi) * (x + wide(0.044715L) * x * x * x); }

}  // namespace

// gelu: a sum of (a + k) 1, its quotient 1.5, the polynomial 1.5, exp 1.55 and four products, less what
// rounding to nearest cancels.
TEMPLATE_TEST_CASE("activations on vectors are good to four or five units in the last place",
                   "[cpu][activations]", TEST_SCALARS) {
  using T = TestType;
  double const far = sizeof(T) == 4 ? 80 : 700, tail = sizeof(T) == 4 ? 12.5 : 36;
  CHECK(worst<T>(smx::sigmoid{}, logistic, -far, far) <= 4);
  CHECK(worst<T>(smx::sigmoid{}, logistic, -2, 2) <= 4);
  auto const silu = [](wide x) { return x * logistic(x); };
  CHECK(worst<T>(smx::silu{}, silu, -far, far) <= 4);
  CHECK(worst<T>(smx::silu{}, silu, -2, 2) <= 4);
  auto const tanh = [](wide x) { return std::tanh(x); };
  CHECK(worst<T>(smx::hyperbolic_tangent{}, tanh, -25, 25) <= 4);
  CHECK(worst<T>(smx::hyperbolic_tangent{}, tanh, -1, 1) <= 4);
  CHECK(worst<T>(smx::hyperbolic_tangent{}, tanh, -1e-3, 1e-3) <= 4);
  auto const gelu = [](wide x) { return x * phi(x); };
  CHECK(worst<T>(smx::gelu{}, gelu, -tail, tail) <= 5);
  CHECK(worst<T>(smx::gelu{}, gelu, -2, 2) <= 5);
  auto const sin = [](wide x) { return std::sin(x); };
  auto const cos = [](wide x) { return std::cos(x); };
  for (double const end : {0.1, 4.0, 100.0, 5000.0}) {
    CHECK(worst<T>(smx::sine{}, sin, -end, end) <= 4);
    CHECK(worst<T>(smx::cosine{}, cos, -end, end) <= 4);
  }
  // where both cross zero: the float nearest to a multiple of pi / 2, and its neighbours
  for (int n = 1; n < 3000; ++n) {
    T const x = static_cast<T>(n * pi / 2);
    for (T const at : {std::nextafter(x, T(0)), x, std::nextafter(x, T(1e9))}) {
      wide const s = std::sin(static_cast<wide>(at)), c = std::cos(static_cast<wide>(at));
      wide const eps = std::numeric_limits<T>::epsilon();
      // long double itself has a relative error of 2^-64 |x| / |sin x| there
      wide const own = std::ldexp(wide(1), -62) * static_cast<wide>(at);
      CHECK(std::fabs(static_cast<wide>(value<T>(smx::sine{}, at)) - s) <= 4 * eps * std::fabs(s) + own);
      CHECK(std::fabs(static_cast<wide>(value<T>(smx::cosine{}, at)) - c) <= 4 * eps * std::fabs(c) + own);
    }
  }
}

TEMPLATE_TEST_CASE("derivatives on vectors are good to four or five units of their largest term",
                   "[cpu][activations]", TEST_SCALARS) {
  using T = TestType;
  double const tail = sizeof(T) == 4 ? 12.5 : 36;
  CHECK(worst<T>(
            smx::d_sigmoid{}, [](wide x) { return logistic(x) * logistic(-x); },
            [](wide x) { return logistic(x) * logistic(-x); }, -80, 80) <= 4);
  auto const d_tanh = [](wide x) { return 4 * logistic(2 * x) * logistic(-2 * x); };
  CHECK(worst<T>(smx::d_hyperbolic_tangent{}, d_tanh, -40, 40) <= 4);
  CHECK(worst<T>(
            smx::d_silu{}, [](wide x) { return logistic(x) * (1 + x * logistic(-x)); },
            [](wide x) { return logistic(x) * std::max(wide(1), std::fabs(x * logistic(-x))); }, -80,
            80) <= 4);
  CHECK(worst<T>(
            smx::d_gelu{}, [](wide x) { return phi(x) + x * bell(x); },
            [](wide x) { return std::max(phi(x), std::fabs(x * bell(x))); }, -tail, tail) <= 5);
  // below 0 the rounding of the argument z stands in the exponent: |z| <= 1.6 |x| + 0.07 |x|^3 units more
  auto const slope = [](wide x) { return std::sqrt(8 / pi) * (1 + 3 * wide(0.044715L) * x * x); };
  for (double x = -5; x <= 12; x += 1.0 / 1024) {
    wide const at = static_cast<T>(x), z = cubic(at);
    wide const units = 4 + (x < 0 ? 4 * std::fabs(z) : 0), eps = std::numeric_limits<T>::epsilon();
    wide const g = at * logistic(z), d = logistic(z) + at * logistic(z) * logistic(-z) * slope(at);
    CHECK(std::fabs(static_cast<wide>(value<T>(smx::gelu_tanh{}, static_cast<T>(x))) - g) <=
          units * eps * std::fabs(g));
    CHECK(std::fabs(static_cast<wide>(value<T>(smx::d_gelu_tanh{}, static_cast<T>(x))) - d) <=
          (4 + 4 * std::fabs(z)) * eps * (logistic(z) + std::fabs(d)));
  }
}

TEMPLATE_TEST_CASE("activations on vectors end as the function objects do", "[cpu][activations]",
                   TEST_SCALARS) {
  using T = TestType;
  constexpr T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  T const huge = std::numeric_limits<T>::max() / 4;
  auto const compare = [&](auto const& f) {
    CHECK(std::isnan(value<T>(f, nan)));
    CHECK(std::isnan(value<T>(f, -nan)));
    for (T const x : {inf, -inf, huge, -huge, T(1000), T(-1000), T(0), T(-0.0)}) {
      CAPTURE(x);
      T const got = value<T>(f, x), want = f(x);
      if (std::isnan(want))
        CHECK(std::isnan(got));
      else
        CHECK(got == want);
    }
  };
  compare(smx::sigmoid{});
  compare(smx::hyperbolic_tangent{});
  compare(smx::silu{});
  compare(smx::gelu{});
  compare(smx::gelu_tanh{});
  compare(smx::d_sigmoid{});
  compare(smx::d_hyperbolic_tangent{});
  compare(smx::d_silu{});
  compare(smx::d_gelu{});
  compare(smx::d_gelu_tanh{});
  for (T const x : {inf, -inf, nan}) {
    CHECK(std::isnan(value<T>(smx::sine{}, x)));
    CHECK(std::isnan(value<T>(smx::cosine{}, x)));
  }
  for (T const x : {huge, -huge, T(7001), T(-2e9)}) {
    CHECK(value<T>(smx::sine{}, x) == test::Approx(std::sin(static_cast<double>(x))).margin(1e-6));
    CHECK(value<T>(smx::cosine{}, x) == test::Approx(std::cos(static_cast<double>(x))).margin(1e-6));
  }
  CHECK(value<T>(smx::sine{}, T(0)) == T(0));
  CHECK(value<T>(smx::cosine{}, T(0)) == test::Approx(1));
}

TEMPLATE_TEST_CASE("map gives an entry the same bits in every layout", "[cpu][activations]", TEST_SCALARS) {
  using T = TestType;
  for (smx::index_t const n : {1, 3, 16, 37}) {
    std::vector<T> x(static_cast<std::size_t>(3 * n)), a(x.size(), T(7)), b(x.size(), T(7));
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<T>(std::sin(1.0 + 2.7 * static_cast<double>(i)) * 5);
    kernels::map_row(smx::gelu{}, n, a.data(), smx::index_t{1},
                     std::pair<T const*, smx::index_t>(x.data(), 3));
    kernels::map_row(smx::gelu{}, n, b.data(), smx::index_t{3},
                     std::pair<T const*, smx::index_t>(x.data(), 3));
    for (smx::index_t i = 0; i < n; ++i) {
      CHECK(a[static_cast<std::size_t>(i)] == b[static_cast<std::size_t>(3 * i)]);
      CHECK(a[static_cast<std::size_t>(i)] == value<T>(smx::gelu{}, x[static_cast<std::size_t>(3 * i)]));
    }
    for (std::size_t i = static_cast<std::size_t>(n); i < a.size(); ++i) CHECK(a[i] == T(7));
    for (std::size_t i = 0; i < b.size(); ++i)
      if (i % 3 != 0) CHECK(b[i] == T(7));
    kernels::map_row(smx::gelu{}, n, a.data(), smx::index_t{1},
                     std::pair<T const*, smx::index_t>(x.data(), 0));  // one entry for all
    for (smx::index_t i = 0; i < n; ++i) CHECK(a[static_cast<std::size_t>(i)] == value<T>(smx::gelu{}, x[0]));
  }
}
