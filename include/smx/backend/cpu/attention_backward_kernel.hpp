// SPDX-License-Identifier: Apache-2.0
/// \file  Backward pass of softmax attention. With P = exp(scale * Q K^T - lse) recomputed tile by tile and
///        delta_i = sum_d do_id o_id:
///          dV = P^T dO,  dP = dO V^T,  dS = scale * P (dP - delta),  dK = dS^T Q,  dQ = dS K.
///
/// One pass (Dao et al. 2022): blocks of keys outside, query heads of the group and tiles of queries inside.
/// Keys lie along the vectors: K^T and V^T are transposed once per block, everything else is read as it lies.
/// dK and dV of a block and dQ accumulate in place, in one fixed order: the same bits whoever computes which
/// group. 2 Lq Lk (3 Dk + 2 Dv) flops per query head; scratch grows with Lq only by two numbers a query.
///
/// Rows without a visible key have zero gradients. What is not finite reaches what it is combined with by the
/// mask, and nothing else. Probabilities are at most 1 also where lse is rounded coarsely (scores beyond
/// 1e7).
#pragma once

#include <algorithm>
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

/// Keys of one block, and queries of one tile: with 64 columns of float all that a tile needs is 200 KB, in
/// L2.
template <class T> inline constexpr index_t attention_backward_keys = 96;
template <class T> inline constexpr index_t attention_backward_queries = 96;

/// Blocks that cover `keys`.
template <class T> constexpr index_t attention_key_blocks(index_t keys) {
  return (keys + attention_backward_keys<T> - 1) / attention_backward_keys<T>;
}

/// Elements of scratch; its address should be a multiple of 64 bytes.
template <class T>
constexpr index_t attention_backward_scratch(index_t queries, index_t heads, index_t key_dim,
                                             index_t value_dim) {
  constexpr index_t n = attention_backward_keys<T>, m = attention_backward_queries<T>;
  return n * (key_dim + value_dim) + 2 * m * n + std::max(m, n) * std::max(key_dim, value_dim) +
         2 * heads * queries;
}

namespace detail {

template <class T> struct attention_gradient_state {
  static constexpr index_t n = attention_backward_keys<T>, m = attention_backward_queries<T>;
  T* kt;     // K^T: (Dk, n)
  T* vt;     // V^T: (Dv, n)
  T* p;      // S, then P: (m, n)
  T* ds;     // dP, then dS: (m, n)
  T* clean;  // Q, dO or K with zeros for what is not finite
  T* lse;    // in units of log 2, +inf for rows that see nothing: (heads, queries)
  T* delta;  // times scale: (heads, queries)

  attention_gradient_state(T* z, attention_shape const& d)
      : kt(z),
        vt(kt + d.key_dim * n),
        p(vt + d.value_dim * n),
        ds(p + m * n),
        clean(ds + m * n),
        lse(clean + std::max(m, n) * std::max(d.key_dim, d.value_dim)),
        delta(lse + d.heads * d.queries) {}
};

/// C (m, n) = A B or C += A B.
template <class T, layout How>
void multiply(index_t m, index_t n, index_t k, T const* a, index_t lda, T const* b, index_t ldb, T* c,
              index_t ldc, bool add) {
  cover<T>(0, m, n, [=](auto& t, index_t i, index_t j) {
    t.zero();
    t.template mac<How>(k, How == layout::rows ? a + i * lda : a + i, lda, b + j, ldb);
    if (add)
      t.add_to(c + i * ldc + j, ldc);
    else
      t.store(c + i * ldc + j, ldc);
  });
}

/// N vectors of one row: q k -> P, dP -> dS. (The factors are part of multiply-adds; on K or V they could
/// overflow.)
template <class T, int N> SMX_INLINE void gradient_row(T* s, T* ds, T to_log2, T lse, T scale, T delta) {
  vec<T> p[N];
  SMX_UNROLL for (int j = 0; j < N; ++j) p[j] = vmin(vec<T>{}, load(s + j * lanes<T>) * to_log2 - lse);
  exp2_nonpositive(p);
  SMX_UNROLL for (int j = 0; j < N; ++j) {
    store(s + j * lanes<T>, p[j]);
    store(ds + j * lanes<T>, p[j] * (load(ds + j * lanes<T>) * scale - delta));
  }
}
template <class T>
[[gnu::noinline]] void gradient_rows(index_t m, index_t n, T* s, T* ds, double scale, T const* lse,
                                     T const* delta) {
  constexpr int together = vector_registers == 32 ? 6 : 3;
  T const to_log2 = static_cast<T>(scale * 1.44269504088896340736), factor = static_cast<T>(scale);
  for (index_t i = 0; i < m; ++i, s += attention_backward_keys<T>, ds += attention_backward_keys<T>) {
    index_t j = 0;
    for (; j + together * lanes<T> <= n; j += together * lanes<T>)
      gradient_row<T, together>(s + j, ds + j, to_log2, lse[i], factor, delta[i]);
    for (; j < n; j += lanes<T>) gradient_row<T, 1>(s + j, ds + j, to_log2, lse[i], factor, delta[i]);
  }
}

/// lse and delta of one head as attention_gradient_state holds them.
template <class T>
[[gnu::noinline]] void gradient_rows_begin(attention_shape const& d, head_rows<T const> o,
                                           head_rows<T const> dout, T const* lse, index_t lse_stride,
                                           T* to_lse, T* to_delta) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  for (index_t i = 0; i < d.queries; ++i) {
    T const *const a = o.row(i), *const b = dout.row(i);
    vec<T> sum{};
    T delta = 0;
    index_t j = 0;
    for (; j + lanes<T> <= d.value_dim; j += lanes<T>) sum += load(a + j) * load(b + j);
    for (; j < d.value_dim; ++j) delta += a[j] * b[j];
    for (int e = 0; e < lanes<T>; ++e) delta += sum[e];
    to_delta[i] = delta * static_cast<T>(d.scale);
    to_lse[i] = lse[i * lse_stride] == -infinity ? infinity : lse[i * lse_stride] * T(1.44269504088896340736);
  }
}

/// Everything a tile of queries of one head and a block of keys give each other.
template <class T, class M> struct attention_gradient {
  static constexpr index_t ld = attention_backward_keys<T>;
  attention_shape const& d;
  M const& mask;
  attention_gradient_state<T> const& z;
  index_t h;                      // query head that the mask is asked about
  T const *lse, *delta;           // of this head
  head_rows<T const> q, k, dout;  // of this head
  head_rows<T> dq, dk, dv;

  void tile(index_range rows, index_range block) const {
    tile_class what = mask.tile(d.batch, h, rows, block);
    if (what == tile_class::empty) return;
    index_range keys = block;
    if (what == tile_class::partial) {
      index_t const half = attention_backward_queries<T> / 2;
      if (rows.last - rows.first > half) {  // half a tile may be empty or full
        tile({rows.first, rows.first + half}, block);
        tile({rows.first + half, rows.last}, block);
        return;
      }
      keys.last = std::min(keys.last, mask.keys(d.batch, h, rows, d.keys).last);
      if (keys.last <= keys.first) return;
    }
    index_t const m = rows.last - rows.first, n = keys.last - keys.first;
    index_t const w = (n + lanes<T> - 1) / lanes<T> * lanes<T>;
    T const *const q0 = q.row(rows.first), *const do0 = dout.row(rows.first);
    multiply<T, layout::rows>(m, w, d.key_dim, q0, q.stride, z.kt, ld, z.p, ld, false);
    multiply<T, layout::rows>(m, w, d.value_dim, do0, dout.stride, z.vt, ld, z.ds, ld, false);
    gradient_rows(m, w, z.p, z.ds, d.scale, lse + rows.first, delta + rows.first);
    bool const partial = what == tile_class::partial;
    if (partial) {
      hide_rows(mask, d.batch, h, rows, keys, z.p, ld);
      hide_rows(mask, d.batch, h, rows, keys, z.ds, ld);
    }
    auto const sees = [&](index_t i, index_t j) {
      return mask.allow(d.batch, h, rows.first + i, keys.first + j);
    };
    auto const seen = [&](index_t j, index_t i) { return sees(i, j); };
    add<layout::cols>(n, d.value_dim, m, z.p, do0, dout.stride, dv.row(keys.first), dv.stride, partial, seen);
    add<layout::cols>(n, d.key_dim, m, z.ds, q0, q.stride, dk.row(keys.first), dk.stride, partial, seen);
    add<layout::rows>(m, d.key_dim, n, z.ds, k.row(keys.first), k.stride, dq.row(rows.first), dq.stride,
                      partial, sees);
  }

 private:
  /// C += A B, without the terms of pairs that do not see each other.
  template <layout How, class Sees>
  void add(index_t m, index_t n, index_t k_terms, T const* a, T const* b, index_t ldb, T* c, index_t ldc,
           bool partial, Sees const& see) const {
    if (!partial || all_finite(k_terms, n, b, ldb)) {
      multiply<T, How>(m, n, k_terms, a, ld, b, ldb, c, ldc, true);
      return;
    }
    copy_finite(k_terms, n, b, ldb, z.clean);
    multiply<T, How>(m, n, k_terms, a, ld, z.clean, n, c, ldc, true);
    add_not_finite(m, n, k_terms, a, How == layout::rows ? ld : 1, How == layout::rows ? 1 : ld, b, ldb, c,
                   ldc, 1, see);
  }
};

}  // namespace detail

/// Gradients of one group of query heads that share a head of keys and values, from the keys of blocks
/// first_block .. last_block - 1: dk and dv of these keys, and what these keys contribute to dq. All are
/// overwritten. With all blocks, dq is complete; else the caller adds up the parts, in an order of its
/// choice. Entry i of head g of lse is at lse[g * lse_head_stride + i * lse_stride], as attention_forward
/// wrote it.
template <class T, Mask M>
void attention_backward(attention_shape const& d, M const& mask, head_rows<T const> q, head_rows<T const> k,
                        head_rows<T const> v, head_rows<T const> o, T const* lse, index_t lse_stride,
                        index_t lse_head_stride, head_rows<T const> dout, head_rows<T> dq, head_rows<T> dk,
                        head_rows<T> dv, index_t first_block, index_t last_block, T* scratch) {
  constexpr index_t ld = attention_backward_keys<T>, tile = attention_backward_queries<T>;
  detail::attention_gradient_state<T> const z(scratch, d);
  for (index_t g = 0; g < d.heads; ++g) {
    detail::gradient_rows_begin(d, o.head(g), dout.head(g), lse + g * lse_head_stride, lse_stride,
                                z.lse + g * d.queries, z.delta + g * d.queries);
    for (index_t i = 0; i < d.queries; ++i) std::fill_n(dq.head(g).row(i), d.key_dim, T(0));
  }
  for (index_t b = first_block; b < last_block; ++b) {
    index_range const keys = {b * ld, std::min(d.keys, (b + 1) * ld)};
    index_t const n = keys.last - keys.first;
    if (n < ld) std::fill_n(z.kt, (d.key_dim + d.value_dim) * ld, T(0));  // columns past the last key
    transpose(n, d.key_dim, k.row(keys.first), k.stride, z.kt, ld);
    transpose(n, d.value_dim, v.row(keys.first), v.stride, z.vt, ld);
    for (index_t j = keys.first; j < keys.last; ++j) {
      std::fill_n(dk.row(j), d.key_dim, T(0));
      std::fill_n(dv.row(j), d.value_dim, T(0));
    }
    for (index_t g = 0; g < d.heads; ++g) {
      detail::attention_gradient<T, M> const gradient{d,
                                                      mask,
                                                      z,
                                                      d.first_head + g,
                                                      z.lse + g * d.queries,
                                                      z.delta + g * d.queries,
                                                      q.head(g),
                                                      k,
                                                      dout.head(g),
                                                      dq.head(g),
                                                      dk,
                                                      dv};
      for (index_t i = 0; i < d.queries; i += tile) gradient.tile({i, std::min(d.queries, i + tile)}, keys);
    }
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
