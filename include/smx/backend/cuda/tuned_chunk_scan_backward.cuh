// SPDX-License-Identifier: Apache-2.0
/// \file  The GPU's way of running the adjoint of the chunked scans: chunks of 64 rows, whatever the call's;
///        the states before them from the tape where it has these, else by the forward kernels again; then,
///        for the chunks of a slab of scratch from the end on, about ten launches.
#pragma once

#include <algorithm>

#include <smx/backend/cuda/chunk_scan_backward_kernel.cuh>
#include <smx/backend/cuda/chunk_scan_finish_kernel.cuh>
#include <smx/backend/cuda/tuned_chunk_scan.cuh>

namespace smx {
namespace tuned_cuda_scan {

/// The sums over the heads of a group are cut into parts until there are blocks for a large device. It
/// depends on the sizes of the call only.
template <class T, class S> cuda_kernels::scan_head_parts parts_of(work<T, S> const& d) {
  constexpr index_t blocks = 1024;
  index_t const all = d.heads / d.groups, one = d.chunks() * d.groups * 2 * d.tiles(d.n),
                wanted = std::clamp<index_t>(cuda_kernels::ceil_div(blocks, one), 1, all),
                each = cuda_kernels::ceil_div(all, wanted);
  return {cuda_kernels::ceil_div(all, each), each};
}

/// Scratch of the chunks of one segment, beside segment_memory.
template <class T, class S> struct backward_memory {
  view<T, 4, S> triangles;  // (parts,chunks,G,4096)
  view<T, 5, S> keys;       // (2 parts,chunks,G,64,N)
  view<T, 3, S> triangle;   // (chunks,H,64)
  view<T, 4, S> ends;       // (P tiles,chunks,H,64)
  view<T, 4, S> starts;     // (N tiles,chunks,H,64)
  view<T, 4, S> weights;    // (P tiles,chunks,H,64)
  view<T, 3, S> skip;       // (chunks,H,P)

  template <class B> backward_memory(B& be, work<T, S> const& d, index_t parts, index_t chunks) {
    constexpr index_t rows = cuda_kernels::tile_edge;
    auto const take = [&](auto const& e) { return be.template scratch<T>(e); };
    triangles = take(extents<4>{parts, chunks, d.groups, cuda_kernels::tile_size});
    keys = take(extents<5>{2 * parts, chunks, d.groups, rows, d.n});
    triangle = take(extents<3>{chunks, d.heads, rows});
    ends = take(extents<4>{d.tiles(d.p), chunks, d.heads, rows});
    starts = take(extents<4>{d.tiles(d.n), chunks, d.heads, rows});
    weights = take(extents<4>{d.tiles(d.p), chunks, d.heads, rows});
    skip = take(extents<3>{chunks, d.heads, d.p});
  }
  static std::size_t bytes(work<T, S> const& d, index_t parts) {
    constexpr index_t rows = cuda_kernels::tile_edge;
    index_t const each = parts * d.groups * (cuda_kernels::tile_size + 2 * rows * d.n) +
                         d.heads * (rows * (1 + 2 * d.tiles(d.p) + d.tiles(d.n)) + d.p);
    return static_cast<std::size_t>(each) * sizeof(T);
  }
  cuda_kernels::scan_row_sums<T> sums(work<T, S> const& d, index_t chunks) const {
    return {triangle.ptr, ends.ptr, starts.ptr, weights.ptr, chunks, d.heads};
  }
};

/// The launches of one segment, backward.
template <class B, class T, class S> struct backward_launches {
  using rows = cuda_kernels::scan_rows<T const>;
  using states = cuda_kernels::scan_states<T const>;
  B& be;
  work<T, S> const& d;
  view<index_t, 1, S> table;
  chunk_scan_backward_call<T, S> const& c;
  segment const& s;
  segment_memory<T, S> const& m;
  backward_memory<T, S> const& z;
  cuda_kernels::scan_head_parts parts;

  static unsigned blocks(index_t n) { return static_cast<unsigned>(n); }
  double tokens() const { return static_cast<double>(s.count * d.chunk); }
  double head_rows() const { return tokens() * static_cast<double>(d.heads); }
  kernel_cost cost(double flops, double numbers) const {
    return {flops, numbers * static_cast<double>(sizeof(T))};
  }
  double state_numbers() const { return static_cast<double>(s.count * d.heads * d.n * d.p); }
  template <class P> static constexpr std::size_t shared() {
    return cuda_kernels::scan_memory<P>::bytes(5 * cuda_kernels::tile_edge);
  }

  void values(states const& g) const {
    be.kernel("chunk_scan_values_backward",
              cost(head_rows() * static_cast<double>(d.p * (2 * d.n + d.chunk)),
                   state_numbers() + 3 * head_rows() * static_cast<double>(d.p)),
              [&](cuda_launcher const& on) {
                cuda_kernels::with_products<T>(on.operands, [&]<class P>(P) {
                  on.launch({dim3(blocks(s.count), blocks(d.heads), blocks(d.tiles(d.p))),
                             dim3(cuda_kernels::tile_threads), shared<P>()},
                            cuda_kernels::scan_values_backward<P>, d.places(table), s.first, d.sizes(),
                            d.inputs(), rows_of(c.dy), g, m.products.ptr, z.sums(d, s.count),
                            cuda_kernels::scan_value_gradients<T>{rows_of(c.dx.v), z.skip.ptr});
                });
              });
  }
  void triangles() const {
    be.kernel("chunk_scan_triangle_backward",
              cost(head_rows() * static_cast<double>(d.chunk * (d.p + 4)),
                   2 * head_rows() * static_cast<double>(d.p) +
                       static_cast<double>(s.count * d.groups * parts.count * cuda_kernels::tile_size)),
              [&](cuda_launcher const& on) {
                cuda_kernels::with_products<T>(on.operands, [&]<class P>(P) {
                  on.launch({dim3(blocks(s.count), blocks(d.groups * parts.count)),
                             dim3(cuda_kernels::tile_threads), shared<P>()},
                            cuda_kernels::scan_triangle_backward<P>, d.places(table), s.first, d.sizes(),
                            parts, d.inputs(), rows_of(c.dy), m.products.ptr, z.sums(d, s.count),
                            z.triangles.ptr);
                });
              });
  }
  void keys(states const& before, states const& g) const {
    be.kernel(
        "chunk_scan_keys_backward",
        cost(4 * head_rows() * static_cast<double>(d.p * d.n),
             2 * state_numbers() + static_cast<double>(2 * parts.count * s.count * d.groups * d.chunk * d.n)),
        [&](cuda_launcher const& on) {
          cuda_kernels::with_products<T>(on.operands, [&]<class P>(P) {
            on.launch({dim3(blocks(s.count), blocks(d.groups * parts.count), blocks(2 * d.tiles(d.n))),
                       dim3(cuda_kernels::tile_threads), shared<P>()},
                      cuda_kernels::scan_keys_backward<P>, d.places(table), s.first, d.sizes(), parts,
                      d.inputs(), rows_of(c.dy), before, g, z.sums(d, s.count), z.keys.ptr);
          });
        });
  }
  template <bool OfKeys> void finish_keys() const {
    double const keys = static_cast<double>(s.count * d.groups * d.chunk * d.n);
    be.kernel("chunk_scan_keys_finish",
              cost(2 * keys * static_cast<double>(d.chunk), keys * static_cast<double>(parts.count + 2)),
              [&](cuda_launcher const& on) {
                cuda_kernels::with_products<T>(on.operands, [&]<class P>(P) {
                  on.launch({dim3(blocks(s.count), blocks(d.groups), blocks(d.tiles(d.n))),
                             dim3(cuda_kernels::tile_threads), shared<P>()},
                            cuda_kernels::scan_keys_finish<P, OfKeys>, d.places(table), s.first, d.sizes(),
                            parts.count, static_cast<T>(d.shape.scale), rows_of(OfKeys ? d.x.q : d.x.k),
                            z.triangles.ptr,
                            z.keys.ptr + (OfKeys ? parts.count : 0) * z.keys.str[1] * s.count,
                            rows_of(OfKeys ? c.dx.k : c.dx.q));
                });
              });
  }
  void finish_rows(states const& before, states const& g) const {
    be.kernel("chunk_scan_rows_finish", cost(2 * state_numbers(), 2 * state_numbers()),
              [&](cuda_launcher const& on) {
                on.launch({dim3(blocks(s.count), blocks(d.heads)), dim3(cuda_kernels::tile_threads)},
                          cuda_kernels::scan_rows_finish<T>, d.places(table), s.first, d.sizes(),
                          rows_of(d.x.log_decay), before, g, z.sums(d, s.count), d.tiles(d.n), d.tiles(d.p),
                          rows_of(c.dx.log_decay), rows_of(c.dx.weight));
              });
  }
  void finish_skip() const {
    double const size = static_cast<double>(s.count * d.heads * d.p);
    be.kernel("chunk_scan_skip_finish", cost(size, size), [&](cuda_launcher const& on) {
      on.launch(
          {dim3(cuda_kernels::blocks_for(d.heads * d.p, 128), blocks(std::min<index_t>(s.sequences, 65535))),
           dim3(128)},
          cuda_kernels::scan_skip_finish<T>, d.places(table), s.first, s.count, s.sequence, s.sequences,
          d.sizes(), z.skip.ptr, c.dx.skip.ptr, c.dx.skip.str[0], c.dx.skip.str[1]);
    });
  }
};

/// States of chunks `first` on, of (chunks,H,N,P).
template <class T, class V> cuda_kernels::scan_states<T> from_chunk(V const& all, index_t first) {
  auto s = numbered_states<T>(all);
  s.ptr = detail::advance(s.ptr, first * all.str[0]);
  return s;
}

}  // namespace tuned_cuda_scan

template <class B, class T, class S>
requires OnCuda<B>
bool smx_tuned(B& be, chunk_scan_backward_call<T, S> const& c) {
  using namespace tuned_cuda_scan;
  work<T, S> const d(c.shape, c.x, cuda_kernels::tile_edge);
  auto const& x = c.x;
  if (!d.fits() || 2 * d.tiles(d.n) > 65535) return false;
  auto const parts = parts_of(d);
  if (d.groups * parts.count > 65535) return false;
  for (auto const* v : {&x.q, &x.k, &x.v, &x.initial, &c.dy, &c.final})
    if (!contiguous_rows(*v)) return false;
  for (auto const* v : {&c.dx.q, &c.dx.k, &c.dx.v, &c.dx.skip, &c.dx.initial})
    if (!contiguous_rows(*v)) return false;
  bool const taped = c.states.size() != 0 && c.shape.chunk == d.chunk && contiguous_rows(c.states),
             decays = x.log_decay.size() != 0;
  auto frame = be.scope();
  auto const table = place_table(be, d);
  carries<T, S> carry(be, d), back(be, d);
  auto before = view<T, 4, S>{};  // (chunks,H,N,P)
  if (!taped) {
    before = be.template scratch<T>(extents<4>{d.chunks(), d.heads, d.n, d.p});
    be.tiles(d.chunks(), static_cast<std::size_t>(d.heads) * sizeof(T),
             [&](auto& sub, index_t first, index_t count) {
               launches<std::remove_reference_t<decltype(sub)>, T, S> const run{sub, d, table};
               segment const s = segment_of(d, first, count, d.chunks());
               auto const whole = sub.template scratch<T>(extents<2>{count, d.heads});
               auto const states = from_chunk<T>(before, first);
               if (d.chunks_follow()) run.template states<false>(s, d.inputs(), states, whole, false);
               run.template pass<false>(s, states, whole, decays, ends_of<T>(x.initial, view<T, 4, S>{}),
                                        carry.next(), false);
             });
  }
  index_t const all = d.chunks();
  be.tiles(all, segment_memory<T, S>::bytes(d, true) + backward_memory<T, S>::bytes(d, parts.count),
           [&](auto& sub, index_t first, index_t count) {
             using sub_backend = std::remove_reference_t<decltype(sub)>;
             segment const s = segment_of(d, all - first - count, count, all);
             segment_memory<T, S> const m(sub, d, count, true);
             backward_memory<T, S> const z(sub, d, parts.count, count);
             launches<sub_backend, T, S> const run{sub, d, table};
             auto const g = numbered_states<T>(m.states);
             auto const states =
                 taped ? tape_states<T const>(c.states) : from_chunk<T const>(before, s.first);
             bool const initial = c.dx.initial.size() != 0;
             auto of_starts = d.inputs();
             of_starts.k = of_starts.q, of_starts.v = rows_of(c.dy);
             run.products(s, m.products);
             if (initial || d.chunks_follow()) run.template states<true>(s, of_starts, g, m.whole, initial);
             run.template pass<true>(s, g, m.whole, decays, ends_of<T>(c.final, c.dx.initial), back.next(),
                                     initial);
             backward_launches<sub_backend, T, S> const last{sub, d, table, c, s, m, z, parts};
             last.values(reading(g));
             last.triangles();
             last.keys(states, reading(g));
             last.template finish_keys<false>();
             last.template finish_keys<true>();
             if (decays || x.weight.size() != 0) last.finish_rows(states, reading(g));
             if (x.skip.size() != 0) last.finish_skip();
           });
  return true;
}

}  // namespace smx
