// SPDX-License-Identifier: Apache-2.0
/// \file  Matrix transposition through registers: squares of lanes x lanes, log2(lanes) exchange steps each,
/// about a
///        quarter of a shuffle per entry; edges are masked squares.
#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>

#include <smx/backend/cpu/simd.hpp>
#include <smx/core/config.hpp>
#include <smx/core/extents.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

namespace detail {
/// Swaps the lanes of x that have bit S set with the lanes of y that have not.
template <int S, class V, int... L> SMX_INLINE void swap_lanes(V& x, V& y, std::integer_sequence<int, L...>) {
  constexpr int width = static_cast<int>(sizeof...(L));
  V const low = __builtin_shufflevector(x, y, ((L & S) != 0 ? width + L - S : L)...);
  V const high = __builtin_shufflevector(x, y, ((L & S) != 0 ? width + L : L + S)...);
  x = low;
  y = high;
}
}  // namespace detail

/// Transposes the square held in lanes<T> vectors.
template <class T, int S = 1> SMX_INLINE void transpose_square(vec<T> (&v)[lanes<T>]) {
  if constexpr (S < lanes<T>) {
    SMX_UNROLL for (int i = 0; i < lanes<T>; ++i) {
      if ((i & S) == 0) detail::swap_lanes<S>(v[i], v[i + S], std::make_integer_sequence<int, lanes<T>>{});
    }
    transpose_square<T, 2 * S>(v);
  }
}

/// dst (cols x rows, leading dimension ldd) = scale * transpose of src (rows x cols, leading dimension lds).
/// The ranges must not overlap. Nothing outside the two matrices is read or written.
template <class T>
[[gnu::noinline]] void transpose(index_t rows, index_t cols, T const* src, index_t lds, T* dst, index_t ldd,
                                 std::type_identity_t<T> scale = T(1), bool past = false) {
  constexpr index_t width = lanes<T>;
  for (index_t i = 0; i < rows; i += width) {
    index_t const height = std::min(width, rows - i);
    for (index_t j = 0; j < cols; j += width) {
      index_t const across = std::min(width, cols - j);
      T const* const s = src + i * lds + j;
      T* const d = dst + j * ldd + i;
      vec<T> v[width];
      if (height == width && across == width) {
        SMX_UNROLL for (int q = 0; q < width; ++q) v[q] = load(s + q * lds) * scale;
        transpose_square<T>(v);
        if (past) {
          SMX_UNROLL for (int q = 0; q < width; ++q) store_past_cache(d + q * ldd, v[q]);
        } else {
          SMX_UNROLL for (int q = 0; q < width; ++q) store(d + q * ldd, v[q]);
        }
      } else {
        part<T> const from(across), to(height);
        SMX_UNROLL for (int q = 0; q < width; ++q) v[q] =
            q < height ? load(s + q * lds, from) * scale : vec<T>{};
        transpose_square<T>(v);
        SMX_UNROLL for (int q = 0; q < width; ++q) {
          if (q < across) store(d + q * ldd, v[q], to);
        }
      }
    }
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
