// SPDX-License-Identifier: Apache-2.0
/// \file  The CPU's way of running softmax attention: online softmax over panels of queries, one pass
/// backward.
#pragma once

#include <smx/backend/cpu/attention_backward_kernel.hpp>
#include <smx/backend/cpu/attention_kernel.hpp>
#include <smx/backend/cpu/attention_step_kernel.hpp>
#include <smx/backend/cpu/backend.hpp>
#include <smx/backend/tuned.hpp>

namespace smx {
inline namespace SMX_CPU_ABI {

namespace tuned_attention {

template <class T, class S> cpu_kernels::head_rows<T> rows(view<T, 4, S> const& v, index_t b, index_t h) {
  return {detail::advance(v.ptr, b * v.str[0] + h * v.str[1]), v.str[2], v.str[1]};
}
/// Products of a pair of rows that `rows` queries, a few at a time, form with the keys they may see.
template <class M> double pairs(M const& mask, index_t b, index_t h, index_range rows, index_t keys) {
  constexpr index_t together = 48;
  double sum = 0;
  for (index_t i = rows.first; i < rows.last; i += together) {
    index_range const some{i, i + together < rows.last ? i + together : rows.last};
    index_range const seen = mask.keys(b, h, some, keys);
    sum += static_cast<double>(some.last - some.first) *
           static_cast<double>(seen.last > seen.first ? seen.last - seen.first : 0);
  }
  return sum;
}

/// One query a head: the heads that share keys read the cache together.
template <class B, class T, class S, class M> void step(B& be, attention_forward_call<T, S, M> const& c) {
  index_t const kv = c.k.ext[1], shared = c.q.ext[1] / kv, keys = c.k.ext[2], dims = c.q.ext[3] + c.v.ext[3];
  be.tiles(c.q.ext[0] * kv, 0, [&](auto& sub, index_t first, index_t count) {
    auto s = sub.template scratch<T>(
        extents<1>{cpu_kernels::attention_step_scratch<T>(shared, c.q.ext[3], c.v.ext[3])});
    for (index_t i = first; i < first + count; ++i) {
      index_t const b = i / kv, g = i % kv, h = g * shared;
      double seen = 0;
      for (index_t head = h; head < h + shared; ++head) seen += pairs(c.mask, b, head, {0, 1}, keys);
      double const moved = static_cast<double>((shared + keys) * dims) * sizeof(T);
      sub.kernel("attention_step", {2 * seen * static_cast<double>(dims), moved}, [&] {
        cpu_kernels::attention_shape const shape{
            1, keys, c.q.ext[3], c.v.ext[3], static_cast<double>(c.scale), b, h, shared};
        T* const lse = c.lse.size() == 0 ? nullptr : rows(c.lse, b, h).ptr;
        cpu_kernels::attention_step<T>(shape, c.mask, rows(c.q, b, h), rows(c.k, b, g), rows(c.v, b, g),
                                       rows(c.y, b, h), lse, c.lse.str[1], s.ptr);
      });
    }
  });
}

}  // namespace tuned_attention

template <class B, class T, class S, class M>
requires OnCpu<B>
bool smx_tuned(B& be, attention_forward_call<T, S, M> const& c) {
  using namespace tuned_attention;
  if (c.q.ext[2] == 1) {
    step(be, c);
    return true;
  }
  index_t const heads = c.q.ext[1], shared = heads / c.k.ext[1], queries = c.q.ext[2], keys = c.k.ext[2];
  index_t const panels = cpu_kernels::attention_panels<T>(queries), dims = c.q.ext[3] + c.v.ext[3];
  be.tiles(c.q.ext[0] * heads * panels, 0, [&](auto& sub, index_t first, index_t count) {
    auto s = sub.template scratch<T>(extents<1>{cpu_kernels::attention_scratch<T>(c.q.ext[3], c.v.ext[3])});
    index_t const last = first + count;
    while (first < last) {  // neighbouring panels of one head in one call
      index_t const item = first / panels, p0 = first % panels, b = item / heads, h = item % heads;
      index_t const p1 = panels - p0 < last - first ? panels : p0 + last - first;
      double seen = 0;
      for (index_t p = p0; p < p1; ++p)
        seen += pairs(c.mask, b, h, cpu_kernels::attention_panel<T>(queries, p), keys);
      double const moved =
          static_cast<double>((queries * dims * (p1 - p0)) / panels + keys * dims) * sizeof(T);
      sub.kernel("attention", {2 * seen * static_cast<double>(dims), moved}, [&] {
        cpu_kernels::attention_shape const shape{
            queries, keys, c.q.ext[3], c.v.ext[3], static_cast<double>(c.scale), b, h, 1};
        T* const lse = c.lse.size() == 0 ? nullptr : rows(c.lse, b, h).ptr;
        cpu_kernels::attention_forward<T>(shape, c.mask, rows(c.q, b, h), rows(c.k, b, h / shared),
                                          rows(c.v, b, h / shared), rows(c.y, b, h), lse, c.lse.str[2], p0,
                                          p1, s.ptr);
      });
      first += p1 - p0;
    }
  });
  return true;
}

template <class B, class T, class S, class M>
requires OnCpu<B>
bool smx_tuned(B& be, attention_backward_call<T, S, M> const& c) {
  using namespace tuned_attention;
  index_t const batch = c.q.ext[0], heads = c.q.ext[1], kv = c.k.ext[1], shared = heads / kv;
  index_t const queries = c.q.ext[2], keys = c.k.ext[2], blocks = cpu_kernels::attention_key_blocks<T>(keys);
  index_t const dims = 3 * c.q.ext[3] + 2 * c.v.ext[3];
  // A group of heads that share keys is one thread's. Where there are few groups, the keys of each are cut
  // too, always in the same way, and the parts of dq are added up in order.
  index_t const groups = batch * kv, parts = groups >= 8 ? 1 : blocks < 8 / groups ? blocks : 8 / groups;
  auto frame = be.scope();
  auto partial = view<T, 5, S>{};  // (parts - 1,B,Hq,L,D)
  if (parts > 1) partial = be.template scratch<T>(extents<5>{parts - 1, batch, heads, queries, c.q.ext[3]});
  be.tiles(groups * parts, 0, [&](auto& sub, index_t first, index_t count) {
    auto s = sub.template scratch<T>(
        extents<1>{cpu_kernels::attention_backward_scratch<T>(queries, shared, c.q.ext[3], c.v.ext[3])});
    for (index_t i = first; i < first + count; ++i) {
      index_t const part = i % parts, b = i / parts / kv, g = i / parts % kv, h = g * shared;
      auto const dq = part == 0 ? c.dq : fix_axis(partial, 0, part - 1);
      double seen = 0;
      for (index_t k = h; k < h + shared; ++k)
        seen += pairs(c.mask, b, k, {0, queries}, keys) / static_cast<double>(parts);
      double const moved = static_cast<double>((queries * shared + keys / parts) * dims) * sizeof(T);
      sub.kernel("attention_backward", {2 * seen * static_cast<double>(dims), moved}, [&] {
        cpu_kernels::attention_shape const shape{
            queries, keys, c.q.ext[3], c.v.ext[3], static_cast<double>(c.scale), b, h, shared};
        auto const lse = rows(c.lse, b, h);
        cpu_kernels::attention_backward<T>(
            shape, c.mask, rows(c.q, b, h), rows(c.k, b, g), rows(c.v, b, g), rows(c.y, b, h), lse.ptr,
            c.lse.str[2], c.lse.str[1], rows(c.dy, b, h), rows(dq, b, h), rows(c.dk, b, g), rows(c.dv, b, g),
            blocks * part / parts, blocks * (part + 1) / parts, s.ptr);
      });
    }
  });
  for (index_t part = 1; part < parts; ++part)
    be.map(add{}, c.dq, as_input(c.dq), as_input(fix_axis(partial, 0, part - 1)));
  return true;
}

}  // namespace SMX_CPU_ABI
}  // namespace smx
