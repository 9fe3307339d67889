// SPDX-License-Identifier: Apache-2.0
/// \file  Forward pass of softmax attention, with the sums over the keys j that query i sees:
///        x = scale * q k^T, lse_i = log sum_j exp(x_ij), o_i = sum_j exp(x_ij - lse_i) v_j.
///
/// Online softmax (Milakov and Gimelshein 2018; Dao et al. 2022) over tiles of keys, for one panel of queries
/// at a time. Everything is transposed, queries along the vectors: S^T = K Q^T and O^T += V^T P^T read K and
/// V rows as they lie, maxima and sums over keys are vertical, and each number of a query (maximum, sum,
/// rescaling factor) is one lane. Q is transposed on the way in, O on the way out. 2 Lq Lk (Dk + Dv) flops;
/// scratch does not depend on Lq or Lk.
///
/// Rows without a visible key: o = 0, lse = -inf. NaN in a query, key or value reaches the rows that see it,
/// no others. A score of +inf counts as the largest finite number (several share the weight evenly), a score
/// of -inf has weight 0; a row all of whose scores are -inf is a row without keys.
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

/// Queries of one panel at most, and keys of one tile: with 64 columns, Q^T and the tile of K or V stay in L1
/// for the products of three vectors of queries.
template <class T> inline constexpr index_t attention_panel_rows = 48;
template <class T> inline constexpr index_t attention_key_tile = 384 / static_cast<index_t>(sizeof(T));

/// Panels that cover `queries` rows. The panels depend on the number of queries alone, so results do not
/// depend on who computes which.
template <class T> constexpr index_t attention_panels(index_t queries) {
  return (queries + attention_panel_rows<T> - 1) / attention_panel_rows<T>;
}
/// Rows of panel p: whole vectors are shared evenly.
template <class T> constexpr index_range attention_panel(index_t queries, index_t p) {
  index_t const vectors = (queries + lanes<T> - 1) / lanes<T>, panels = attention_panels<T>(queries);
  return {p * vectors / panels * lanes<T>, std::min(queries, (p + 1) * vectors / panels * lanes<T>)};
}

/// Elements of scratch; its address should be a multiple of 64 bytes.
template <class T> constexpr index_t attention_scratch(index_t key_dim, index_t value_dim) {
  constexpr index_t panel = attention_panel_rows<T>, keys = attention_key_tile<T>;
  return (key_dim + value_dim + keys + 3) * panel + keys * value_dim;
}

namespace detail {

/// State of one panel in scratch; all rows are `panel` elements long.
template <class T> struct attention_state {
  static constexpr index_t panel = attention_panel_rows<T>;
  T* qt;      // Q^T, times scale and log2(e): (Dk, panel)
  T* ot;      // O^T, not yet divided by sum: (Dv, panel)
  T* s;       // S^T, then P^T: (key tile, panel)
  T* top;     // greatest score so far: (panel)
  T* sum;     // of exp2(score - top): (panel)
  T* factor;  // of ot and sum as top grows: (panel)
  T* clean;   // V with zeros for what is not finite: (key tile, Dv)

  attention_state(T* z, index_t dk, index_t dv)
      : qt(z),
        ot(qt + dk * panel),
        s(ot + dv * panel),
        top(s + attention_key_tile<T> * panel),
        sum(top + panel),
        factor(sum + panel),
        clean(factor + panel) {}
};

/// S^T -> P^T of NV vectors of queries, with the new maxima, factors and sums. Two rows at a time: an odd n
/// takes row n of s along, which it overwrites.
template <class T, int NV>
[[gnu::noinline]] void softmax_columns(index_t n, T* s, T* top, T* sum, T* factor) {
  constexpr index_t lds = attention_panel_rows<T>;
  constexpr T infinity = std::numeric_limits<T>::infinity(), largest = std::numeric_limits<T>::max();
  if (n % 2 != 0) {
    SMX_UNROLL for (int j = 0; j < NV; ++j) store(s + n * lds + j * lanes<T>, splat(-infinity));
  }
  vec<T> m[2 * NV], before[NV];
  SMX_UNROLL for (int j = 0; j < NV; ++j) m[j] = m[NV + j] = before[j] = load(top + j * lanes<T>);
  SMX_ROLLED for (index_t i = 0; i < n; i += 2) {
    SMX_UNROLL for (int j = 0; j < 2 * NV; ++j) {
      m[j] = vmax(load(s + (i + j / NV) * lds + j % NV * lanes<T>), m[j]);  // passes over NaN
    }
  }
  vec<T> greatest = splat(-infinity);
  SMX_UNROLL for (int j = 0; j < NV; ++j) {
    m[j] = vmax(m[j], m[NV + j]);
    greatest = vmax(greatest, m[j]);
  }
  T all = greatest[0];
  for (int e = 1; e < lanes<T>; ++e) all = std::max(all, greatest[e]);
  if (all == infinity) [[unlikely]] {
    for (index_t i = 0; i < n; ++i)
      for (int j = 0; j < NV; ++j) {
        T* const at = s + i * lds + j * lanes<T>;
        store(at, vmin(splat(largest), load(at)));
      }
    SMX_UNROLL for (int j = 0; j < NV; ++j) m[j] = vmin(splat(largest), m[j]);
  }
  constexpr int rows = vector_registers == 32 ? 2 : 1;
  vec<T> total[NV], f[NV];
  SMX_UNROLL for (int j = 0; j < NV; ++j) {
    store(top + j * lanes<T>, m[j]);
    m[j] = m[j] == splat(-infinity) ? vec<T>{} : m[j];  // -inf - -inf would be NaN
    f[j] = before[j] - m[j];
    total[j] = vec<T>{};
  }
  exp2_nonpositive(f);
  SMX_ROLLED for (index_t i = 0; i < n; i += rows) {
    vec<T> p[rows * NV];
    SMX_UNROLL for (int j = 0; j < rows * NV; ++j) p[j] =
        load(s + (i + j / NV) * lds + j % NV * lanes<T>) - m[j % NV];
    exp2_nonpositive(p);
    SMX_UNROLL for (int j = 0; j < rows * NV; ++j) {
      total[j % NV] += p[j];
      store(s + (i + j / NV) * lds + j % NV * lanes<T>, p[j]);
    }
  }
  SMX_UNROLL for (int j = 0; j < NV; ++j) {
    store(factor + j * lanes<T>, f[j]);
    store(sum + j * lanes<T>, load(sum + j * lanes<T>) * f[j] + total[j]);
  }
}

/// S^T (n, w) = K Q^T. The rows of V that come next and the K tile after this one are prefetched.
template <class T>
void score_columns(index_t n, index_t w, index_t dk, T const* k, index_t ldk, T const* next, index_t dv,
                   T const* v, index_t ldv, T const* qt, T* s) {
  constexpr index_t panel = attention_panel_rows<T>;
  cover<T>(0, n, w, [=](auto& t, index_t i, index_t j) {
    prefetch_rows(v + i * ldv, ldv, t.height, dv);
    prefetch_rows(next + i * ldk, ldk, t.height, dk);
    t.zero();
    t.template mac<layout::rows>(dk, k + i * ldk, ldk, qt + j, panel);
    t.store(s + i * panel + j, panel);
  });
}

/// O^T (dv, w) = O^T diag(factor) + V^T P^T. The tile's own sum is formed first: shorter chains of rounding
/// errors than adding into O.
template <class T>
void add_value_columns(index_t n, index_t w, index_t dv, T const* v, index_t ldv, T const* s, T const* factor,
                       T* ot) {
  constexpr index_t panel = attention_panel_rows<T>;
  cover<T>(0, dv, w, [=](auto& t, index_t i, index_t j) {
    t.zero();
    t.template mac<layout::cols>(n, v + i, ldv, s + j, panel);
    t.scale_cols_add(ot + i * panel + j, panel, factor + j);
  });
}

/// The queries of a panel, w columns, meet the keys of a tile.
template <class T, class M>
void attention_tile(attention_shape const& d, M const& mask, attention_state<T> const& z,
                    head_rows<T const> k, head_rows<T const> v, index_range rows, index_range keys, index_t w,
                    bool partial) {
  index_t const n = keys.last - keys.first, dv = d.value_dim;
  T const *const k0 = k.row(keys.first), *const v0 = v.row(keys.first);
  T const* const next = keys.last + n <= d.keys ? k.row(keys.last) : k0;
  score_columns(n, w, d.key_dim, k0, k.stride, next, dv, v0, v.stride, z.qt, z.s);
  if (partial)
    hide_columns<T, attention_panel_rows<T>>(mask, d.batch, d.first_head, rows, keys, z.s,
                                             attention_panel_rows<T>);
  index_t j = 0;
  for (; j + 3 * lanes<T> <= w; j += 3 * lanes<T>)
    softmax_columns<T, 3>(n, z.s + j, z.top + j, z.sum + j, z.factor + j);
  for (; j < w; j += lanes<T>) softmax_columns<T, 1>(n, z.s + j, z.top + j, z.sum + j, z.factor + j);
  if (!partial || all_finite(n, dv, v0, v.stride)) {
    add_value_columns(n, w, dv, v0, v.stride, z.s, z.factor, z.ot);
    return;
  }
  copy_finite(n, dv, v0, v.stride, z.clean);
  add_value_columns(n, w, dv, static_cast<T const*>(z.clean), dv, z.s, z.factor, z.ot);
  add_not_finite(rows.last - rows.first, dv, n, z.s, 1, z.panel, v0, v.stride, z.ot, 1, z.panel,
                 [&](index_t i, index_t p) {
                   return mask.allow(d.batch, d.first_head, rows.first + i, keys.first + p);
                 });
}

}  // namespace detail

/// Panels first_panel .. last_panel - 1 of one query head (d.first_head; d.heads is not looked at): o
/// (queries, value_dim), and lse (queries entries, lse_stride apart) unless it is null.
template <class T, Mask M>
void attention_forward(attention_shape const& d, M const& mask, head_rows<T const> q, head_rows<T const> k,
                       head_rows<T const> v, head_rows<T> o, T* lse, index_t lse_stride, index_t first_panel,
                       index_t last_panel, T* scratch) {
  constexpr index_t panel = attention_panel_rows<T>;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  detail::attention_state<T> const z(scratch, d.key_dim, d.value_dim);
  index_t const h = d.first_head;
  for (index_t p = first_panel; p < last_panel; ++p) {
    index_range const rows = attention_panel<T>(d.queries, p);
    index_t const count = rows.last - rows.first;
    // Lanes past the last query are zero queries; nobody sees them.
    index_t const w = (count + lanes<T> - 1) / lanes<T> * lanes<T>;
    if (w > count) std::fill_n(z.qt, d.key_dim * panel, T(0));
    transpose(count, d.key_dim, q.row(rows.first), q.stride, z.qt, panel,
              static_cast<T>(d.scale * 1.44269504088896340736));
    std::fill_n(z.ot, d.value_dim * panel, T(0));
    std::fill_n(z.top, panel, -infinity);
    std::fill_n(z.sum, panel, T(0));

    index_range const seen = mask.keys(d.batch, h, rows, d.keys);
    index_t const last = std::min(seen.last, d.keys);
    // Tiles start at multiples of their size, whatever a panel sees: a row's bits do not depend on the panel.
    index_t const start = std::max<index_t>(seen.first, 0) / attention_key_tile<T> * attention_key_tile<T>;
    for (index_t k0 = start; k0 < last; k0 += attention_key_tile<T>) {
      index_range const keys = {k0, std::min(last, k0 + attention_key_tile<T>)};
      tile_class const what = mask.tile(d.batch, h, rows, keys);
      if (what == tile_class::empty) continue;
      detail::attention_tile(d, mask, z, k, v, rows, keys, w, what == tile_class::partial);
    }

    for (index_t i = 0; i < count; ++i) {
      if (lse != nullptr) {
        lse[(rows.first + i) * lse_stride] =
            z.sum[i] == T(0) ? -infinity : z.top[i] * T(0.693147180559945309417) + std::log(z.sum[i]);
      }
      z.factor[i] = z.sum[i] == T(0) ? T(0) : T(1) / z.sum[i];
    }
    for (index_t i = 0; i < d.value_dim; ++i)
      for (index_t j = 0; j < w; j += lanes<T>) {
        T* const at = z.ot + i * panel + j;
        store(at, load(at) * load(z.factor + j));
      }
    transpose(d.value_dim, count, z.ot, panel, o.row(rows.first), o.stride);
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
