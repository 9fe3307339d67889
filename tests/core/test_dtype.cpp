// SPDX-License-Identifier: Apache-2.0
// bf16 and f16: all 65536 patterns there and back, and rounding against a conversion in double precision that
// enumerates neighbours instead of shifting bits.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <smx/core/dtype.hpp>

#include "../catch.hpp"

namespace {

using smx::bf16;
using smx::f16;

/// The value of a pattern from the definition: (-1)^s 2^(e - bias) (1 + m / 2^fraction), subnormals without
/// the 1.
double value_of(std::uint32_t bits, int exponent_bits, int fraction_bits) {
  int const bias = (1 << (exponent_bits - 1)) - 1;
  std::uint32_t const mantissa = bits & ((1u << fraction_bits) - 1);
  int const exponent = static_cast<int>((bits >> fraction_bits) & ((1u << exponent_bits) - 1));
  double const sign = (bits >> (exponent_bits + fraction_bits)) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) return mantissa != 0 ? NAN : sign * INFINITY;
  double const fraction = std::ldexp(static_cast<double>(mantissa), -fraction_bits);
  return exponent == 0 ? sign * std::ldexp(fraction, 1 - bias)
                       : sign * std::ldexp(1 + fraction, exponent - bias);
}

template <class S> struct format;
template <> struct format<bf16> { static constexpr int exponent = 8, fraction = 7; };
template <> struct format<f16> { static constexpr int exponent = 5, fraction = 10; };

/// Non-negative finite values in ascending order (the patterns are ordered like the values), and what would
/// come next without infinity: the rounding threshold of overflow is half-way to it.
template <class S> std::vector<double> const& ladder() {
  static std::vector<double> const values = [] {
    std::vector<double> v;
    constexpr std::uint32_t infinity = ((1u << format<S>::exponent) - 1) << format<S>::fraction;
    for (std::uint32_t b = 0; b < infinity; ++b)
      v.push_back(value_of(b, format<S>::exponent, format<S>::fraction));
    v.push_back(std::ldexp(1.0, 1 << (format<S>::exponent - 1)));
    return v;
  }();
  return values;
}

/// Round to nearest, ties to the even pattern, by looking at the two neighbours. All in exact double
/// arithmetic.
template <class S> std::uint32_t nearest(float f) {
  auto const& v = ladder<S>();
  double const x = std::fabs(static_cast<double>(f));
  std::uint32_t const sign = std::signbit(f) ? 0x8000u : 0u;
  if (x >= v.back()) return sign | static_cast<std::uint32_t>(v.size() - 1);
  auto const above = std::upper_bound(v.begin(), v.end(), x) - v.begin();
  auto const low = static_cast<std::uint32_t>(above - 1), high = static_cast<std::uint32_t>(above);
  double const down = x - v[low], up = v[high] - x;
  bool const take_low = down < up || (down == up && low % 2 == 0);
  return sign | (take_low ? low : high);
}

TEMPLATE_TEST_CASE("every pattern converts to its value and back", "", bf16, f16) {
  using S = TestType;
  for (std::uint32_t b = 0; b < 0x10000u; ++b) {
    S s;
    s.bits = static_cast<std::uint16_t>(b);
    auto const f = static_cast<float>(s);
    double const expected = value_of(b, format<S>::exponent, format<S>::fraction);
    S const back(f);
    if (std::isnan(expected)) {
      bool const kept =
          std::isnan(f) && std::isnan(static_cast<float>(back)) && (back.bits & 0x8000u) == (b & 0x8000u);
      if (!kept) FAIL("NaN pattern " << b);
    } else if (static_cast<double>(f) != expected || std::signbit(f) != std::signbit(expected) ||
               back.bits != b) {
      FAIL("pattern " << b << " gives " << f << " and returns as " << back.bits);
    }
  }
  SUCCEED();
}

TEMPLATE_TEST_CASE("floats round to nearest, ties to even", "", bf16, f16) {
  using S = TestType;
  std::uint64_t wrong = 0;
  auto const check = [&](float f) {
    if (S(f).bits != nearest<S>(f)) {
      if (++wrong < 5) UNSCOPED_INFO("float with bits " << std::bit_cast<std::uint32_t>(f));
    }
  };
  // every value, the midpoint to its successor, and the floats next to both
  auto const& v = ladder<S>();
  for (std::size_t i = 0; i + 1 < v.size(); ++i)
    for (double const x : {v[i], (v[i] + v[i + 1]) / 2}) {
      auto const f = static_cast<float>(x);
      for (float const near : {f, std::nextafterf(f, INFINITY), std::nextafterf(f, -INFINITY)}) {
        check(near);
        check(-near);
      }
    }
  // a walk over all exponents and mantissas
  for (std::uint64_t bits = 0; bits < 0x7f800000u; bits += 997)
    check(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  for (float const f :
       {0.f, -0.f, std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::min(),
        std::numeric_limits<float>::max(), INFINITY, -INFINITY, 65504.f, 65519.99f, 65520.f, 65536.f})
    check(f);
  CHECK(wrong == 0);
}

TEMPLATE_TEST_CASE("NaN stays NaN, also where the payload lies in the bits that are cut off", "", bf16, f16) {
  using S = TestType;
  for (std::uint32_t const bits :
       {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffc12345u, 0x7f801fffu}) {
    S const s(std::bit_cast<float>(bits));
    CHECK(std::isnan(static_cast<float>(s)));
    CHECK((s.bits >> 15) == (bits >> 31));
  }
}

TEST_CASE("conversions are constant expressions, storage types have no arithmetic of their own") {
  STATIC_REQUIRE(static_cast<float>(bf16(1.0f)) == 1.0f);
  STATIC_REQUIRE(static_cast<float>(f16(0x1p-24f)) == 0x1p-24f);
  STATIC_REQUIRE(f16(0x1p-25f).bits == 0);
  STATIC_REQUIRE(std::is_same_v<smx::compute_t<bf16>, float>);
  STATIC_REQUIRE(std::is_same_v<smx::compute_t<f16>, float>);
  STATIC_REQUIRE(std::is_same_v<smx::compute_t<double>, double>);
  STATIC_REQUIRE(std::is_same_v<decltype(bf16(1.0f) + bf16(1.0f)), float>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<float, bf16>);
  STATIC_REQUIRE_FALSE(smx::Compute<bf16>);
  CHECK(std::string(smx::dtype_name<bf16>()) == "bf16");
  CHECK(std::string(smx::dtype_name<f16>()) == "f16");
  CHECK(std::string(smx::dtype_name<float>()) == "f32");
  CHECK(std::string(smx::dtype_name<double>()) == "f64");
}

}  // namespace
