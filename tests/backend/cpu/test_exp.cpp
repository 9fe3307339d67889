// SPDX-License-Identifier: Apache-2.0
// Vector exp and exp2: error in units of the last place against long double, and the ends of the range.
#include <cmath>
#include <limits>

#include <smx/backend/cpu/exp.hpp>

#include "../../catch.hpp"
#include "../../scalars.hpp"

namespace {

namespace kernels = smx::cpu_kernels;

template <class T> T exp_of(T x) { return kernels::exp(kernels::splat(x))[0]; }
template <class T> T exp2_of(T x) { return kernels::exp2(kernels::splat(x))[0]; }

/// Largest error over n points of [low, high] in units of the last place of the exact value.
template <class T>
double worst_ulp(T (*f)(T), long double (*exact)(long double), double low, double high, int n) {
  long double worst = 0;
  for (int i = 0; i <= n; ++i) {
    T const x = static_cast<T>(low + (high - low) * i / n);
    long double const e = exact(static_cast<long double>(x));
    int power = 0;
    (void)std::frexp(e, &power);
    long double const ulp = std::ldexp(1.0L, power - std::numeric_limits<T>::digits);
    worst = std::max(worst, std::fabs(static_cast<long double>(f(x)) - e) / ulp);
  }
  return static_cast<double>(worst);
}

long double exp_exact(long double x) { return std::exp(x); }
long double exp2_exact(long double x) { return std::exp2(x); }

}  // namespace

// Units of the last place of the result: last addition 0.5, its product 0.25, the addition and product before
// it 0.25, reduced argument 0.35, polynomial 0.2; contracted multiply-adds save the products.
TEST_CASE("exp and exp2 are good to about one unit in the last place", "[cpu][exp]") {
  double const limit = 1.55;
  CHECK(worst_ulp<float>(exp_of, exp_exact, -86.9, 88.7, 400000) <= limit);
  CHECK(worst_ulp<float>(exp_of, exp_exact, -1, 1, 100000) <= limit);
  CHECK(worst_ulp<float>(exp2_of, exp2_exact, -125.4, 127.99, 400000) <= limit);
  CHECK(worst_ulp<double>(exp_of, exp_exact, -708.0, 709.7, 400000) <= limit);
  CHECK(worst_ulp<double>(exp_of, exp_exact, -1, 1, 100000) <= limit);
  CHECK(worst_ulp<double>(exp2_of, exp2_exact, -1021.4, 1023.99, 400000) <= limit);
}

TEMPLATE_TEST_CASE("exp and exp2 at the ends of the range", "[cpu][exp]", TEST_SCALARS) {
  using T = TestType;
  constexpr T inf = std::numeric_limits<T>::infinity(), largest = std::numeric_limits<T>::max();
  bool const single = sizeof(T) == 4;
  for (auto f : {exp_of<T>, exp2_of<T>}) {
    CHECK(f(T(0)) == T(1));
    CHECK(f(T(-0.0)) == T(1));
    CHECK(f(-inf) == T(0));
    CHECK_FALSE(std::signbit(f(-inf)));
    CHECK(f(-largest) == T(0));
    CHECK(f(inf) == inf);
    CHECK(f(largest) == inf);
    CHECK(std::isnan(f(std::numeric_limits<T>::quiet_NaN())));
    CHECK(std::isnan(f(-std::numeric_limits<T>::quiet_NaN())));
  }
  CHECK(exp2_of(T(single ? 128 : 1024)) == inf);
  CHECK(exp2_of(T(single ? 127 : 1023)) == std::ldexp(T(1), single ? 127 : 1023));
  CHECK(exp2_of(T(single ? -125 : -1021)) == std::ldexp(T(1), single ? -125 : -1021));
  CHECK(exp2_of(T(single ? -126 : -1022)) == T(0));
  CHECK(exp_of(T(single ? 88.73 : 709.79)) == inf);
  CHECK(exp_of(T(single ? 88.72 : 709.78)) < inf);
  T worst = 0;  // no garbage anywhere: relative to the exact value, or 0 where it is subnormal
  auto const compare = [&](T value, T exact) {
    if (value == exact) return;
    T const error = std::fabs(value - exact) / (exact + 2e5f * std::numeric_limits<T>::min());
    worst = error <= worst ? worst : error;
  };
  for (T x = T(single ? -140 : -1100); x < T(single ? 140 : 1100); x += T(0.01)) {
    compare(exp_of(x), std::exp(x));
    compare(exp2_of(x), std::exp2(x));
  }
  CHECK(worst <= T(1e-5));
}
