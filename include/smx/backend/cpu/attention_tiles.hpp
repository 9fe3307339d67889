// SPDX-License-Identifier: Apache-2.0
/// \file  What the attention kernels share: arguments, panels, masks over tiles of scores, values that are
/// not finite.
///
/// Masked entries must not reach a result even as 0 * NaN. Scores and probabilities are selected, never
/// multiplied by a mask. A product with probabilities (0 where masked) is safe while the other operand is
/// finite; so in a partial tile that operand is looked through, and if something in it is not finite, the
/// product runs on a copy with zeros in these places, whose terms are then added one by one for the pairs
/// that see each other.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include <smx/backend/cpu/simd.hpp>
#include <smx/backend/cpu/tile.hpp>
#include <smx/core/config.hpp>
#include <smx/core/extents.hpp>
#include <smx/core/mask.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// The rows of a matrix: entries of a row are contiguous, rows are `stride` elements apart, and the matrices
/// of two neighbouring heads are `head_stride` elements apart.
template <class T> struct head_rows {
  T* ptr = nullptr;
  index_t stride = 0;
  index_t head_stride = 0;

  SMX_INLINE T* row(index_t i) const { return ptr + i * stride; }
  SMX_INLINE head_rows head(index_t h) const { return {ptr + h * head_stride, stride, head_stride}; }
  operator head_rows<T const>() const requires(!std::is_const_v<T>) { return {ptr, stride, head_stride}; }
};

/// Sizes of softmax(scale * q k^T) v for one batch entry and the query heads first_head .. first_head + heads
/// - 1, which share one head of keys and values. The mask is asked about `batch` and the query head.
struct attention_shape {
  index_t queries, keys;       // rows of q and o; rows of k and v
  index_t key_dim, value_dim;  // columns of q and k; columns of v and o
  double scale;
  index_t batch = 0, first_head = 0, heads = 1;
};

namespace detail {

/// 0, 1, 2, ...
template <class T> SMX_INLINE ivec<T> lane_numbers() {
  ivec<T> lane{};
  for (int e = 0; e < lanes<T>; ++e) lane[e] = static_cast<std::remove_reference_t<decltype(lane[0])>>(e);
  return lane;
}
/// The first n lanes, n clamped to 0..lanes, are true.
template <class T> SMX_INLINE ivec<T> first_lanes(index_t n) {
  using integer = std::remove_cvref_t<decltype(ivec<T>{}[0])>;
  return lane_numbers<T>() < static_cast<integer>(std::clamp<index_t>(n, 0, lanes<T>));
}

/// S^T (keys x rows), at most Rows of them: entries that do not see each other become -inf. Whole vectors are
/// written: what lies past the last row sees nothing.
template <class T, index_t Rows, class M>
void hide_columns(M const& mask, index_t b, index_t h, index_range rows, index_range keys, T* s,
                  index_t lds) {
  constexpr T hidden = -std::numeric_limits<T>::infinity();
  if constexpr (IntervalMask<M>) {
    using integer = std::remove_cvref_t<decltype(ivec<T>{}[0])>;
    alignas(vector_bytes) integer first[Rows] = {}, last[Rows] = {};
    index_t const n = keys.last - keys.first;
    for (index_t i = rows.first; i < rows.last; ++i) {
      index_range const seen = mask.row(b, h, i);
      first[i - rows.first] = static_cast<integer>(std::clamp<index_t>(seen.first - keys.first, 0, n));
      last[i - rows.first] = static_cast<integer>(std::clamp<index_t>(seen.last - keys.first, 0, n));
    }
    for (index_t i = 0; i < rows.last - rows.first; i += lanes<T>) {
      ivec<T> const from = *reinterpret_cast<ivec<T> const*>(first + i),
                    to = *reinterpret_cast<ivec<T> const*>(last + i);
      for (index_t j = 0; j < n; ++j) {
        ivec<T> const key = static_cast<integer>(j) - ivec<T>{};
        T* const at = s + j * lds + i;
        store(at, ((from <= key) & (key < to)) ? load(at) : splat(hidden));
      }
    }
  } else {
    for (index_t j = keys.first; j < keys.last; ++j, s += lds)
      for (index_t i = rows.first; i < rows.last; ++i)
        if (!mask.allow(b, h, i, j)) s[i - rows.first] = hidden;
  }
}
/// S (rows x keys): entries that do not see each other become 0. Whole vectors are written.
template <class T, class M>
void hide_rows(M const& mask, index_t b, index_t h, index_range rows, index_range keys, T* s, index_t lds) {
  for (index_t i = rows.first; i < rows.last; ++i, s += lds) {
    if constexpr (IntervalMask<M>) {
      index_range const seen = mask.row(b, h, i);
      index_t const n = keys.last - keys.first, first = std::clamp<index_t>(seen.first - keys.first, 0, n),
                    last = std::clamp<index_t>(seen.last - keys.first, 0, n);
      for (index_t j = 0; j < n; j += lanes<T>)
        if (j < first || last < j + lanes<T>)
          store(s + j, (first_lanes<T>(last - j) & ~first_lanes<T>(first - j)) ? load(s + j) : vec<T>{});
    } else {
      for (index_t j = keys.first; j < keys.last; ++j)
        if (!mask.allow(b, h, i, j)) s[j - keys.first] = T(0);
    }
  }
}

/// Whether a (rows x cols) holds neither NaN nor infinity.
template <class T> [[gnu::noinline]] bool all_finite(index_t rows, index_t cols, T const* a, index_t lda) {
  vec<T> sum{};  // 0 * x is NaN for these, and for no others
  T rest = 0;
  for (index_t i = 0; i < rows; ++i, a += lda) {
    index_t j = 0;
    for (; j + lanes<T> <= cols; j += lanes<T>) sum += load(a + j) * T(0);
    for (; j < cols; ++j) rest += a[j] * T(0);
  }
  for (int e = 0; e < lanes<T>; ++e) rest += sum[e];
  return rest == T(0);
}

/// Asks for a few rows to come to the L1 cache. The hardware does not foresee rows that are KB apart (heads
/// side by side in a row of memory): 15 % at 3 KB.
template <class T> SMX_INLINE void prefetch_rows(T const* a, index_t lda, index_t rows, index_t cols) {
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < cols; j += 64 / static_cast<index_t>(sizeof(T)))
      __builtin_prefetch(a + i * lda + j, 0, 3);
}

/// Copy of a (rows x cols) without gaps, with 0 for what is not finite.
template <class T>
[[gnu::noinline]] void copy_finite(index_t rows, index_t cols, T const* a, index_t lda, T* to) {
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < cols; ++j)
      to[i * cols + j] = std::isfinite(a[i * lda + j]) ? a[i * lda + j] : T(0);
}

/// C += A B restricted to the entries of B that are not finite and to pairs (row of A, row of B) that see
/// each other. Entry (i, p) of A is a[i*a_row + p*a_col], entry (i, j) of C is c[i*c_row + j*c_col].
template <class T, class Sees>
void add_not_finite(index_t m, index_t n, index_t k, T const* a, index_t a_row, index_t a_col, T const* b,
                    index_t ldb, T* c, index_t c_row, index_t c_col, Sees const& sees) {
  for (index_t p = 0; p < k; ++p)
    for (index_t j = 0; j < n; ++j) {
      T const value = b[p * ldb + j];
      if (std::isfinite(value)) continue;
      for (index_t i = 0; i < m; ++i)
        if (sees(i, p)) c[i * c_row + j * c_col] += a[i * a_row + p * a_col] * value;
    }
}

}  // namespace detail
}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
