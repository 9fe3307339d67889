// SPDX-License-Identifier: Apache-2.0
/// \file  The CPU's way of running the chunked scans: products of queries and keys once for each group, then
///        blocks of heads, chunk after chunk, with the states of a block in L2.
#pragma once

#include <algorithm>
#include <cstdint>

#include <smx/backend/chunk_scan_calls.hpp>
#include <smx/backend/cpu/backend.hpp>
#include <smx/backend/cpu/chunk_scan_kernel.hpp>
#include <smx/backend/tuned.hpp>

namespace smx {
inline namespace SMX_CPU_ABI {

namespace tuned_chunk_scan {

/// The sizes of a call, and where its rows are.
template <class T, class S> struct work {
  chunk_scan_shape shape;
  chunk_scan_inputs<T, S> x;
  index_t batch, heads, groups, length, n, p, sequences, chunk;

  work(chunk_scan_shape const& s, chunk_scan_inputs<T, S> const& in)
      : shape(s),
        x(in),
        batch(in.v.ext[0]),
        heads(in.v.ext[1]),
        groups(in.q.ext[1]),
        length(in.v.ext[2]),
        n(in.q.ext[3]),
        p(in.v.ext[3]),
        sequences(s.packing.count > 0 ? s.packing.count : in.v.ext[0]),
        chunk(s.chunk < in.v.ext[2] ? s.chunk : in.v.ext[2]) {}

  bool packed() const { return shape.packing.count > 0; }
  index_t batch_of(index_t i) const { return packed() ? 0 : i; }
  index_range rows_of(index_t i) const {
    return packed() ? index_range{shape.packing.bounds[i], shape.packing.bounds[i + 1]}
                    : index_range{0, length};
  }
  index_t group_of(index_t h) const {
    return shape.groups == group_map::tiled ? h % groups : h / (heads / groups);
  }
  index_t ld() const { return cpu_kernels::whole_lanes<T>(chunk); }

  template <class V> static auto rows(V const& v, index_t b, index_t h, index_t first) {
    using element = typename V::element_type;
    return cpu_kernels::strided_rows<element>{
        v.size() == 0 ? nullptr : detail::advance(v.ptr, b * v.str[0] + h * v.str[1] + first * v.str[2]),
        v.str[2]};
  }
  /// Rows first .. first + count - 1 of head h of batch entry b.
  cpu_kernels::scan_chunk<T> part(index_t b, index_t h, index_t first, index_t count, T const* products,
                                  T const* skip) const {
    index_t const g = group_of(h);
    return {count,
            n,
            p,
            rows(x.q, b, g, first),
            rows(x.k, b, g, first),
            rows(x.v, b, h, first),
            rows(x.weight, b, h, first),
            rows(x.log_decay, b, h, first),
            skip,
            products,
            ld(),
            static_cast<T>(shape.scale)};
  }
  /// The products of the rows from `first` on, in (B,G,L,ld).
  template <class V> auto* products_at(V const& all, index_t b, index_t g, index_t first) const {
    return all.ptr + ((b * groups + g) * length + first) * ld();
  }
  T const* skip_row(index_t h, T* to) const {
    if (x.skip.size() == 0) return nullptr;
    for (index_t j = 0; j < p; ++j) to[j] = x.skip.ptr[h * x.skip.str[1] + j * x.skip.str[3]];
    return to;
  }
};

/// scale q k^T of each chunk, 0 above the diagonal: (B,G,L,ld), whose rows are those of the sequences.
template <class B, class T, class S> void products(B& be, work<T, S> const& d, view<T, 4, S> to) {
  index_t const chunks = d.packed() ? 1 : (d.length + d.chunk - 1) / d.chunk;
  be.tiles(d.sequences * d.groups * chunks, 0, [&](auto& sub, index_t from, index_t count) {
    auto const s = sub.template scratch<T>(extents<1>{d.n * d.ld()});
    for (index_t item = from; item < from + count; ++item) {
      index_t const c = item % chunks, g = item / chunks % d.groups, i = item / chunks / d.groups;
      index_range r = d.rows_of(i);
      if (!d.packed()) r = {c * d.chunk, (c + 1) * d.chunk < d.length ? (c + 1) * d.chunk : d.length};
      double const size = static_cast<double>(r.last - r.first);
      sub.kernel("chunk_products",
                 {2 * size * static_cast<double>(d.chunk * d.n),
                  size * static_cast<double>(2 * d.n + d.chunk) * sizeof(T)},
                 [&] {
                   index_t const b = d.batch_of(i), ld = d.ld();
                   for (index_t first = r.first; first < r.last; first += d.chunk) {
                     index_t const rows = d.chunk < r.last - first ? d.chunk : r.last - first;
                     auto const q = d.rows(d.x.q, b, g, first), k = d.rows(d.x.k, b, g, first);
                     T* const p = d.products_at(to, b, g, first);
                     cpu_kernels::scan_products<T>(rows, d.n, static_cast<T>(d.shape.scale), q, k, p, ld,
                                                   s.ptr);
                   }
                 });
    }
  });
}

/// One row for each batch entry: the states are read and written once.
template <class B, class T, class S> void step(B& be, chunk_scan_forward_call<T, S> const& c) {
  work<T, S> const d(c.shape, c.x);
  be.tiles(d.batch * d.heads, 0, [&](auto& sub, index_t first, index_t count) {
    double const size = static_cast<double>(count * d.n * d.p);
    sub.kernel("chunk_scan_step", {5 * size, 2 * size * sizeof(T)}, [&] {
      for (index_t item = first; item < first + count; ++item) {
        index_t const b = item / d.heads, h = item % d.heads;
        auto const from = d.rows(c.x.initial, b, h, 0);
        auto const to = d.rows(c.final, b, h, 0);
        T const* const skip = c.x.skip.size() == 0 ? nullptr : c.x.skip.ptr + h * c.x.skip.str[1];
        cpu_kernels::scan_step<T>(d.part(b, h, 0, 1, nullptr, nullptr), skip, c.x.skip.str[3], from.first,
                                  from.stride, to.first, to.stride, d.rows(c.y, b, h, 0).first);
      }
    });
  });
}

/// Heads of one block: their states stay in L2 while a chunk of keys and queries serves them all. The blocks
/// depend on the sizes only.
inline index_t heads_per_block(index_t sequences, index_t heads) {
  index_t most = 4;
  while (most > 1 && sequences * ((heads + most - 1) / most) < 4) most /= 2;
  return most < heads ? most : heads;
}

}  // namespace tuned_chunk_scan

template <class B, class T, class S>
requires OnCpu<B>
bool smx_tuned(B& be, chunk_scan_forward_call<T, S> const& c) {
  using namespace tuned_chunk_scan;
  work<T, S> const d(c.shape, c.x);
  bool const keep = c.final.size() != 0;
  bool const taped = c.states.size() != 0;
  if (keep && !taped && d.length == 1 &&
      !d.packed()) {  // a stream; otherwise a row must have the bits of a longer run
    step(be, c);
    return true;
  }
  auto frame = be.scope();
  auto const shared = be.template scratch<T>(extents<4>{d.batch, d.groups, d.length, d.ld()});
  products<B, T, S>(be, d, shared);
  index_t const per = heads_per_block(d.sequences, d.heads), blocks = (d.heads + per - 1) / per;
  // y past the caches where it is larger than they are and its rows are whole lines
  auto const lines = [](index_t n) { return n * static_cast<index_t>(sizeof(T)) % 64 == 0; };
  bool const past = c.y.size() * static_cast<index_t>(sizeof(T)) > (index_t{8} << 20) && lines(c.y.str[0]) &&
                    lines(c.y.str[1]) && lines(c.y.str[2]) && d.p % cpu_kernels::lanes<T> == 0 &&
                    reinterpret_cast<std::uintptr_t>(c.y.ptr) % 64 == 0;
  be.tiles(d.sequences * blocks, 0, [&](auto& sub, index_t from, index_t count) {
    auto const z = sub.template scratch<T>(extents<1>{cpu_kernels::scan_scratch<T>::size(d.chunk, d.p)});
    auto const skips = sub.template scratch<T>(extents<2>{per, cpu_kernels::whole_lanes<T>(d.p)});
    auto const own = keep || taped ? view<T, 3, S>{} : sub.template scratch<T>(extents<3>{per, d.n, d.p});
    for (index_t item = from; item < from + count; ++item) {
      index_t const i = item / blocks, h0 = item % blocks * per, h1 = h0 + per < d.heads ? h0 + per : d.heads;
      index_range const r = d.rows_of(i);
      double const size = static_cast<double>((r.last - r.first) * (h1 - h0));
      sub.kernel("chunk_scan",
                 {size * static_cast<double>((4 * d.n + d.chunk) * d.p),
                  size * static_cast<double>(2 * d.p) * sizeof(T) +
                      static_cast<double>((r.last - r.first) * (2 * d.n + d.chunk)) * sizeof(T)},
                 [&] {
                   index_t const b = d.batch_of(i);
                   cpu_kernels::scan_scratch<T> parts(z.ptr, d.chunk, d.p);
                   // The state before chunk k: all in one place, or each in its own on the tape.
                   index_t const chunks = (r.last - r.first + d.chunk - 1) / d.chunk;
                   auto const state = [&](index_t h, index_t k) {
                     if (taped && k < chunks)
                       return cpu_kernels::strided_rows<T>{&c.states(i, k, h, 0, 0), d.p};
                     if (keep) return d.rows(c.final, i, h, 0);
                     return cpu_kernels::strided_rows<T>{
                         own.size() == 0 ? nullptr : own.ptr + (h - h0) * own.str[0], d.p};
                   };
                   for (index_t h = h0; h < h1; ++h) {
                     d.skip_row(h, &skips(h - h0, 0));
                     auto const s = state(h, 0);
                     auto const start = d.rows(c.x.initial, i, h, 0);
                     for (index_t k = 0; k < d.n && s.first != nullptr; ++k) {
                       if (start.first == nullptr)
                         std::fill_n(s.row(k), d.p, T(0));
                       else if (start.row(k) != s.row(k))
                         std::copy_n(start.row(k), d.p, s.row(k));
                     }
                   }
                   for (index_t first = r.first; first < r.last; first += d.chunk) {
                     index_t const rows = d.chunk < r.last - first ? d.chunk : r.last - first;
                     for (index_t h = h0; h < h1; ++h) {
                       auto part = d.part(b, h, first, rows, d.products_at(shared, b, d.group_of(h), first),
                                          c.x.skip.size() == 0 ? nullptr : &skips(h - h0, 0));
                       index_t const k = (first - r.first) / d.chunk;
                       auto const s = state(h, k), next = state(h, k + 1);
                       auto const y = d.rows(c.y, b, h, first);
                       if (h + 1 < h1)
                         part.next = d.rows(d.x.v, b, h + 1, first).first;
                       else if (first + 2 * d.chunk <= r.last)
                         part.next = d.rows(d.x.v, b, h0, first + d.chunk).first;
                       cpu_kernels::detail::prepare_chunk<true, true>(part, parts);
                       if (past)
                         cpu_kernels::scan_output<true>(part, parts, s.first, s.stride, y);
                       else
                         cpu_kernels::scan_output<false>(part, parts, s.first, s.stride, y);
                       if (keep || first + rows < r.last)
                         cpu_kernels::scan_advance<T>(part, parts, s.first, s.stride, next.first,
                                                      next.stride);
                     }
                   }
                   if (past) cpu_kernels::settle_stores();
                 });
    }
  });
  return true;
}

}  // namespace SMX_CPU_ABI
}  // namespace smx
