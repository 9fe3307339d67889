// SPDX-License-Identifier: Apache-2.0
/// \file  The state of a causal Monarch matrix that runs token by token.
#pragma once

#include <smx/mixers/convolution_stream.hpp>
#include <smx/mixers/state.hpp>

namespace smx {

/// R rows keep the partial sums of the stages; `coefficients` is the state of the convolution between them.
template <class A, class T> struct causal_monarch_state {
  array<A, T, 2> taps;                     // C1 k: (capacity,D)
  array<A, T, 4> input_rows, output_rows;  // (B,H,R,D)
  convolution_stream<A, T> coefficients;
  index_t capacity = 0, position = 0;

  template <class F, class... S> static void for_each_array(F&& f, S&&... s) {
    f("taps", s.taps...);
    f("input_rows", s.input_rows...);
    f("output_rows", s.output_rows...);
    convolution_stream<A, T>::for_each_array(detail::prefixed("coefficients.", f), s.coefficients...);
  }
  template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
    f("capacity", s.capacity...);
    f("position", s.position...);
    convolution_stream<A, T>::for_each_counter(detail::prefixed("coefficients.", f), s.coefficients...);
  }
  index_t tokens() const { return position; }
  std::size_t bytes() const {
    return taps.bytes() + input_rows.bytes() + output_rows.bytes() + coefficients.bytes();
  }
  /// As convolution_stream::expect_counters.
  template <class S> void expect_counters(S const& read) const {
    expects_value(read.coefficients.capacity == read.capacity && read.coefficients.position == read.position,
                  "state: coefficients", "the capacity and position of the whole; position",
                  read.coefficients.position);
    coefficients.expect_counters(read.coefficients);
  }
};

}  // namespace smx
