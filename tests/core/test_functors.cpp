// SPDX-License-Identifier: Apache-2.0
// Function objects against their definitions in long double, and each derivative against central differences.
#include <cmath>
#include <limits>

#include <smx/core/functors.hpp>

#include "../catch.hpp"

namespace {

using wide = long double;

/// Central differences with step h err by h^2/6 |f'''| + eps |f| / h; |f'''| < 4 for all functions here, so
/// that h = 1e-4 in long double gives 1e-8.
template <class F, class D> void check_derivative(F const& f, D const& d) {
  wide const h = 1e-4L;
  for (double x = -12; x <= 12; x += 0.0625) {
    if (x == 0) continue;  // relu bends there
    wide const slope = (f(wide(x) + h) - f(wide(x) - h)) / (2 * h);
    CAPTURE(x);
    CHECK(std::fabs(static_cast<double>(slope) - d(x)) < 1e-8);
    // float: the functions are sums and products of a few rounded terms of size at most 1 + |x|
    CHECK(std::fabs(static_cast<double>(d(static_cast<float>(x))) - d(x)) < 16 * 1.2e-7 * (1 + std::fabs(x)));
  }
}

TEST_CASE("derivatives agree with central differences") {
  check_derivative(smx::sigmoid{}, smx::d_sigmoid{});
  check_derivative(smx::hyperbolic_tangent{}, smx::d_hyperbolic_tangent{});
  check_derivative(smx::relu{}, smx::d_relu{});
  check_derivative(smx::softplus{}, smx::d_softplus{});
  check_derivative(smx::log_sigmoid{}, smx::d_log_sigmoid{});
  check_derivative(smx::squared_relu{}, smx::d_squared_relu{});
  check_derivative(smx::elu_plus_one{}, smx::d_elu_plus_one{});
  check_derivative(smx::silu{}, smx::d_silu{});
  check_derivative(smx::gelu{}, smx::d_gelu{});
  check_derivative(smx::gelu_tanh{}, smx::d_gelu_tanh{});
}

/// Relative error of f against `exact`, where the result is a normal number.
template <class T, class F, class G> void check_values(F const& f, G const& exact, double tolerance) {
  for (double v = -30; v <= 30; v += 0.03125) {
    T const x = static_cast<T>(v);
    wide const e = exact(static_cast<wide>(x));
    if (std::fabs(e) < std::numeric_limits<T>::min()) continue;
    CAPTURE(v);
    CHECK(std::fabs((static_cast<wide>(f(x)) - e) / e) < tolerance * std::numeric_limits<T>::epsilon());
  }
}

TEMPLATE_TEST_CASE("values against their definitions in long double", "", float, double) {
  using T = TestType;
  auto const sigmoid = [](wide x) { return 1 / (1 + std::exp(-x)); };
  // exp(x) with |x| <= 30: its own 1 ulp, and the sums and quotients around it
  check_values<T>(smx::sigmoid{}, sigmoid, 8);
  check_values<T>(
      smx::silu{}, [&](wide x) { return x * sigmoid(x); }, 8);
  check_values<T>(
      smx::softplus{}, [](wide x) { return std::log1p(std::exp(x)); }, 8);
  // erfc is ill-conditioned: its argument carries two roundings, eps x, which the slope -2 z e^(-z^2) /
  // erfc(z) ~ -2 z^2 = -x^2 multiplies
  auto const gelu = [](wide x) { return x / 2 * std::erfc(-x / std::sqrt(wide(2))); };
  for (double v = -30; v <= 30; v += 0.03125) {
    T const x = static_cast<T>(v);
    wide const e = gelu(static_cast<wide>(x));
    if (std::fabs(e) < std::numeric_limits<T>::min() * 1e3L) continue;
    CAPTURE(v);
    CHECK(std::fabs((static_cast<wide>(smx::gelu{}(x)) - e) / e) <
          (8 + 3 * v * v) * std::numeric_limits<T>::epsilon());
  }
  CHECK(smx::gelu{}(T(0)) == T(0));
}

TEST_CASE("gelu_tanh approximates gelu to 5e-4 and differs from it") {
  double worst = 0;
  for (double x = -8; x <= 8; x += 0.01)
    worst = std::fmax(worst, std::fabs(smx::gelu{}(x)-smx::gelu_tanh{}(x)));
  CHECK(worst < 5e-4);
  CHECK(worst > 1e-4);
  CHECK(smx::gelu_tanh{}(1.0) == test::Approx(0.8411919906082768));  // GPT-2's figure
}

TEMPLATE_TEST_CASE("tails: no overflow, no NaN, the right limits", "", float, double) {
  using T = TestType;
  T const huge = std::numeric_limits<T>::max() / 4;
  for (T const x : {T(40), T(1000), T(1e18), huge}) {
    CAPTURE(x);
    CHECK(smx::sigmoid{}(x) == T(1));
    CHECK(smx::d_sigmoid{}(x) == T(0));
    CHECK(smx::softplus{}(x) == x);
    CHECK(smx::d_softplus{}(x) == T(1));
    CHECK(smx::silu{}(x) == x);
    CHECK(smx::d_silu{}(x) == T(1));
    CHECK(smx::gelu{}(x) == x);
    CHECK(smx::d_gelu{}(x) == T(1));
    CHECK(smx::gelu_tanh{}(x) == x);
    CHECK(smx::d_gelu_tanh{}(x) == T(1));
    CHECK(smx::d_hyperbolic_tangent{}(x) == T(0));
  }
  for (T const x : {T(-1000), T(-1e18), -huge}) {
    CAPTURE(x);
    CHECK(smx::sigmoid{}(x) == T(0));
    CHECK(smx::d_sigmoid{}(x) == T(0));
    CHECK(smx::softplus{}(x) == T(0));
    CHECK(smx::d_softplus{}(x) == T(0));
    CHECK(smx::silu{}(x) == T(0));
    CHECK(smx::d_silu{}(x) == T(0));
    CHECK(smx::gelu{}(x) == T(0));
    CHECK(smx::d_gelu{}(x) == T(0));
    CHECK(smx::gelu_tanh{}(x) == T(0));
    CHECK(smx::d_gelu_tanh{}(x) == T(0));
  }
  // far out on the left, where 1 + erf would have cancelled to 0
  CHECK(smx::gelu{}(T(-6)) == test::Approx(-6 * 0.5 * std::erfc(6 / std::sqrt(2.0))).epsilon(1e-4));
}

TEMPLATE_TEST_CASE("NaN passes through every activation", "", float, double) {
  using T = TestType;
  T const nan = std::numeric_limits<T>::quiet_NaN();
  CHECK(std::isnan(smx::relu{}(nan)));
  CHECK(std::isnan(smx::sigmoid{}(nan)));
  CHECK(std::isnan(smx::softplus{}(nan)));
  CHECK(std::isnan(smx::silu{}(nan)));
  CHECK(std::isnan(smx::gelu{}(nan)));
  CHECK(std::isnan(smx::gelu_tanh{}(nan)));
  CHECK(std::isnan(smx::d_sigmoid{}(nan)));
  CHECK(std::isnan(smx::d_hyperbolic_tangent{}(nan)));
  CHECK(std::isnan(smx::d_softplus{}(nan)));
  CHECK(std::isnan(smx::d_silu{}(nan)));
  CHECK(std::isnan(smx::d_gelu{}(nan)));
  CHECK(std::isnan(smx::d_gelu_tanh{}(nan)));
}

TEST_CASE("arithmetic function objects, also as constant expressions") {
  STATIC_REQUIRE(smx::identity{}(3) == 3);
  STATIC_REQUIRE(smx::negate{}(3.0) == -3.0);
  STATIC_REQUIRE(smx::add{}(3, 4) == 7);
  STATIC_REQUIRE(smx::subtract{}(3, 4) == -1);
  STATIC_REQUIRE(smx::multiply{}(3, 4) == 12);
  STATIC_REQUIRE(smx::multiply_add{}(3, 4, 5) == 17);
  STATIC_REQUIRE(smx::scale_by<double>{0.5}(3.0f) == 1.5f);
  STATIC_REQUIRE(smx::constant<float>{2.f}() == 2.f);
  STATIC_REQUIRE(smx::relu{}(-2.0) == 0.0);
  STATIC_REQUIRE(smx::relu{}(2.0) == 2.0);
  CHECK(smx::exponential{}(1.0) == test::Approx(2.718281828459045));
}

}  // namespace
