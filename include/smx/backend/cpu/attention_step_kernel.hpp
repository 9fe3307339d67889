// SPDX-License-Identifier: Apache-2.0
/// \file  Softmax attention of one query row per head (formulas: attention_kernel.hpp): the step of a decoder
/// over its
///        cache of keys and values.
///
/// Bound by reading the cache, so each chunk of keys and values is read once for all query heads that share
/// it, and nothing is transposed or padded to vectors of queries: scores are dot products along the key
/// dimension, a vector of keys at a time; o += p V is a product with as many rows as there are heads. Same
/// treatment of masks, NaN and infinities as attention_forward; the sums run in another order.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include <smx/backend/cpu/attention_tiles.hpp>
#include <smx/backend/cpu/exp.hpp>
#include <smx/backend/cpu/simd.hpp>
#include <smx/backend/cpu/tile.hpp>
#include <smx/backend/cpu/transpose.hpp>
#include <smx/core/config.hpp>
#include <smx/core/extents.hpp>
#include <smx/core/mask.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Keys of one chunk. Few, so that memory keeps being read while numbers are crunched: 1.3 times the time of
/// reading the cache, against 1.7 with 64.
inline constexpr index_t attention_step_keys = 16;

/// Elements of scratch; its address should be a multiple of 64 bytes.
template <class T>
constexpr index_t attention_step_scratch(index_t heads, index_t key_dim, index_t value_dim) {
  return heads * (attention_step_keys + key_dim + value_dim + 3) + attention_step_keys * value_dim;
}

namespace detail {

/// s[j] = q . k_j for n keys. Whole vectors are written: those past the last key hold -inf.
template <class T>
[[gnu::noinline]] void step_scores(index_t n, index_t dk, T const* q, T const* k, index_t ldk, index_t dv,
                                   T const* v, index_t ldv, bool fetch, T* s) {
  constexpr int wide = lanes<T>, together = wide < 4 ? wide : 4;
  index_t const whole = dk / wide * wide;
  part<T> const rest(dk - whole == 0 ? wide : dk - whole);
  for (index_t j = 0; j < n; j += wide) {
    if (fetch) prefetch_rows(v + j * ldv, ldv, std::min<index_t>(wide, n - j), dv);
    vec<T> sum[wide];
    SMX_UNROLL for (int r = 0; r < wide; r += together) {
      T const* row[together];
      vec<T> a[together];
      SMX_UNROLL for (int e = 0; e < together; ++e) {
        row[e] = k + std::min(j + r + e, n - 1) * ldk;
        a[e] = vec<T>{};
      }
      SMX_ROLLED for (index_t c = 0; c < whole; c += wide) {
        vec<T> const x = load(q + c);
        SMX_UNROLL for (int e = 0; e < together; ++e) a[e] += x * load(row[e] + c);
      }
      if (whole < dk) {
        vec<T> const x = load(q + whole, rest);
        SMX_UNROLL for (int e = 0; e < together; ++e) a[e] += x * load(row[e] + whole, rest);
      }
      SMX_UNROLL for (int e = 0; e < together; ++e) sum[r + e] = a[e];
    }
    transpose_square<T>(sum);
    SMX_UNROLL for (int half = wide / 2; half > 0; half /= 2) {
      SMX_UNROLL for (int e = 0; e < half; ++e) sum[e] += sum[e + half];
    }
    store(s + j, first_lanes<T>(n - j) ? sum[0] : splat(-std::numeric_limits<T>::infinity()));
  }
}

/// One row of scores -> probabilities; top and sum are brought up to date, the factor of what was summed
/// before is returned.
template <class T> [[gnu::noinline]] T step_softmax(index_t n, T* s, T& top, T& sum) {
  constexpr T infinity = std::numeric_limits<T>::infinity(), largest = std::numeric_limits<T>::max();
  vec<T> m = splat(top);
  for (index_t j = 0; j < n; j += lanes<T>) m = vmax(load(s + j), m);  // passes over NaN
  T greatest = top;
  for (int e = 0; e < lanes<T>; ++e) greatest = std::max(greatest, m[e]);
  if (greatest == infinity) {
    greatest = largest;
    for (index_t j = 0; j < n; j += lanes<T>) store(s + j, vmin(splat(largest), load(s + j)));
  }
  T const shift = greatest == -infinity ? T(0) : greatest;  // -inf - -inf would be NaN
  vec<T> total{}, factor[1] = {splat(top - shift)};
  exp2_nonpositive(factor);
  for (index_t j = 0; j < n; j += lanes<T>) {
    vec<T> p[1] = {load(s + j) - splat(shift)};
    exp2_nonpositive(p);
    total += p[0];
    store(s + j, p[0]);
  }
  T added = total[0];
  for (int e = 1; e < lanes<T>; ++e) added += total[e];
  top = greatest;
  sum = sum * factor[0][0] + added;
  return factor[0][0];
}

/// O (heads, dv) = diag(factor) O + P V; the keys of the next chunk are asked for.
template <class T>
void step_values(index_t heads, index_t dv, index_t n, T const* p, T const* v, index_t ldv, T const* factor,
                 T* o, index_t dk, T const* next, index_t ldk) {
  cover<T>(0, heads, dv, [=](auto& t, index_t i, index_t j) {
    if (i == 0 && j < dk) prefetch_rows(next + j, ldk, n, std::min<index_t>(t.width, dk - j));
    t.zero();
    t.template mac<layout::rows>(n, p + i * attention_step_keys, attention_step_keys, v + j, ldv);
    t.scale_rows_add(o + i * dv + j, dv, factor + i);
  });
}

}  // namespace detail

/// The query heads d.first_head .. d.first_head + d.heads - 1, which share one head of keys and values;
/// d.queries = 1: row 0 of each head of q and o, and lse[g * lse_head_stride] of head g unless lse is null.
template <class T, Mask M>
void attention_step(attention_shape const& d, M const& mask, head_rows<T const> q, head_rows<T const> k,
                    head_rows<T const> v, head_rows<T> o, T* lse, index_t lse_head_stride, T* scratch) {
  constexpr index_t chunk = attention_step_keys;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  index_t const heads = d.heads, dk = d.key_dim, dv = d.value_dim;
  T* const s = scratch;                // scores, then probabilities: (heads, chunk)
  T* const clean = s + heads * chunk;  // V with zeros for what is not finite: (chunk, Dv)
  T* const qs = clean + chunk * dv;    // q times scale and log2(e): (heads, Dk)
  T* const sums = qs + heads * dk;     // o, not yet divided by sum: (heads, Dv)
  T *const top = sums + heads * dv, *const sum = top + heads, *const factor = sum + heads;

  index_range seen{d.keys, 0};
  for (index_t g = 0; g < heads; ++g) {
    T const* const row = q.head(g).ptr;
    for (index_t c = 0; c < dk; ++c)
      qs[g * dk + c] = row[c] * static_cast<T>(d.scale * 1.44269504088896340736);
    top[g] = -infinity;
    sum[g] = T(0);
    index_range const r = mask.keys(d.batch, d.first_head + g, {0, 1}, d.keys);
    if (r.first < r.last) seen = {std::min(seen.first, r.first), std::max(seen.last, r.last)};
  }
  std::fill_n(sums, heads * dv, T(0));

  index_t const last = std::min(seen.last, d.keys);
  for (index_t k0 = std::max<index_t>(seen.first, 0); k0 < last; k0 += chunk) {
    index_range const keys = {k0, std::min(last, k0 + chunk)};
    index_t const n = keys.last - k0;
    T const* const v0 = v.row(k0);
    index_t empty = 0, full = 0;
    for (index_t g = 0; g < heads; ++g) {
      tile_class const what = mask.tile(d.batch, d.first_head + g, {0, 1}, keys);
      empty += what == tile_class::empty ? 1 : 0;
      full += what == tile_class::full ? 1 : 0;
    }
    if (empty == heads) continue;
    T const* const next = k.row(k0 + 2 * chunk <= last ? k0 + chunk : k0);
    auto const sees = [&](index_t g, index_t j) { return mask.allow(d.batch, d.first_head + g, 0, k0 + j); };
    for (index_t g = 0; g < heads; ++g) {
      T* const row = s + g * chunk;
      detail::step_scores(n, dk, static_cast<T const*>(qs + g * dk), k.row(k0), k.stride, dv, v0, v.stride,
                          g == 0, row);
      for (index_t j = 0; full < heads && j < n; ++j)
        if (!sees(g, j)) row[j] = -infinity;
      factor[g] = detail::step_softmax(n, row, top[g], sum[g]);
    }
    if (full == heads || detail::all_finite(n, dv, v0, v.stride)) {
      detail::step_values<T>(heads, dv, n, s, v0, v.stride, factor, sums, dk, next, k.stride);
    } else {
      detail::copy_finite(n, dv, v0, v.stride, clean);
      detail::step_values<T>(heads, dv, n, s, clean, dv, factor, sums, dk, next, k.stride);
      detail::add_not_finite<T>(heads, dv, n, s, chunk, 1, v0, v.stride, sums, dv, 1, sees);
    }
  }

  for (index_t g = 0; g < heads; ++g) {
    if (lse != nullptr)
      lse[g * lse_head_stride] =
          sum[g] == T(0) ? -infinity : top[g] * T(0.693147180559945309417) + std::log(sum[g]);
    T const inverse = sum[g] == T(0) ? T(0) : T(1) / sum[g];
    T* const row = o.head(g).ptr;
    for (index_t c = 0; c < dv; ++c) row[c] = sums[g * dv + c] * inverse;
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
