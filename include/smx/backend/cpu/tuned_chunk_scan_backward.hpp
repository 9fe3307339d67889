// SPDX-License-Identifier: Apache-2.0
/// \file  The CPU's way of running the chunked scans backward: the states before the chunks again, then chunk
///        after chunk from the last one, for the heads of a group that share keys and queries.
#pragma once

#include <algorithm>

#include <smx/backend/cpu/chunk_scan_backward_kernel.hpp>
#include <smx/backend/cpu/tuned_chunk_scan.hpp>

namespace smx {
inline namespace SMX_CPU_ABI {

namespace tuned_chunk_scan {

/// How the heads of a group are shared out: one part where there are many groups and sequences, else several,
/// always the same, whose parts of dq and dk are added up in order.
struct head_parts {
  index_t per, count;
  head_parts(index_t items, index_t shared) {
    index_t const wanted = items >= 8 ? 1 : std::min(shared, (8 + items - 1) / items);
    per = (shared + wanted - 1) / wanted;
    count = (shared + per - 1) / per;
  }
};

/// Memory of the heads of one part.
template <class T, class S> struct backward_memory {
  view<T, 1, S> parts, more;
  view<T, 2, S> skips;     // (per,P)
  view<T, 2, S> triangle;  // (Q,ld)
  view<T, 3, S> g;         // (per,N,P)
  view<T, 4, S> states;    // (per,chunks,N,P)
};

/// One sequence, heads r0 .. r1 - 1 of group g; dq and dk: (B,G,L,N) of this part.
template <class T, class S>
void scan_backward_heads(work<T, S> const& d, chunk_scan_backward_call<T, S> const& c,
                         backward_memory<T, S> const& m, view<T, 4, S> shared, view<T, 4, S> dq,
                         view<T, 4, S> dk, index_t i, index_t g, index_t r0, index_t r1) {
  index_t const b = d.batch_of(i), count = r1 - r0, all = d.heads / d.groups;
  index_range const rows = d.rows_of(i);
  index_t const chunks = (rows.last - rows.first + d.chunk - 1) / d.chunk;
  cpu_kernels::scan_scratch<T> z(m.parts.ptr, d.chunk, d.p);
  cpu_kernels::scan_backward_scratch<T> const w(m.more.ptr, d.chunk, d.n, d.p);
  auto const head = [&](index_t r) {
    return d.shape.groups == group_map::tiled ? (r0 + r) * d.groups + g : g * all + r0 + r;
  };
  auto const part = [&](index_t r, index_t k) {
    index_t const first = rows.first + k * d.chunk;
    return d.part(b, head(r), first, std::min(d.chunk, rows.last - first), d.products_at(shared, b, g, first),
                  c.x.skip.size() == 0 ? nullptr : &m.skips(r, 0));
  };
  bool const taped = c.states.size() != 0;
  auto const state = [&](index_t r, index_t k) {
    return taped ? &c.states(i, k, head(r), 0, 0) : static_cast<T const*>(&m.states(r, k, 0, 0));
  };
  auto const copy = [&](auto const& from, T* to) {
    for (index_t k = 0; k < d.n; ++k)
      if (from.first == nullptr)
        std::fill_n(to + k * d.p, d.p, T(0));
      else
        std::copy_n(from.row(k), d.p, to + k * d.p);
  };
  for (index_t r = 0; r < count; ++r) {
    index_t const h = head(r);
    d.skip_row(h, &m.skips(r, 0));
    if (c.dx.skip.size() != 0) std::fill_n(d.rows(c.dx.skip, i, h, 0).first, d.p, T(0));
    copy(d.rows(c.final, i, h, 0), &m.g(r, 0, 0));
    if (!taped && chunks > 0) copy(d.rows(c.x.initial, i, h, 0), &m.states(r, 0, 0, 0));
  }
  for (index_t k = 0; !taped && k + 1 < chunks; ++k)
    for (index_t r = 0; r < count; ++r) {
      auto const one = part(r, k);
      cpu_kernels::detail::prepare_chunk<false, true>(one, z);
      cpu_kernels::scan_advance<T>(one, z, &m.states(r, k, 0, 0), d.p, &m.states(r, k + 1, 0, 0), d.p);
    }
  for (index_t k = chunks - 1; k >= 0; --k) {
    index_t const first = rows.first + k * d.chunk, n = std::min(d.chunk, rows.last - first);
    auto const to_q = d.rows(dq, b, g, first), to_k = d.rows(dk, b, g, first);
    std::fill_n(m.triangle.ptr, n * d.ld(), T(0));
    for (index_t r = 0; r < count; ++r) {
      index_t const h = head(r);
      auto const one = part(r, k);
      cpu_kernels::detail::prepare_chunk<true, false>(one, z);
      cpu_kernels::scan_chunk_gradients<T> const to{d.rows(c.dy, b, h, first),
                                                    to_q,
                                                    to_k,
                                                    d.rows(c.dx.v, b, h, first),
                                                    d.rows(c.dx.weight, b, h, first),
                                                    d.rows(c.dx.log_decay, b, h, first),
                                                    d.rows(c.dx.skip, i, h, 0).first,
                                                    m.triangle.ptr,
                                                    r == 0};
      cpu_kernels::scan_backward<T>(one, to, z, w, state(r, k), &m.g(r, 0, 0));
    }
    cpu_kernels::scan_triangle_backward(part(0, k), m.triangle.ptr, to_q, to_k);
  }
  if (c.dx.initial.size() == 0) return;
  for (index_t r = 0; r < count; ++r) {
    auto const to = d.rows(c.dx.initial, i, head(r), 0);
    for (index_t k = 0; k < d.n; ++k) std::copy_n(&m.g(r, k, 0), d.p, to.row(k));
  }
}

}  // namespace tuned_chunk_scan

template <class B, class T, class S>
requires OnCpu<B>
bool smx_tuned(B& be, chunk_scan_backward_call<T, S> const& c) {
  using namespace tuned_chunk_scan;
  work<T, S> const d(c.shape, c.x);
  auto frame = be.scope();
  auto const shared = be.template scratch<T>(extents<4>{d.batch, d.groups, d.length, d.ld()});
  products<B, T, S>(be, d, shared);
  head_parts const parts(d.sequences * d.groups, d.heads / d.groups);
  auto partial = view<T, 5, S>{};  // (2 (parts - 1),B,G,L,N): of q, then of k
  if (parts.count > 1)
    partial = be.template scratch<T>(extents<5>{2 * (parts.count - 1), d.batch, d.groups, d.length, d.n});
  index_t longest = 1;
  for (index_t i = 0; i < (d.packed() ? d.sequences : 1); ++i)
    longest = std::max(longest, d.rows_of(i).last - d.rows_of(i).first);
  index_t const chunks = (longest + d.chunk - 1) / d.chunk;
  be.tiles(d.sequences * d.groups * parts.count, 0, [&](auto& sub, index_t from, index_t count) {
    auto const take = [&](auto const& e) { return sub.template scratch<T>(e); };
    backward_memory<T, S> const m{
        take(extents<1>{cpu_kernels::scan_scratch<T>::size(d.chunk, d.p)}),
        take(extents<1>{cpu_kernels::scan_backward_scratch<T>::size(d.chunk, d.n, d.p)}),
        take(extents<2>{parts.per, cpu_kernels::whole_lanes<T>(d.p)}),
        take(extents<2>{d.chunk, d.ld()}),
        take(extents<3>{parts.per, d.n, d.p}),
        c.states.size() != 0 ? view<T, 4, S>{} : take(extents<4>{parts.per, chunks, d.n, d.p})};
    for (index_t item = from; item < from + count; ++item) {
      index_t const part = item % parts.count, g = item / parts.count % d.groups,
                    i = item / parts.count / d.groups, r0 = part * parts.per,
                    r1 = std::min(d.heads / d.groups, r0 + parts.per);
      index_range const rows = d.rows_of(i);
      double const size = static_cast<double>((rows.last - rows.first) * (r1 - r0));
      sub.kernel("chunk_scan_backward",
                 {size * static_cast<double>((12 * d.n + 3 * d.chunk) * d.p),
                  size * static_cast<double>(3 * d.p + 4 * d.n) * sizeof(T)},
                 [&] {
                   auto const dq = part == 0 ? c.dx.q : fix_axis(partial, 0, part - 1);
                   auto const dk = part == 0 ? c.dx.k : fix_axis(partial, 0, parts.count + part - 2);
                   scan_backward_heads(d, c, m, shared, dq, dk, i, g, r0, r1);
                 });
    }
  });
  for (index_t part = 1; part < parts.count; ++part) {
    be.map(add{}, c.dx.q, as_input(c.dx.q), as_input(fix_axis(partial, 0, part - 1)));
    be.map(add{}, c.dx.k, as_input(c.dx.k), as_input(fix_axis(partial, 0, parts.count + part - 2)));
  }
  return true;
}

}  // namespace SMX_CPU_ABI
}  // namespace smx
