// SPDX-License-Identifier: Apache-2.0
/// \file  Function objects for `map`: usable on host and device, generic over float and double.
///
/// Activations follow their usual definitions; each `d_*` is the derivative with respect to the input.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include <smx/core/config.hpp>

namespace smx {

namespace detail {

/// e^-|x| without a branch or a call, so that loops over it are vectorised: 1 ulp; below 2^-125 it is 0, also
/// for NaN. e^x = 2^n e^r, as in backend/cpu/exp.hpp. The lower limit is one of bit patterns: g++ makes a
/// branch of the same limit in float.
SMX_INLINE float branch_free_exp(float x) {
  std::uint32_t const bits = std::bit_cast<std::uint32_t>(x) | 0x80000000u, least = 0xc2aecccdu;  // -87.4
  float const y = std::bit_cast<float>(bits < least ? bits : least), scaled = y * 1.44269504f;
  auto const n = static_cast<std::int32_t>(scaled - 0.5f);
  auto const whole = static_cast<float>(n);
  float const r = (y - whole * 0.693359375f) + whole * 2.12194440e-4f;
  float p = 2.785242628e-03f;
  p = p * r + 1.672640629e-02f;
  p = p * r + 8.333311230e-02f;
  p = p * r + 3.333315253e-01f;
  p = p * r + 1.f;
  p = p * r + 2.f;
  p = p * r + 2.f;
  return p * std::bit_cast<float>((n + 126) << 23);
}
/// 1 - erf(x), relative error 1.2e-7 and the rounding of x^2: the fit of W. Press et al., "Numerical
/// Recipes", section 6.2.
SMX_INLINE float branch_free_erfc(float x) {
  float const sign = std::copysign(1.f, x), z = sign * x, t = 1.f / (1.f + 0.5f * z);
  float p = 0.17087277f;
  p = p * t - 0.82215223f;
  p = p * t + 1.48851587f;
  p = p * t - 1.13520398f;
  p = p * t + 0.27886807f;
  p = p * t - 0.18628806f;
  p = p * t + 0.09678418f;
  p = p * t + 0.37409196f;
  p = p * t + 1.00002368f;
  p = p * t - 1.26551223f;
  float const tail = t * branch_free_exp(p - z * z);
  return (1.f - sign) + sign * tail;
}

/// e^x for x <= 0, and 1 - erf(x): std::exp and std::erfc, but for float on the host, where a call for each
/// entry takes ten times as long.
template <class T> SMX_INLINE SMX_HD T exp_of_negative(T x) {
#if !defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == 4) return branch_free_exp(x);
#endif
  return std::exp(x);
}
template <class T> SMX_INLINE SMX_HD T erfc_of(T x) {
#if !defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == 4) return branch_free_erfc(x);
#endif
  return std::erfc(x);
}

}  // namespace detail

struct identity {
  template <class T> SMX_HD constexpr T operator()(T x) const { return x; }
};
struct negate {
  template <class T> SMX_HD constexpr T operator()(T x) const { return -x; }
};
struct add {
  template <class T> SMX_HD constexpr T operator()(T x, T y) const { return x + y; }
};
struct subtract {
  template <class T> SMX_HD constexpr T operator()(T x, T y) const { return x - y; }
};
struct multiply {
  template <class T> SMX_HD constexpr T operator()(T x, T y) const { return x * y; }
};
/// x y + z
struct multiply_add {
  template <class T> SMX_HD constexpr T operator()(T x, T y, T z) const { return x * y + z; }
};
/// factor x
template <class S> struct scale_by {
  S factor;
  template <class T> SMX_HD constexpr T operator()(T x) const { return static_cast<T>(factor) * x; }
};
/// The same value everywhere; takes no input.
template <class S> struct constant {
  S value;
  SMX_HD constexpr S operator()() const { return value; }
};

struct exponential {
  template <class T> SMX_HD T operator()(T x) const { return std::exp(x); }
};
/// 1 / (1 + exp(-x))
struct sigmoid {
  template <class T> SMX_HD T operator()(T x) const { return T(1) / (T(1) + std::exp(-x)); }
};
struct d_sigmoid {
  template <class T> SMX_HD T operator()(T x) const {
    T const s = sigmoid{}(x);
    return s * (T(1) - s);
  }
};
struct hyperbolic_tangent {
  template <class T> SMX_HD T operator()(T x) const { return std::tanh(x); }
};
struct d_hyperbolic_tangent {
  template <class T> SMX_HD T operator()(T x) const {
    T const t = std::tanh(x);
    return T(1) - t * t;
  }
};
/// max(x, 0); NaN stays NaN.
struct relu {
  template <class T> SMX_HD constexpr T operator()(T x) const { return x < T(0) ? T(0) : x; }
};
struct d_relu {
  template <class T> SMX_HD constexpr T operator()(T x) const { return x > T(0) ? T(1) : T(0); }
};
/// log(1 + exp(x)), without overflow.
struct softplus {
  template <class T> SMX_HD T operator()(T x) const {
    return x > T(0) ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
  }
};
struct d_softplus {
  template <class T> SMX_HD T operator()(T x) const { return sigmoid{}(x); }
};
/// x sigmoid(x), also called swish.
struct silu {
  template <class T> SMX_HD T operator()(T x) const { return x * sigmoid{}(x); }
};
struct d_silu {
  template <class T> SMX_HD T operator()(T x) const {
    T const s = sigmoid{}(x);
    return s * (T(1) + x * (T(1) - s));
  }
};
/// x Phi(x), the exact form: Phi(x) = (1 + erf(x / sqrt 2)) / 2.
struct gelu {
  template <class T> SMX_INLINE SMX_HD T operator()(T x) const {
    return x * T(0.5) * detail::erfc_of(-x * T(0.70710678118654752440));
  }
};
struct d_gelu {
  template <class T> SMX_INLINE SMX_HD T operator()(T x) const {
    T const density = T(0.39894228040143267794) * detail::exp_of_negative(T(-0.5) * x * x);
    return T(0.5) * detail::erfc_of(-x * T(0.70710678118654752440)) + x * density;
  }
};
/// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), the approximation that GPT-2 uses.
struct gelu_tanh {
  template <class T> SMX_HD T operator()(T x) const {
    T const u = T(0.79788456080286535588) * (x + T(0.044715) * x * x * x);
    return T(0.5) * x * (T(1) + std::tanh(u));
  }
};
struct d_gelu_tanh {
  template <class T> SMX_HD T operator()(T x) const {
    T const u = T(0.79788456080286535588) * (x + T(0.044715) * x * x * x), t = std::tanh(u);
    T const du = T(0.79788456080286535588) * (T(1) + T(0.134145) * x * x), flat = T(1) - t * t;
    return T(0.5) * (T(1) + t) + (flat == T(0) ? T(0) : T(0.5) * x * flat * du);  // du may be infinite
  }
};

}  // namespace smx
