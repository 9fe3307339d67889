// SPDX-License-Identifier: Apache-2.0
/// \file  Linear recurrences with a matrix state, chunk by chunk:
///        S_t = exp(a_t) S_{t-1} + w_t k_t v_t^T, y_t = scale S_t^T q_t + d v_t.
///
/// The shared skeleton of linear attention, retention, gated linear attention with one gate a head, and SSD.
/// A chunk of Q rows is four products: the decayed triangle (q k^T o exp(c_l - c_s)) w v, what the state
/// before it adds, and the state after it; c are sums of log-decays inside the chunk, so that no number grows
/// with L, and exp sees differences, clamped at 0: extreme decays underflow to 0, nothing overflows.
///
/// Cost: L (2 Q P + 4 N P) flops a head and 2 L Q N a group; memory O(N P + Q^2) a head, backward L / Q times
/// N P (the states before the chunks). T. Dao and A. Gu, "Transformers are SSMs", ICML 2024.
#pragma once

#include <cstddef>

#include <smx/backend/chunk_scan_calls.hpp>
#include <smx/backend/shapes.hpp>
#include <smx/backend/tuned.hpp>
#include <smx/structured/chunk_scan_parts.hpp>

namespace smx {

/// Number of sequences: those of the packing, or one for each batch entry.
inline index_t sequence_count(packed_sequences const& p, index_t batch) {
  return p.count > 0 ? p.count : batch;
}

/// Throws unless the bounds start at 0, do not decrease and end at `length`, for a batch of 1.
inline void check_packing(packed_sequences const& p, index_t batch, index_t length) {
  expects_value(p.count >= 0, "packing: count", "at least 0", p.count);
  if (p.count == 0) return;
  expects(p.bounds != nullptr, "packing: bounds: expected count + 1 numbers, got a null pointer");
  expects_value(batch == 1, "packing", "a batch of 1", batch);
  expects_value(p.bounds[0] == 0, "packing: bounds", "a first bound of 0", p.bounds[0]);
  for (index_t i = 0; i < p.count; ++i)
    expects_value(p.bounds[i + 1] >= p.bounds[i], "packing: bounds", "bounds that do not decrease",
                  p.bounds[i + 1]);
  expects_value(p.bounds[p.count] == length, "packing: bounds", "a last bound that is the length",
                p.bounds[p.count]);
}

/// The extents of the states before the chunks, (sequences,chunks,H,N,P), chunks those of the longest
/// sequence.
template <class X> extents<5> chunk_state_extents(chunk_scan_shape const& shape, X const& q, X const& v) {
  packed_sequences const& packing = shape.packing;
  index_t longest = packing.count > 0 ? 0 : v[2];
  for (index_t i = 0; i < packing.count; ++i) {
    index_t const rows = packing.bounds[i + 1] - packing.bounds[i];
    longest = rows > longest ? rows : longest;
  }
  return {sequence_count(packing, v[0]), (longest + shape.chunk - 1) / shape.chunk, v[1], q[3], v[3]};
}

/// y =, final = and states = (unless empty). Extents as chunk_scan_calls.hpp says; the last axes of q, k, v,
/// y contiguous.
template <class B, class T>
void chunk_scan_forward(B& be, chunk_scan_shape const& shape, chunk_scan_inputs<T, space_t<B>> const& x,
                        view<T, 4, space_t<B>> y, view<T, 4, space_t<B>> final,
                        view<T, 5, space_t<B>> states) {
  if (tuned(be, chunk_scan_forward_call<T, space_t<B>>{shape, x, y, final, states})) return;
  detail::chunk_scan_layout const d(shape, x);
  be.tiles(d.sequences, d.bytes<T>(), [&](auto& sub, index_t first, index_t count) {
    using part = detail::chunk_scan_part<std::remove_reference_t<decltype(sub)>, T>;
    for (index_t i = first; i < first + count; ++i) {
      auto frame = sub.scope();
      part const p(sub, d, x, i);
      auto const yi = d.rows(y, i);  // (G,R,L,P)
      bool const keep = final.size() != 0;
      auto const s = keep ? d.heads(fix_axis(final, 0, i)) : sub.template scratch<T>(d.state_extents());
      p.start(s);
      for (index_t c = 0; c < d.chunks(i); ++c) {
        auto inner = sub.scope();
        if (states.size() != 0) sub.copy(as_input(s), d.state(states, i, c));
        auto const now = p.chunk(c);
        p.output(now, s, d.cut(yi, i, c));
        if (keep || c + 1 < d.chunks(i)) p.advance(now, s);
      }
    }
  });
}

/// The gradients of sum(dy * y) + sum(final * last states), all written. states: as forward recorded them, or
/// empty.
template <class B, class T>
void chunk_scan_backward(B& be, chunk_scan_shape const& shape, chunk_scan_inputs<T, space_t<B>> const& x,
                         view<T const, 5, space_t<B>> states, view<T const, 4, space_t<B>> dy,
                         view<T const, 4, space_t<B>> final, chunk_scan_gradients<T, space_t<B>> const& dx) {
  if (tuned(be, chunk_scan_backward_call<T, space_t<B>>{shape, x, states, dy, final, dx})) return;
  detail::chunk_scan_layout const d(shape, x);
  be.tiles(d.sequences, 2 * d.bytes<T>(), [&](auto& sub, index_t first, index_t count) {
    using part = detail::chunk_scan_part<std::remove_reference_t<decltype(sub)>, T>;
    for (index_t i = first; i < first + count; ++i) {
      auto frame = sub.scope();
      part const p(sub, d, x, i);
      index_t const chunks = d.chunks(i);
      extents<4> const e = d.state_extents();
      auto own = view<T, 5, space_t<B>>{};  // (chunks,G,R,N,P)
      if (states.size() == 0 && chunks > 0) {
        own = sub.template scratch<T>(extents<5>{chunks, e[0], e[1], e[2], e[3]});
        p.start(fix_axis(own, 0, 0));
      }
      for (index_t c = 0; states.size() == 0 && c + 1 < chunks; ++c) {
        auto inner = sub.scope();
        sub.copy(as_input(fix_axis(own, 0, c)), fix_axis(own, 0, c + 1));
        p.advance(p.chunk(c), fix_axis(own, 0, c + 1));
      }
      auto const g = sub.template scratch<T>(e);  // of the state after the chunk
      if (final.size() != 0)
        sub.copy(d.heads(fix_axis(final, 0, i)), g);
      else
        sub.map(constant<T>{T(0)}, g);
      if (dx.skip.size() != 0) sub.map(constant<T>{T(0)}, d.heads(fix_axis(dx.skip, 0, i)));
      for (index_t c = chunks - 1; c >= 0; --c) {
        auto inner = sub.scope();
        in<B, T, 4> const s = states.size() != 0 ? d.state(states, i, c) : as_input(fix_axis(own, 0, c));
        p.backward(p.chunk(c), c, s, g, dy, dx);
      }
      if (dx.initial.size() != 0) sub.copy(as_input(g), d.heads(fix_axis(dx.initial, 0, i)));
    }
  });
}

}  // namespace smx
