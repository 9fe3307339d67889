// SPDX-License-Identifier: Apache-2.0
/// \file  Element types. float and double compute; bf16 and f16 are storage: no arithmetic, so that nobody
/// accumulates
///        in 8 or 11 bits by accident (512 ones sum to 256 in bf16).
#pragma once

#include <concepts>
#include <cstdint>

#include <smx/core/config.hpp>

namespace smx {

namespace detail {
/// std::bit_cast for host and device: nvcc takes the library's for a function of the host.
template <class To, class From> SMX_HD constexpr To bits_as(From const& from) {
  static_assert(sizeof(To) == sizeof(From));
  return __builtin_bit_cast(To, from);
}
}  // namespace detail

/// bfloat16: 1 + 8 + 7 bits. Conversion from float rounds to nearest, ties to even; NaN stays NaN.
struct bf16 {
  std::uint16_t bits = 0;

  bf16() = default;
  SMX_HD explicit constexpr bf16(float f) {
    auto const u = detail::bits_as<std::uint32_t>(f);
    bits = static_cast<std::uint16_t>(f != f ? (u >> 16) | 0x40u : (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
  }
  SMX_HD constexpr operator float() const {
    return detail::bits_as<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

/// IEEE binary16: 1 + 5 + 10 bits, with subnormals. Conversion from float rounds to nearest, ties to even;
/// values from 65520 on become infinity; NaN stays NaN.
struct f16 {
  std::uint16_t bits = 0;

  f16() = default;
  SMX_HD explicit constexpr f16(float f) {
    auto const u = detail::bits_as<std::uint32_t>(f);
    std::uint32_t const sign = (u >> 16) & 0x8000u, magnitude = u & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) {  // NaN, quiet, with the top of its payload
      bits = static_cast<std::uint16_t>(sign | 0x7E00u | ((magnitude >> 13) & 0x1FFu));
    } else if (magnitude >= 0x477FF000u) {  // 65520: the first value that rounds to infinity
      bits = static_cast<std::uint16_t>(sign | 0x7C00u);
    } else if (magnitude >= 0x38800000u) {  // normal in f16: from 2^-14
      std::uint32_t const rebased = magnitude - 0x38000000u;
      bits = static_cast<std::uint16_t>(sign | ((rebased + 0xFFFu + ((rebased >> 13) & 1u)) >> 13));
    } else {  // subnormal: multiples of 2^-24; 0.5 has an ulp of 2^-24, so the addition rounds for us
      float const steps = detail::bits_as<float>(magnitude) + 0.5f;
      bits = static_cast<std::uint16_t>(sign | (detail::bits_as<std::uint32_t>(steps) - 0x3F000000u));
    }
  }
  SMX_HD constexpr operator float() const {
    std::uint32_t const sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16, body = bits & 0x7FFFu;
    if (body >= 0x7C00u) return detail::bits_as<float>(sign | 0x7F800000u | ((body & 0x3FFu) << 13));
    if (body >= 0x0400u) return detail::bits_as<float>(sign | ((body << 13) + 0x38000000u));
    float const magnitude = static_cast<float>(body) * 0x1p-24f;  // exact
    return sign != 0 ? -magnitude : magnitude;
  }
};

static_assert(sizeof(bf16) == 2 && sizeof(f16) == 2);

/// The type in which sums of products of T are formed.
template <class T> struct compute { using type = T; };
template <> struct compute<bf16> { using type = float; };
template <> struct compute<f16> { using type = float; };
template <class T> using compute_t = typename compute<T>::type;

/// Types that kernels calculate in.
template <class T>
concept Compute = std::same_as<T, float> || std::same_as<T, double>;

/// "f32", "f64", "bf16", "f16".
template <class T> constexpr char const* dtype_name() {
  if constexpr (std::same_as<T, float>)
    return "f32";
  else if constexpr (std::same_as<T, double>)
    return "f64";
  else if constexpr (std::same_as<T, bf16>)
    return "bf16";
  else if constexpr (std::same_as<T, f16>)
    return "f16";
  else
    static_assert(sizeof(T) == 0, "dtype_name: no such element type");
}

}  // namespace smx
