// SPDX-License-Identifier: Apache-2.0
/// \file  How a backend replaces a whole recipe by a tuned kernel: opt-in, and held against the recipe by the
/// suite.
///
/// A mixer describes the work as a call (a struct of views and sizes, below) and asks tuned(be, call). A
/// backend that has a better way defines `bool smx_tuned(B& be, call const&)` in its namespace; it returns
/// false for what it does not take (strides, sizes), and then the recipe runs. The function is a program over
/// scratch, tiles and kernel, so that a planner for that backend runs it too, as shapes.
#pragma once

#include <concepts>

#include <smx/core/mask.hpp>
#include <smx/core/view.hpp>

namespace smx {

template <class B, class Call>
concept Tunes = requires(B& be, Call const& call) {
  { smx_tuned(be, call) } -> std::same_as<bool>;
};

/// Runs the backend's own way of doing `call` if it has one that takes it.
template <class B, class Call> bool tuned(B& be, Call const& call) {
  if constexpr (Tunes<B, Call>)
    return smx_tuned(be, call);
  else
    return false;
}

/// y = M x for a Monarch matrix of order 2 (see structured/monarch_factors.hpp): w1 (K,Q,P), w2 (Lo,S,R), Lo
/// R = K Q; x (B,H,L,D), y (B,H,L',D), mixed along L, or along D when `channels`. u (B,H,KQ,C), C the axis
/// that is not mixed, records the first stage unless empty.
template <class T, class S> struct monarch_forward_call {
  view<T const, 3, S> w1, w2;
  view<T const, 4, S> x;
  view<T, 4, S> u;
  view<T, 4, S> y;
  bool channels;
};

/// The adjoint: dw1 +=, dw2 +=, dx =.
template <class T, class S> struct monarch_backward_call {
  view<T const, 3, S> w1, w2;
  view<T const, 4, S> x, u, dy;
  view<T, 3, S> dw1, dw2;
  view<T, 4, S> dx;
  bool channels;
};

/// Softmax attention (see mixers/attention.hpp): q (B,Hq,L,D), k (B,Hkv,M,D), v (B,Hkv,M,E), y (B,Hq,L,E),
/// lse (B,Hq,L,1) unless empty.
template <class T, class S, Mask Mask> struct attention_forward_call {
  Mask mask;
  T scale;
  view<T const, 4, S> q, k, v;
  view<T, 4, S> lse;
  view<T, 4, S> y;
};

/// The adjoint: dq, dk, dv =.
template <class T, class S, Mask Mask> struct attention_backward_call {
  Mask mask;
  T scale;
  view<T const, 4, S> q, k, v, y, lse, dy;
  view<T, 4, S> dq, dk, dv;
};

/// How many numbers a backend's own prepared matrices take; ext: (G,N,K).
template <class T> struct product_storage_call {
  extents<3> ext;
  index_t* size;
};

/// Prepares matrices w (G,N,K), rows contiguous, once for many products.
template <class T, class S> struct product_prepare_call {
  view<T const, 3, S> w;
  view<T, 1, S> storage;
};

/// y = x W^T + bias, with the bits of gemm: x (B,H,L,K), y (B,H,L,N), head h with matrix h, or all with the
/// one there is; bias (G,N) or empty.
template <class T, class S> struct product_forward_call {
  extents<3> ext;
  view<T const, 1, S> storage;
  view<T const, 2, S> bias;
  view<T const, 4, S> x;
  view<T, 4, S> y;
};

/// Long convolutions (see mixers/long_convolution.hpp).
enum class convolution_kind : char { causal, bidirectional, circular };

struct convolution_shape {
  index_t length = 0, channels = 0, taps = 0;
  convolution_kind kind = convolution_kind::causal;
  bool exact = false;  ///< causal bit for bit
};

/// How many numbers a backend's own prepared kernels take.
template <class T> struct convolution_storage_call {
  convolution_shape shape;
  index_t* size;
};

/// Prepares kernels (D,taps) once for many uses; k_rev and skip may be empty.
template <class T, class S> struct convolution_prepare_call {
  convolution_shape shape;
  view<T const, 2, S> k, k_rev;
  view<T const, 1, S> skip;
  view<T, 1, S> storage;
};

/// y = post conv(pre x); x, y (B,H,L,D), gates like x or empty.
template <class T, class S> struct convolution_forward_call {
  convolution_shape shape;
  view<T const, 1, S> storage;
  view<T const, 4, S> x, pre, post;
  view<T, 4, S> y;
};

/// The adjoint, from kernels prepared without `exact`: dx, dpre, dpost =, dk, dk_rev, dskip +=; gradients of
/// absent arrays are empty.
template <class T, class S> struct convolution_backward_call {
  convolution_shape shape;
  view<T const, 1, S> storage;
  view<T const, 4, S> x, pre, post, dy;
  view<T, 2, S> dk, dk_rev;
  view<T, 1, S> dskip;
  view<T, 4, S> dx, dpre, dpost;
};

/// The memory of a stream of at most shape.length positions: numbers of a prepared kernel, rows (of D) that a
/// state has for each sequence, and a number above 1 that tells apart how they are laid out.
template <class T> struct convolution_stream_storage_call {
  convolution_shape shape;
  index_t *kernel, *rows, *layout;
};

/// Prepares the kernel of streams of at most shape.length positions; it serves shorter streams too.
template <class T, class S> struct convolution_stream_prepare_call {
  convolution_shape shape;
  view<T const, 2, S> k;
  view<T const, 1, S> skip;
  view<T, 1, S> kernel;
};

/// The rows (B,H,R,D) of a stream of at most shape.length further positions; x (B,H,P,D), if not empty, are
/// the positions before its first one, gated by `pre`.
template <class T, class S> struct convolution_stream_begin_call {
  convolution_shape shape;
  view<T const, 2, S> k;
  view<T const, 1, S> skip;
  view<T const, 4, S> x, pre;
  view<T, 4, S> rows;
};

/// Position `n` (0, 1, 2, ...) of a stream: x, y (B,H,1,D).
template <class T, class S> struct convolution_stream_step_call {
  convolution_shape shape;
  index_t n;
  view<T const, 1, S> kernel;
  view<T, 4, S> rows;
  view<T const, 4, S> x, pre, post;
  view<T, 4, S> y;
};

}  // namespace smx
