// SPDX-License-Identifier: Apache-2.0
/// \file  Register tile of a small matrix product, C += op(A) B, and the cover of C by such tiles.
///
/// A tile of Rows x Vectors registers of C stays in registers for the whole k loop: a row of B is loaded as
/// Vectors vectors, one entry of op(A) at a time is broadcast. Blocks of a structured mixer are small (k <=
/// 256): the panel of B that a tile walks (k * Vectors * 64 bytes, 12 KB at k = 64) stays in L1 by itself, so
/// neither operand is packed. Consumers compose their own epilogue from the pieces: zero, mac(C, S),
/// scale_rows(f), mac(G, X), store is Y = diag(f) C S + G X with one write of Y.
///
/// Both g++ and clang emit the loop one would write by hand because every register index is a constant after
/// unrolling, the k loop is not unrolled, the vectors of B are pinned to registers (g++ would load each of
/// them Rows times), rows of A share a pointer in threes (r, r + lda, r + 2 lda are addressing modes), and
/// each shape is a function of its own, with its register allocation to itself.
///
/// Every entry of C is one chain of multiply-adds in the order of k, whatever tile it falls into: the bits do
/// not depend on how rows and columns are split.
#pragma once

#include <algorithm>
#include <type_traits>

#include <smx/backend/cpu/simd.hpp>
#include <smx/core/config.hpp>
#include <smx/core/extents.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// How A is stored: rows = A is m x k, entry (i,p) at a[i*lda + p]; cols = A is k x m, entry (i,p) at a[p*lda
/// + i]. Both run at the same speed.
enum class layout { rows, cols };

/// Rows x Vectors registers of C. Tail: only the first entries (`last`) of the last vector exist in memory;
/// the others compute with zeros and are never stored.
template <class T, int Rows, int Vectors, bool Tail = false> struct tile {
  static constexpr int height = Rows, vectors = Vectors, width = Vectors * lanes<T>;

  vec<T> r[Rows][Vectors];
  part<T> last;

  /// Vector j of a row that starts at p.
  SMX_INLINE vec<T> in(T const* p, int j) const {
    if constexpr (Tail) {
      if (j == Vectors - 1) return cpu_kernels::load(p + j * lanes<T>, last);
    }
    return cpu_kernels::load(p + j * lanes<T>);
  }
  SMX_INLINE void out(T* p, int j, vec<T> v) const {
    if constexpr (Tail) {
      if (j == Vectors - 1) return cpu_kernels::store(p + j * lanes<T>, v, last);
    }
    cpu_kernels::store(p + j * lanes<T>, v);
  }

  /// f(register, row, vector) for every register.
  template <class F> SMX_INLINE void each(F f) {
    SMX_UNROLL for (int i = 0; i < Rows; ++i) {
      SMX_UNROLL for (int j = 0; j < Vectors; ++j) f(r[i][j], i, j);
    }
  }

  SMX_INLINE void zero() {
    SMX_UNROLL for (int i = 0; i < Rows; ++i) {
      SMX_UNROLL for (int j = 0; j < Vectors; ++j) r[i][j] = vec<T>{};
    }
  }
  SMX_INLINE void load(T const* c, index_t ldc) {
    SMX_UNROLL for (int i = 0; i < Rows; ++i) {
      SMX_UNROLL for (int j = 0; j < Vectors; ++j) r[i][j] = in(c + i * ldc, j);
    }
  }
  SMX_INLINE void scale(T s) {
    SMX_UNROLL for (int i = 0; i < Rows; ++i) { SMX_UNROLL for (int j = 0; j < Vectors; ++j) r[i][j] *= s; }
  }
  /// Row i times f[i].
  SMX_INLINE void scale_rows(T const* f) {
    SMX_UNROLL for (int i = 0; i < Rows; ++i) {
      SMX_UNROLL for (int j = 0; j < Vectors; ++j) r[i][j] *= f[i];
    }
  }
  /// Column j times f[j].
  SMX_INLINE void scale_cols(T const* f) {
    SMX_UNROLL for (int j = 0; j < Vectors; ++j) {
      vec<T> const s = in(f, j);
      SMX_UNROLL for (int i = 0; i < Rows; ++i) r[i][j] *= s;
    }
  }
  /// this += s C.
  SMX_INLINE void add_scaled(T const* c, index_t ldc, T s) {
    SMX_UNROLL for (int i = 0; i < Rows; ++i) {
      SMX_UNROLL for (int j = 0; j < Vectors; ++j) r[i][j] += s * in(c + i * ldc, j);
    }
  }
  /// Every row += f.
  SMX_INLINE void add_row(T const* f) {
    SMX_UNROLL for (int j = 0; j < Vectors; ++j) {
      vec<T> const s = in(f, j);
      SMX_UNROLL for (int i = 0; i < Rows; ++i) r[i][j] += s;
    }
  }
  /// C = C diag(f) + this.
  SMX_INLINE void scale_cols_add(T* c, index_t ldc, T const* f) const {
    SMX_UNROLL for (int j = 0; j < Vectors; ++j) {
      vec<T> const s = in(f, j);
      SMX_UNROLL for (int i = 0; i < Rows; ++i) out(c + i * ldc, j, in(c + i * ldc, j) * s + r[i][j]);
    }
  }
  /// C = diag(f) C + this.
  SMX_INLINE void scale_rows_add(T* c, index_t ldc, T const* f) const {
    SMX_UNROLL for (int i = 0; i < Rows; ++i) {
      SMX_UNROLL for (int j = 0; j < Vectors; ++j) out(c + i * ldc, j, in(c + i * ldc, j) * f[i] + r[i][j]);
    }
  }
  SMX_INLINE void store(T* c, index_t ldc) const {
    SMX_UNROLL for (int i = 0; i < Rows; ++i) {
      SMX_UNROLL for (int j = 0; j < Vectors; ++j) out(c + i * ldc, j, r[i][j]);
    }
  }
  /// C += this.
  SMX_INLINE void add_to(T* c, index_t ldc) const {
    SMX_UNROLL for (int i = 0; i < Rows; ++i) {
      SMX_UNROLL for (int j = 0; j < Vectors; ++j) out(c + i * ldc, j, in(c + i * ldc, j) + r[i][j]);
    }
  }
  /// Past the caches where the tile is whole. c and ldc must be multiples of a vector; settle_stores()
  /// afterwards.
  SMX_INLINE void store_past(T* c, index_t ldc) const {
    if constexpr (Tail) {
      store(c, ldc);
    } else {
      SMX_UNROLL for (int i = 0; i < Rows; ++i) {
        SMX_UNROLL for (int j = 0; j < Vectors; ++j) store_past_cache(c + i * ldc + j * lanes<T>, r[i][j]);
      }
    }
  }

  /// this += op(A) B over k terms. Select: a term whose entry of A is zero is left out, whatever B holds
  /// there (0 * NaN contributes nothing), at about half the speed.
  template <layout How, bool Select = false>
  SMX_INLINE void mac(index_t k, T const* a, index_t lda, T const* b, index_t ldb) {
    constexpr int groups = How == layout::rows ? (Rows + 2) / 3 : 1;
    T const* g[groups];
    SMX_UNROLL for (int i = 0; i < groups; ++i) g[i] = a + 3 * i * lda;
    SMX_ROLLED for (index_t p = 0; p < k; ++p) {
      vec<T> bv[Vectors];
      SMX_UNROLL for (int j = 0; j < Vectors; ++j) {
        bv[j] = in(b, j);
        pin(bv[j]);
      }
      SMX_UNROLL for (int i = 0; i < Rows; ++i) {
        vec<T> const av = splat(How == layout::rows ? g[i / 3 % groups][(i % 3) * lda] : g[0][i]);
        SMX_UNROLL for (int j = 0; j < Vectors; ++j) {
          if constexpr (Select)
            r[i][j] += av * (av != vec<T>{} ? bv[j] : vec<T>{});
          else
            r[i][j] += av * bv[j];
        }
      }
      b += ldb;
      if constexpr (How == layout::rows) {
        SMX_UNROLL for (int i = 0; i < groups; ++i) {
          g[i] += 1;
          pin(g[i]);
        }
      } else {
        g[0] += lda;
      }
    }
  }
};

/// Widest tile in vectors. Without a fused multiply-add 16 registers hold one vector less (the product needs
/// its own).
inline constexpr int widest_tile = vector_bytes == 16 ? 2 : 3;

/// Tallest tile of a given width: 32 registers hold 8 x 3 sums + 3 + 1; 16 hold 4 x 3 + 3 + 1.
template <int Vectors>
inline constexpr int tallest_tile = vector_registers == 32 || Vectors == 1 ? 8
                                    : Vectors == 2 && vector_bytes > 16    ? 6
                                                                           : 4;

/// Columns that a panel of cover() should have so that every tile is whole and three cache lines are one run
/// of memory: a multiple of the widest tile of each instruction set (48 floats, 24 doubles).
template <class T> inline constexpr index_t panel_columns = 192 / static_cast<index_t>(sizeof(T));

namespace detail {
template <class T, int Rows, int Vectors, bool Tail, class F>
[[gnu::noinline, gnu::flatten]] void cover_run(F const& f, index_t i0, index_t i1, index_t j, part<T> last) {
  for (index_t i = i0; i + Rows <= i1; i += Rows) {
    tile<T, Rows, Vectors, Tail> t;
    t.last = last;
    f(t, i, j);
  }
}

/// Rows i0..i1 of one panel: full tiles, then 4, 2, 1.
template <class T, int Vectors, bool Tail, class F>
void cover_rows(F const& f, index_t i0, index_t i1, index_t j, part<T> last) {
  constexpr int tallest = tallest_tile<Vectors>;
  index_t const whole = (i1 - i0) / tallest * tallest;
  if (whole != 0) cover_run<T, tallest, Vectors, Tail>(f, i0, i0 + whole, j, last);
  i0 += whole;
  if constexpr (tallest > 4) {
    if (i1 - i0 >= 4) {
      cover_run<T, 4, Vectors, Tail>(f, i0, i0 + 4, j, last);
      i0 += 4;
    }
  }
  if (i1 - i0 >= 2) {
    cover_run<T, 2, Vectors, Tail>(f, i0, i0 + 2, j, last);
    i0 += 2;
  }
  if (i1 - i0 == 1) cover_run<T, 1, Vectors, Tail>(f, i0, i1, j, last);
}
}  // namespace detail

/// Calls f(tile, i, j) for register tiles that cover rows i0..i1 and columns 0..n of C exactly once, panel by
/// panel, so that the panel of B stays in L1 while the rows go by. f takes `auto& tile` and is inlined into
/// each of the 16 shapes; the registers it gets are not yet set. Vectors are shared evenly (4 = 2 + 2); a
/// rest of n % lanes columns is one masked panel.
template <class T, class F> void cover(index_t i0, index_t i1, index_t n, F const& f) {
  index_t const full = n / lanes<T>, panels = (full + widest_tile - 1) / widest_tile;
  index_t j = 0;
  for (index_t q = 0; q < panels; ++q) {
    index_t const wide = (full - j / lanes<T> + (panels - q) - 1) / (panels - q);
    if constexpr (widest_tile >= 3) {
      if (wide == 3) detail::cover_rows<T, 3, false>(f, i0, i1, j, part<T>{});
    }
    if (wide == 2) detail::cover_rows<T, 2, false>(f, i0, i1, j, part<T>{});
    if (wide == 1) detail::cover_rows<T, 1, false>(f, i0, i1, j, part<T>{});
    j += wide * lanes<T>;
  }
  if (j < n) detail::cover_rows<T, 1, true>(f, i0, i1, j, part<T>(n - j));
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
