// SPDX-License-Identifier: Apache-2.0
/// \file  The state of a causal convolution that runs token by token.
///
/// A backend with an online convolution (O(log^2 L) a token, O(capacity) rows) runs that; otherwise the state
/// keeps all inputs and a step is the plain sum over them, O(t). The kernels are those that make was given.
#pragma once

#include <utility>

#include <smx/backend/tuned.hpp>
#include <smx/mixers/concept.hpp>
#include <smx/structured/convolution.hpp>

namespace smx {

template <class A, class T> struct convolution_stream {
  array<A, T, 1> kernel;  ///< prepared taps
  array<A, T, 4> rows;    ///< (B,H,R,D): inputs, or what they give to later outputs
  index_t capacity = 0;   ///< positions in all
  index_t position = 0;   ///< positions so far
  index_t prefix = 0;     ///< of these, those that begin took in
  index_t taps = 0;       ///< of the kernels
  index_t layout = 0;     ///< of the arrays: 1 the plain one, else the backend's

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
  /// Throws unless these counters (from a file) can be those of a state that was made like this one.
  template <class S> void expect_counters(S const& read) const {
    expects_value(read.prefix <= read.position && read.position <= read.capacity, "state: prefix",
                  "no more than position, which is no more than capacity", read.prefix);
    expects_value(read.prefix < read.capacity, "state: prefix", "less than the capacity", read.prefix);
    expects_value(read.taps == taps, "state: taps", "those of the kernels", read.taps);
    expects_value(read.layout == layout, "state: layout", "that of this backend and its instruction set",
                  read.layout);
  }

  /// Takes the memory of a stream of at most `most` positions for (B,H) sequences, and prepares the kernels
  /// k (D,taps), with skip (D) or without.
  template <class B>
  void make(B& be, in<B, T, 2> k, in<B, T, 1> skip, index_t batch, index_t heads, index_t most) {
    capacity = most;
    taps = k.ext[1];
    convolution_shape const s = shape(k.ext[0], most);
    index_t kernel_size = k.ext[0] * taps, row_count = most;
    layout = 1;
    tuned(be, convolution_stream_storage_call<T>{s, &kernel_size, &row_count, &layout});
    kernel = tensor<T, 1, space_t<B>>(be.memory(), extents<1>{kernel_size});
    rows = tensor<T, 4, space_t<B>>(be.memory(), extents<4>{batch, heads, row_count, k.ext[0]});
    if (tuned(be, convolution_stream_prepare_call<T, space_t<B>>{s, k, skip, kernel.view()})) return;
    out<B, T, 2> const copy(kernel.data(), k.ext);  // (D,taps)
    be.copy(k, copy);
    if (skip.ext[0] != 0) {
      auto const first = fix_axis(copy, 1, 0);
      be.map(add{}, first, as_input(first), skip);
    }
  }

  /// Starts with the positions of the prefix x (B,H,P,D), P = 0 for none, gated by pre.
  template <class B> void begin(B& be, in<B, T, 2> k, in<B, T, 1> skip, in<B, T, 4> x, in<B, T, 4> pre) {
    prefix = x.ext[2];
    if (tuned(be, convolution_stream_begin_call<T, space_t<B>>{shape(k.ext[0], capacity - prefix), k, skip, x,
                                                               pre, rows.view()}))
      return;
    if (prefix > 0) remember<B>(be, x, pre, 0);
  }

  /// Gives back what only the prefix took, where the backend keeps what the prefix gives to later outputs and
  /// not the prefix itself: afterwards the arrays are those of a stream of capacity - prefix positions.
  template <class B> void trim(B& be, in<B, T, 2> k, in<B, T, 1> skip) {
    expects_value(position == prefix && position < capacity, "long_convolution: state",
                  "one that has seen its first prefill and nothing else; positions", position);
    if (prefix == 0 || layout == 1) return;
    convolution_stream smaller;
    smaller.make(be, k, skip, rows.extents()[0], rows.extents()[1], capacity - prefix);
    be.copy(slice(rows.cview(), 2, 0, smaller.rows.extents()[2]), smaller.rows.view());
    be.synchronize();  // before the larger arrays are given back
    kernel = std::move(smaller.kernel);
    rows = std::move(smaller.rows);
  }

  /// y = post conv(pre x) for the next position.
  template <class B> void step(B& be, in<B, T, 4> x, in<B, T, 4> pre, in<B, T, 4> post, out<B, T, 4> y) {
    index_t const d = x.ext[3], n = position;
    if (!tuned(be,
               convolution_stream_step_call<T, space_t<B>>{shape(d, capacity - prefix), n - prefix,
                                                           kernel.cview(), rows.view(), x, pre, post, y})) {
      remember<B>(be, x, pre, n);
      index_t const reach = taps < n + 1 ? taps : n + 1;
      auto frame = be.scope();
      // as much as the last step needs, so that the first one takes all the memory
      auto const room =
          be.template scratch<T>(extents<4>{x.ext[0], x.ext[1], d, taps < capacity ? taps : capacity});
      out<B, T, 4> const terms(room.ptr, {x.ext[0], x.ext[1], d, reach});
      in<B, T, 2> const k = slice(in<B, T, 2>(kernel.data(), {d, taps}), 1, 0, reach);
      in<B, T, 4> const past = slice(rows.view(), 2, n + 1 - reach, reach);  // (B,H,reach,D)
      be.map(multiply{}, terms, as_input(detail::reversed(swap_axes(past, 2, 3), 3)),
             broadcast_axis(broadcast_axis(k, 0, x.ext[1]), 0, x.ext[0]));
      auto const sum = swap_axes(y, 2, 3);  // (B,H,D,1)
      be.reduce(reduction::sum, as_input(terms), T(0), sum);
      if (post.size() != 0) be.map(multiply{}, y, as_input(y), post);
    }
    ++position;
  }

 private:
  convolution_shape shape(index_t channels, index_t length) const {
    return {length, channels, taps, convolution_kind::causal, true};
  }
  template <class B> void remember(B& be, in<B, T, 4> x, in<B, T, 4> pre, index_t at) {
    auto const to = slice(rows.view(), 2, at, x.ext[2]);
    if (pre.size() != 0)
      be.map(multiply{}, to, x, pre);
    else
      be.copy(x, to);
  }
};

}  // namespace smx
