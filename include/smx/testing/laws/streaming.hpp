// SPDX-License-Identifier: Apache-2.0
/// \file  Laws of streaming: token by token equals all at once, under any split; a full state says so.
#pragma once

#include <smx/testing/problem.hpp>

namespace smx::testing::laws {

/// Rows from prefills of the given lengths (1: a step) equal those of forward within the rounding error of
/// both.
template <HasCases M> verdict streaming_equals_forward(runner<M> const& be, problem<M> const& p) {
  if constexpr (!M::about.streaming) {
    return holds;
  } else {
    if (!be.streams()) return text("the traits say that it streams, but it is no StreamingMixer");
    if (!streams(p.mixer)) return holds;
    index_t const length = p.output[2];
    for (extents<4> const& e : p.ext)
      if (e[2] != length) return holds;
    expectation const& want = expected(p);
    numbers const batch = forward_values(be, p.mixer, p.w(), p.x());
    auto const rows = [&](index_t first, index_t count) {
      host_inputs<M> x;
      M::for_each_input(
          [&](char const*, auto const& from, auto& to) {
            if (from.size() > 0) to = slice(from, 2, first, count);
          },
          p.x(), x);
      return x;
    };
    auto const feed = [&](auto& state, tensor<typename M::scalar, 4>& y, index_t first, index_t count,
                          bool step) {
      auto const to = slice(y.view(), 2, first, count);
      if (step)
        be.step(p.mixer, p.w(), rows(first, count), state, to);
      else
        be.prefill(p.mixer, p.w(), rows(first, count), state, to);
    };
    // how much is prefilled at first, in how many tokens the rest comes (0: steps), and the room left at the
    // end
    struct split {
      index_t prefill, chunk, spare;
    };
    for (split s : {split{0, 0, 0}, split{0, 0, 1}, split{1, 0, 0}, split{length / 2, 0, 0},
                    split{length / 2, 0, 2 * length + 3}, split{length - 1, 0, 0}, split{length, 0, 5},
                    split{length / 3, 2, 0}, split{0, 3, 4}}) {
      if (s.prefill > length) continue;
      auto const name =
          text("y of a prefill of %lld, then %s%lld at a time, capacity %lld",
               static_cast<long long>(s.prefill), s.chunk == 0 ? "steps, " : "prefills, ",
               static_cast<long long>(s.chunk == 0 ? 1 : s.chunk), static_cast<long long>(length + s.spare));
      auto state = be.make_state(p.mixer, p.w(), p.x(), length + s.spare);
      tensor<typename M::scalar, 4> y(p.output);
      fill(y.view(), quiet_nan<typename M::scalar>);
      if (s.prefill > 0) feed(state, y, 0, s.prefill, false);
      for (index_t at = s.prefill; at < length;) {
        index_t const count = s.chunk == 0 ? 1 : s.chunk < length - at ? s.chunk : length - at;
        feed(state, y, at, count, s.chunk == 0);
        at += count;
      }
      numbers const got = values(y.cview());
      if (auto bad = within(name.c_str(), got, want.y, want.tolerance)) return bad;
      if (auto bad = within(name.c_str(), got, batch, scaled(want.tolerance, 2))) return bad;
    }

    // a prefill and a step beyond the capacity throw, and the state stays what it was
    auto state = be.make_state(p.mixer, p.w(), p.x(), length);
    tensor<typename M::scalar, 4> y(p.output);
    if (length > 1) feed(state, y, 0, length - 1, false);
    auto const refuses = [&](index_t count, bool step) -> verdict {
      try {
        tensor<typename M::scalar, 4> spare(p.output);
        feed(state, spare, 0, count, step);
      } catch (precondition_error const&) { return holds; }
      return text("%s of %lld tokens beyond the capacity did not throw", step ? "a step" : "a prefill",
                  static_cast<long long>(count));
    };
    if (length > 1)
      if (auto bad = refuses(2, false)) return bad;
    feed(state, y, length - 1, 1, true);
    if (auto bad = within("y after a prefill that was refused", values(y.cview()), want.y, want.tolerance))
      return bad;
    return refuses(1, true);
  }
}

}  // namespace smx::testing::laws
