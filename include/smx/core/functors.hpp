// SPDX-License-Identifier: Apache-2.0
/// \file  Function objects for `map`: usable on host and device, generic over float and double.
///
/// Activations follow their usual definitions; each `d_*` is the derivative with respect to the input.
#pragma once

#include <cmath>

#include <smx/core/config.hpp>

namespace smx {

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
struct sine {
  template <class T> SMX_HD T operator()(T x) const { return std::sin(x); }
};
struct cosine {
  template <class T> SMX_HD T operator()(T x) const { return std::cos(x); }
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
/// log(1 / (1 + exp(-x)))
struct log_sigmoid {
  template <class T> SMX_HD T operator()(T x) const { return -softplus{}(-x); }
};
struct d_log_sigmoid {
  template <class T> SMX_HD T operator()(T x) const { return sigmoid{}(-x); }
};
/// max(x, 0)^2; NaN stays NaN.
struct squared_relu {
  template <class T> SMX_HD constexpr T operator()(T x) const { return x < T(0) ? T(0) : x * x; }
};
struct d_squared_relu {
  template <class T> SMX_HD constexpr T operator()(T x) const { return x < T(0) ? T(0) : T(2) * x; }
};
/// elu(x) + 1: exp(x) below 0, x + 1 above.
struct elu_plus_one {
  template <class T> SMX_HD T operator()(T x) const { return x > T(0) ? x + T(1) : std::exp(x); }
};
struct d_elu_plus_one {
  template <class T> SMX_HD T operator()(T x) const { return x > T(0) ? T(1) : std::exp(x); }
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
  template <class T> SMX_HD T operator()(T x) const {
    return x * T(0.5) * std::erfc(-x * T(0.70710678118654752440));
  }
};
struct d_gelu {
  template <class T> SMX_HD T operator()(T x) const {
    T const density = T(0.39894228040143267794) * std::exp(T(-0.5) * x * x);
    return T(0.5) * std::erfc(-x * T(0.70710678118654752440)) + x * density;
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
