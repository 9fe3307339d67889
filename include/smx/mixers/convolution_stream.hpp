// SPDX-License-Identifier: Apache-2.0
/// \file  The state of a causal convolution that runs token by token.
///
/// A backend with an online convolution (O(log^2 L) a token, O(capacity) rows) runs that; otherwise the state
/// keeps all inputs and a step is the plain sum over them, O(t).
#pragma once

#include <smx/backend/tuned.hpp>
#include <smx/mixers/concept.hpp>
#include <smx/structured/convolution.hpp>

namespace smx {

/// Owned by the caller through long_convolution::make_state; its memory is taken by begin.
template <class A, class T> struct convolution_stream {
  array<A, T, 1> kernel;  ///< prepared taps
  array<A, T, 1> rows;    ///< inputs, or what they give to later outputs
  index_t capacity = 0;   ///< positions in all
  index_t position = 0;   ///< positions so far
  index_t prefix = 0;     ///< of these, those that begin took in
  index_t taps = 0;       ///< of the kernels
  index_t layout = 0;     ///< of the arrays: 0 before begin, 1 the plain one, else the backend's

  template <class F, class... S> static void for_each_array(F&& f, S&&... s) {
    f("kernel", s.kernel...);
    f("rows", s.rows...);
  }
  template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
    f("capacity", s.capacity...);
    f("position", s.position...);
    f("prefix", s.prefix...);
    f("taps", s.taps...);
    f("layout", s.layout...);
  }
  index_t tokens() const { return position; }
  std::size_t bytes() const { return kernel.bytes() + rows.bytes(); }

  void expect_room(index_t count) const {
    expects_value(position + count <= capacity, "long_convolution: state",
                  "room for the positions within its capacity; positions", position + count);
  }

  /// Takes memory for the positions that follow the prefix x (B,H,P,D), P = 0 for none, gated by pre.
  template <class B> void begin(B& be, in<B, T, 2> k, in<B, T, 1> skip, in<B, T, 4> x, in<B, T, 4> pre) {
    convolution_shape const s = shape(k, capacity - x.ext[2]);
    prefix = x.ext[2];
    taps = k.ext[1];
    reserve(be, x.ext[0] * x.ext[1], k.ext[0]);
    if (tuned(be,
              convolution_stream_begin_call<T, space_t<B>>{s, k, skip, x, pre, kernel.view(), rows.view()}))
      return;
    out<B, T, 2> const copy(kernel.data(), k.ext);  // (D,taps)
    be.copy(k, copy);
    if (skip.ext[0] != 0) {
      auto const first = fix_axis(copy, 1, 0);
      be.map(add{}, first, as_input(first), skip);
    }
    if (prefix > 0) remember<B>(be, x, pre, 0);
  }

  /// Takes the memory of `batch` sequences of `channels` channels for the positions after the prefix.
  template <class B> void reserve(B& be, index_t batch, index_t channels) {
    convolution_shape const s{capacity - prefix, channels, taps, convolution_kind::causal, true};
    index_t kernel_size = channels * taps, row_size = batch * capacity * channels;
    layout = 1;
    tuned(be, convolution_stream_storage_call<T>{s, batch, &kernel_size, &row_size, &layout});
    kernel = tensor<T, 1, space_t<B>>(be.memory(), extents<1>{kernel_size});
    rows = tensor<T, 1, space_t<B>>(be.memory(), extents<1>{row_size});
  }

  /// Takes the memory that counters from elsewhere (a file) speak of, for kernels of `kernel_taps` taps.
  /// Throws unless they fit each other, this backend and these taps.
  template <class B> void take_memory(B& be, index_t batch, index_t channels, index_t kernel_taps) {
    expects_value(prefix <= position && position <= capacity, "state: prefix",
                  "no more than position, which is no more than capacity", prefix);
    index_t const found = layout;
    if (found == 0) {  // nothing was begun: before the first position, or after a prefill of all of them
      expects_value(position == 0 || position == capacity, "state: layout", "that of a stream that began",
                    found);
      return;
    }
    expects_value(prefix < capacity, "state: prefix", "less than the capacity", prefix);
    expects_value(taps == kernel_taps, "state: taps", "those of the kernels", taps);
    reserve(be, batch, channels);
    expects_value(layout == found, "state: layout", "that of this backend and its instruction set", found);
  }

  /// y = post conv(pre x) for the next position.
  template <class B> void step(B& be, in<B, T, 4> x, in<B, T, 4> pre, in<B, T, 4> post, out<B, T, 4> y) {
    index_t const d = x.ext[3], n = position;
    if (!tuned(be, convolution_stream_step_call<T, space_t<B>>{stream_shape(x), n - prefix, kernel.cview(),
                                                               rows.view(), x, pre, post, y})) {
      remember<B>(be, x, pre, n);
      index_t const reach = taps < n + 1 ? taps : n + 1;
      auto frame = be.scope();
      auto terms = be.template scratch<T>(extents<4>{x.ext[0], x.ext[1], d, reach});
      in<B, T, 2> const k = slice(in<B, T, 2>(kernel.data(), {d, taps}), 1, 0, reach);
      in<B, T, 4> const past = slice(history<B>(x.ext), 2, n + 1 - reach, reach);  // (B,H,reach,D)
      be.map(multiply{}, terms, as_input(detail::reversed(swap_axes(past, 2, 3), 3)),
             broadcast_axis(broadcast_axis(k, 0, x.ext[1]), 0, x.ext[0]));
      auto const sum = swap_axes(y, 2, 3);  // (B,H,D,1)
      be.reduce(reduction::sum, as_input(terms), T(0), sum);
      if (post.size() != 0) be.map(multiply{}, y, as_input(y), post);
    }
    ++position;
  }

 private:
  static convolution_shape shape(auto const& k, index_t left) {
    return {left, k.ext[0], k.ext[1], convolution_kind::causal, true};
  }
  convolution_shape stream_shape(auto const& x) const {
    return {capacity - prefix, x.ext[3], taps, convolution_kind::causal, true};
  }
  template <class B> out<B, T, 4> history(extents<4> const& e) {  // (B,H,capacity,D)
    return {rows.data(), {e[0], e[1], capacity, e[3]}};
  }
  template <class B> void remember(B& be, in<B, T, 4> x, in<B, T, 4> pre, index_t at) {
    auto const to = slice(history<B>(x.ext), 2, at, x.ext[2]);
    if (pre.size() != 0)
      be.map(multiply{}, to, x, pre);
    else
      be.copy(x, to);
  }
};

}  // namespace smx
