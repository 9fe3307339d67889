// SPDX-License-Identifier: Apache-2.0
/// \file  Attention over two sets of keys from attention over each:
///        lse = log(exp(lse1) + exp(lse2)),  y = exp(lse1 - lse) y1 + exp(lse2 - lse) y2.
///
/// Associative and commutative up to rounding, with (0, -inf) as the empty set: keys may be split over time,
/// memory or machines, and put together in any order. M. Milakov and N. Gimelshein, "Online normalizer
/// calculation for softmax", 2018.
#pragma once

#include <smx/backend/shapes.hpp>
#include <smx/core/tensor.hpp>
#include <smx/mixers/log_shares.hpp>
#include <smx/mixers/run.hpp>

namespace smx {

namespace detail {

/// share1 y1 + share2 y2; what has no share is not read into the sum.
struct weighted_sum {
  template <class T> SMX_HD T operator()(T share1, T y1, T share2, T y2) const {
    return (share1 == T(0) ? T(0) : share1 * y1) + (share2 == T(0) ? T(0) : share2 * y2);
  }
};

}  // namespace detail

/// Writes the attention (y, lse) over both sets of keys: y (B,H,L,E), lse (B,H,L,1), as attention's forward
/// writes its output and its tape. y and lse may be those of a part. Throws precondition_error for extents
/// that differ.
template <Compute T, class B>
void merge(B& be, std::type_identity_t<in<B, T, 4>> y1, std::type_identity_t<in<B, T, 4>> lse1,
           std::type_identity_t<in<B, T, 4>> y2, std::type_identity_t<in<B, T, 4>> lse2, out<B, T, 4> y,
           out<B, T, 4> lse) {
  extents<4> const rows{y.ext[0], y.ext[1], y.ext[2], 1};
  expects_extents("merge: y1", y1.ext, y.ext);
  expects_extents("merge: y2", y2.ext, y.ext);
  expects_extents("merge: lse1", lse1.ext, rows);
  expects_extents("merge: lse2", lse2.ext, rows);
  expects_extents("merge: lse", lse.ext, rows);
  auto frame = be.scope();
  auto const all = be.template scratch<T>(rows), share1 = be.template scratch<T>(rows),
             share2 = be.template scratch<T>(rows);
  be.map(detail::log_add{}, all, lse1, lse2);
  be.map(detail::share_of{}, share1, lse1, as_input(all));
  be.map(detail::share_of{}, share2, lse2, as_input(all));
  auto const along = [&](out<B, T, 4> const& v) {
    in<B, T, 4> wide = v;
    wide.ext[3] = y.ext[3], wide.str[3] = 0;
    return wide;
  };
  be.map(detail::weighted_sum{}, y, along(share1), y1, along(share2), y2);
  be.copy(as_input(all), lse);
}

/// What attention over some keys gives: y (B,H,L,E) and lse (B,H,L,1).
template <class T, class S> struct partial_attention_in { tensor<T, 4, S> y, lse; };

/// merge by value.
template <class T, class B>
partial_attention_in<T, space_t<B>> merge(B& be, partial_attention_in<T, space_t<B>> const& one,
                                          partial_attention_in<T, space_t<B>> const& other) {
  partial_attention_in<T, space_t<B>> all{{be.memory(), one.y.extents()}, {be.memory(), one.lse.extents()}};
  merge<T>(be, one.y.cview(), one.lse.cview(), other.y.cview(), other.lse.cview(), all.y.view(),
           all.lse.view());
  be.synchronize();
  return all;
}

/// y and lse of attention `m` over the keys k and values v, to merge with others.
template <class M, class B, ArrayOf<B, typename M::scalar>... X>
requires Mixer<M, B> partial_attention_in<typename M::scalar, space_t<B>> partial_attention(
    B& be, M const& m, std::type_identity_t<weights_in<M, B>> const& w, X const&... x) {
  using T = typename M::scalar;
  auto const inputs = detail::collect_inputs<M, reads<B>>(x...);
  extents<4> const e = m.output_extents(inputs);
  partial_attention_in<T, space_t<B>> part{{be.memory(), e}, {be.memory(), {e[0], e[1], e[2], 1}}};
  {
    auto frame = be.scope();
    auto const tape = m.make_tape(be, inputs);
    m.forward(be, w, inputs, tape, part.y.view());
    be.copy(as_input(tape.lse), part.lse.view());
  }
  be.synchronize();
  return part;
}

}  // namespace smx
