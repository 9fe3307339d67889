// SPDX-License-Identifier: Apache-2.0
/// \file  Activations as types: the function and its derivative together, so that layers are told one thing.
#pragma once

#include <smx/core/functors.hpp>

namespace smx {

/// Function objects callable where the memory is; `slope` is the derivative of `value`.
template <class F, class D> struct activation {
  using value = F;
  using slope = D;
};
using gelu_erf_activation = activation<gelu, d_gelu>;
using gelu_tanh_activation = activation<gelu_tanh, d_gelu_tanh>;
using silu_activation = activation<silu, d_silu>;
using relu_activation = activation<relu, d_relu>;
using tanh_activation = activation<hyperbolic_tangent, d_hyperbolic_tangent>;

namespace nn {

/// f'(x) dy
template <class D> struct times_slope {
  template <class T> SMX_INLINE SMX_HD T operator()(T dy, T x) const {
    return dy == T(0) ? T(0) : dy * D{}(x);
  }
};
/// f(x) z
template <class F> struct gated {
  template <class T> SMX_INLINE SMX_HD T operator()(T x, T z) const { return F{}(x)*z; }
};
/// f'(x) z dy
template <class D> struct d_gated {
  template <class T> SMX_INLINE SMX_HD T operator()(T dy, T x, T z) const { return dy * z * D{}(x); }
};

}  // namespace nn
}  // namespace smx
