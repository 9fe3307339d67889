// SPDX-License-Identifier: Apache-2.0
/// \file  Mixers by value: what allocates and returns, with the work done, so that any backend of that memory
/// may go on with it. The view-level members of a mixer allocate nothing and wait for nothing.
#pragma once

#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include <smx/core/rng.hpp>
#include <smx/mixers/parameters.hpp>

namespace smx {

namespace detail {

/// The values of an array as functions of the index.
template <int R> struct random_entries {
  random_stream from;
  smx::extents<R> ext;
  initializer init;

  SMX_HD double operator()(smx::extents<R> const& i) const {
    index_t n = 0;
    for (int r = 0; r < R; ++r) n = n * ext[r] + i[r];
    auto const entry = static_cast<std::uint64_t>(n);
    switch (init.how) {
      case initializer::law::uniform:
        return init.scale * (2 * from.uniform(entry) - 1);
      case initializer::law::normal:
        return init.scale * from.normal(entry);
      case initializer::law::constant:
        break;
    }
    return init.scale;
  }
};

/// The inputs of a mixer from views or tensors, in the order of its for_each_input; inputs that are left out
/// stay empty.
template <class M, class A, class... X> typename M::template inputs<A> collect_inputs(X&... x) {
  typename M::template inputs<A> to;
  auto from = std::forward_as_tuple(x...);
  constexpr int given = sizeof...(X);
  int next = 0;
  M::for_each_input(
      [&](char const*, auto& slot) {
        int at = 0;
        std::apply([&](auto&... one) { ((at++ == next ? void(slot = one) : void()), ...); }, from);
        ++next;
      },
      to);
  expects_value(given <= next, "inputs", "no more arrays than the mixer has inputs", given);
  return to;
}

}  // namespace detail

/// An array of T where the memory of backend B is: a tensor or a view, of any rank. Each function below asks
/// for it first, so that an array of another space is one line of the diagnostic.
template <class X, class B, class T>
concept ArrayOf = std::convertible_to<X const&, in<B, T, X::rank>>;

/// A tensor of normal numbers (mean 0, variance 1); entry i is a function of the seed and i alone.
template <Compute T, class B, std::size_t R>
auto random_normal(B& be, index_t const (&ext)[R], std::uint64_t seed) {
  tensor<T, static_cast<int>(R), space_t<B>> x(be.memory(), make_extents(ext));
  be.generate(
      detail::random_entries<static_cast<int>(R)>{{seed, 0}, x.extents(), {initializer::law::normal, 1}},
      x.view());
  be.synchronize();
  return x;
}

/// The weights of a mixer at their start: each weight draws from a stream of its own under `seed`.
template <MixerValue M, class B> parameters<M, B> initialize(B& be, M const& m, std::uint64_t seed) {
  parameters<M, B> w(be, m);
  std::uint64_t stream = 1;
  m.for_each_weight(
      [&](auto const& info, auto& to) {
        constexpr int rank = std::remove_cvref_t<decltype(info.ext)>::rank();
        be.generate(detail::random_entries<rank>{{seed, stream++}, info.ext, info.init}, to);
      },
      w.write());
  be.synchronize();
  return w;
}

/// y = M x. `x...` are tensors or views in the order of the mixer's inputs (monarch: x; attention: q, k, v).
template <MixerValue M, class B, ArrayOf<B, typename M::scalar>... X>
requires Mixer<M, B> tensor<typename M::scalar, 4, space_t<B>> forward(
    B& be, M const& m, std::type_identity_t<weights_in<M, B>> const& w, X const&... x) {
  auto const inputs = detail::collect_inputs<M, reads<B>>(x...);
  tensor<typename M::scalar, 4, space_t<B>> y(be.memory(), m.output_extents(inputs));
  auto frame = be.scope();
  m.forward(be, w, inputs, tape_of<M, B>{}, y.view());
  be.synchronize();
  return y;
}

/// What gradients returns: `w`, a parameters object, and `x`: the gradient of the input, or a struct of them
/// (g.x.q, g.x.k, g.x.v) where the mixer has several.
template <class M, class S> struct gradients_in {
  static constexpr bool single = M::input_count == 1;
  parameters_in<M, S> w;
  std::conditional_t<single, tensor<typename M::scalar, 4, S>, typename M::template inputs<owns_in<S>>> x;
};

template <class M, class B> using gradients_of = gradients_in<M, space_t<B>>;

/// The gradients of sum(dy * forward(x)) for the weights and the inputs; the last array is dy, the upstream
/// gradient.
template <MixerValue M, class B, ArrayOf<B, typename M::scalar>... X>
requires Mixer<M, B> &&
    (sizeof...(X) >= 2) gradients_of<M, B> gradients(B& be, M const& m,
                                                     std::type_identity_t<weights_in<M, B>> const& w,
                                                     X const&... x_then_dy) {
  using T = typename M::scalar;
  auto all = std::forward_as_tuple(x_then_dy...);
  in<B, T, 4> const dy = std::get<sizeof...(X) - 1>(all);
  auto const inputs = [&]<std::size_t... I>(std::index_sequence<I...>) {
    return detail::collect_inputs<M, reads<B>>(std::get<I>(all)...);
  }
  (std::make_index_sequence<sizeof...(X) - 1>{});

  gradients_of<M, B> g{parameters<M, B>(be, m), {}};
  typename M::template inputs<owns<B>> dx;
  inputs_out<M, B> to;
  M::for_each_input(
      [&](char const*, auto const& given, auto& owned, auto& written) {
        if (given.size() == 0) return;
        owned = std::remove_reference_t<decltype(owned)>(be.memory(), given.ext);
        written = owned.view();
      },
      inputs, dx, to);
  {
    auto frame = be.scope();
    auto const tape = m.make_tape(be, inputs);
    tensor<T, 4, space_t<B>> y(be.memory(), m.output_extents(inputs));  // (B,H,L,D)
    m.forward(be, w, inputs, tape, y.view());
    m.backward(be, w, inputs, tape, dy, g.w.write(), to);
  }
  be.synchronize();
  if constexpr (gradients_of<M, B>::single)
    M::for_each_input([&](char const*, auto& one) { g.x = std::move(one); }, dx);
  else
    g.x = std::move(dx);
  return g;
}

}  // namespace smx
