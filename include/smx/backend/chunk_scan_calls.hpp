// SPDX-License-Identifier: Apache-2.0
/// \file  The calls by which a backend replaces the chunked scans (see structured/chunk_scan.hpp and
///        backend/tuned.hpp), and what describes them.
#pragma once

#include <smx/core/view.hpp>

namespace smx {

/// The group that head h of H reads, of G: interleaved h / (H / G), as in Mamba-2; tiled h mod G, as in VSSD.
enum class group_map : char { interleaved, tiled };

/// Several sequences one after the other in one batch entry: sequence i is rows bounds[i] .. bounds[i + 1] -
/// 1. Refers to count + 1 numbers of the caller's, in host memory. count = 0: not packed.
struct packed_sequences {
  index_t const* bounds = nullptr;
  index_t count = 0;
  friend bool operator==(packed_sequences const&, packed_sequences const&) = default;
};

struct chunk_scan_shape {
  double scale = 1;    ///< of the output
  index_t chunk = 64;  ///< rows that are taken at once
  group_map groups = group_map::interleaved;
  packed_sequences packing = {};
};

/// S_t = exp(log_decay_t) S_{t-1} + weight_t k_t v_t^T, y_t = scale S_t^T q_t + skip v_t.
template <class T, class S> struct chunk_scan_inputs {
  view<T const, 4, S> q, k;       // (B,G,L,N)
  view<T const, 4, S> v;          // (B,H,L,P)
  view<T const, 4, S> weight;     // (B,H,L,1); empty: 1
  view<T const, 4, S> log_decay;  // (B,H,L,1), at most 0; empty: no decay
  view<T const, 4, S> skip;       // (1,H,1,P); empty: 0
  view<T const, 4, S> initial;    // (sequences,H,N,P), S before the first row of each; empty: 0
};

/// y =, and the last S of each sequence in `final` (sequences,H,N,P) unless empty; it may be `initial`.
/// states (sequences,chunks,H,N,P) unless empty: S before each chunk, for backward.
template <class T, class S> struct chunk_scan_forward_call {
  chunk_scan_shape shape;
  chunk_scan_inputs<T, S> x;
  view<T, 4, S> y;
  view<T, 4, S> final;
  view<T, 5, S> states;
};

/// All written (=). Those of absent inputs are empty; skip: one row for each sequence.
template <class T, class S> struct chunk_scan_gradients {
  view<T, 4, S> q, k, v, weight, log_decay;
  view<T, 4, S> skip;     // (sequences,H,1,P)
  view<T, 4, S> initial;  // (sequences,H,N,P)
};

/// The adjoint; states as forward recorded them, or empty: they are computed again. final (sequences,H,N,P):
/// the gradient of the last states, empty: 0.
template <class T, class S> struct chunk_scan_backward_call {
  chunk_scan_shape shape;
  chunk_scan_inputs<T, S> x;
  view<T const, 5, S> states;
  view<T const, 4, S> dy, final;
  chunk_scan_gradients<T, S> dx;
};

}  // namespace smx
