// SPDX-License-Identifier: Apache-2.0
/// \file  What layers prepare once from weights that then stay, for inputs of one length: kernels of long
/// convolutions, matrices as the backend's products want them. `prepare(be, w, length)` makes it, `apply(be,
/// w, prepared, x, y)` is forward with it; layers made of layers hold their parts'.
#pragma once

#include <smx/nn/layer.hpp>

namespace smx::nn {

namespace detail {
/// Of a layer that prepares nothing.
struct nothing_prepared {
  std::size_t bytes() const { return 0; }
};
template <class L> consteval bool prepares() {
  if constexpr (requires { L::prepares; })  // made of layers
    return L::prepares;
  else
    return requires { typename L::template prepared<owns_in<host_space>>; };
}
template <class L, class A> struct prepared_part { using type = nothing_prepared; };
template <class L, class A>
requires(prepares<L>()) struct prepared_part<L, A> {
  using type = typename L::template prepared<A>;
};
}  // namespace detail

template <class L> inline constexpr bool prepares = detail::prepares<L>();
template <class L, class A> using prepared_part = typename detail::prepared_part<L, A>::type;

template <class B, class L>
prepared_part<L, owns<B>> prepare_part(B& be, L const& layer, weights_in<L, B> const& w, index_t length) {
  if constexpr (prepares<L>)
    return layer.prepare(be, w, length);
  else
    return {};
}
template <class B, class L>
void apply_part(B& be, L const& layer, weights_in<L, B> const& w, prepared_part<L, owns<B>> const& p,
                inputs_in<L, B> const& x, out<B, typename L::scalar, 4> y) {
  if constexpr (prepares<L>)
    layer.apply(be, w, p, x, y);
  else
    layer.forward(be, w, x, {}, y);
}

}  // namespace smx::nn
