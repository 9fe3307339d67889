// SPDX-License-Identifier: Apache-2.0
/// \file  A block's product of two tiles in shared memory, 64 x 64 numbers in registers, 32 deep: by plain
/// multiply-adds, each number's in the order of the depth, or by tensor cores.
///
/// A slice of an operand lies in shared memory with the depth contiguous, (64,32), or with the edge of the
/// tile contiguous, (32,64): whichever its array has, so that nothing is turned round. Rows are padded so
/// that neither way of reading meets a bank twice. Plain, float: 8 x 4 numbers a thread, 32 multiply-adds for
/// 3 loads of 16 bytes. Tensor cores: 32 x 32 numbers a warp, 2 loads of 4 bytes an instruction.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include <smx/backend/cuda/elementwise.cuh>
#include <smx/backend/cuda/mma.cuh>
#include <smx/backend/cuda/options.hpp>

namespace smx::cuda_kernels {

inline constexpr int tile_edge = 64, tile_depth = 32, tile_threads = 128;

/// Blocks of an SM that the kernels are compiled for, at 128 or 255 registers a thread.
template <class T> inline constexpr int tile_blocks = sizeof(T) == 4 ? 4 : 2;

/// Whether x is a number.
template <class T> __device__ bool is_finite(T x) { return x - x == T(0); }

/// What is contiguous in an operand.
enum class along : char { depth, edge };

/// Multiply-adds in T. The products of one number are added in the order of the depth, so that a product with
/// 0 never changes another's bits.
template <class T> struct plain_products {
  using number = T;
  static constexpr int pack_size = 16 / static_cast<int>(sizeof(T));
  static constexpr int depth_stride = tile_depth + pack_size, edge_stride = tile_edge + pack_size;

  /// Whether an operand times 0 is 0.
  __device__ static bool finite_operand(T x) { return is_finite(x); }

  /// A: (rows, depth), B: (depth, columns); the layouts that the mapping of numbers to threads is made for.
  template <along A, along B> class tile {
   public:
    static constexpr int width = B == along::edge ? 4 : 1;  ///< of the packs of for_each

    /// += a b; AL, BL: the layouts of this product.
    template <along AL = A, along BL = B> __device__ void add_product(T const* a, T const* b) {
      using numbers = pack<T, pack_size>;
#pragma unroll 1
      for (int k0 = 0; k0 < tile_depth; k0 += pack_size) {
        T x[8][pack_size], y[pack_size][4];
        if constexpr (AL == along::depth) {
#pragma unroll
          for (int i = 0; i < 8; ++i) {
            auto const p = *reinterpret_cast<numbers const*>(a + row(i) * depth_stride + k0);
#pragma unroll
            for (int v = 0; v < pack_size; ++v) x[i][v] = p.of[v];
          }
        } else {
#pragma unroll
          for (int v = 0; v < pack_size; ++v)
            edge_numbers<A == along::edge, 8>(
                a + (k0 + v) * edge_stride, [&](int i) { return row(i); }, [&](int i, T n) { x[i][v] = n; });
        }
        if constexpr (BL == along::depth) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            auto const p = *reinterpret_cast<numbers const*>(b + column(j) * depth_stride + k0);
#pragma unroll
            for (int v = 0; v < pack_size; ++v) y[v][j] = p.of[v];
          }
        } else {
#pragma unroll
          for (int v = 0; v < pack_size; ++v)
            edge_numbers<B == along::edge, 4>(
                b + (k0 + v) * edge_stride, [&](int j) { return column(j); },
                [&](int j, T n) { y[v][j] = n; });
        }
#pragma unroll
        for (int v = 0; v < pack_size; ++v)
#pragma unroll
          for (int i = 0; i < 8; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) sum_[i][j] += x[i][v] * y[v][j];
      }
    }
    /// += f(row, column, number of `from`)
    template <class F> __device__ void add(tile const& from, F const& f) {
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sum_[i][j] += f(row(i), column(j), from.sum_[i][j]);
    }
    /// to[row] = sum of f(row, column, number) over the columns, in two parts: to[row + 64] has the other. By
    /// the whole block; `to` can be read after a barrier.
    template <class F> __device__ void sum_rows(T* to, F const& f) const {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        T sum = 0;
#pragma unroll
        for (int j = 0; j < 4; ++j) sum += f(row(i), column(j), sum_[i][j]);
        for (int o = 8; o > 0; o /= 2) sum += __shfl_xor_sync(~0u, sum, o);
        if (threadIdx.x % 16 == 0) to[row(i)] = sum, to[row(i) + tile_edge] = T(0);
      }
    }
    /// f(row, first column, numbers): `width` numbers side by side.
    template <class F> __device__ void for_each(F const& f) {
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 4; j += width) f(row(i), column(j), &sum_[i][j]);
    }

   private:
    /// Neighbours where the operand's layout lets them be read at once.
    __device__ static int row(int i) {
      int const own = static_cast<int>(threadIdx.x) / 16;
      return A == along::edge ? own * 8 + i : own + 8 * i;
    }
    __device__ static int column(int j) {
      int const own = static_cast<int>(threadIdx.x) % 16;
      return B == along::edge ? own * 4 + j : own + 16 * j;
    }
    template <bool Neighbours, int Count, class At, class To>
    __device__ static void edge_numbers(T const* line, At const& at, To const& to) {
      if constexpr (Neighbours) {
#pragma unroll
        for (int i = 0; i < Count; i += pack_size) {
          auto const p = *reinterpret_cast<pack<T, pack_size> const*>(line + at(i));
#pragma unroll
          for (int v = 0; v < pack_size; ++v) to(i + v, p.of[v]);
        }
      } else {
#pragma unroll
        for (int i = 0; i < Count; ++i) to(i, line[at(i)]);
      }
    }

    T sum_[8][4] = {};
  };
};

/// Products of floats by tensor cores, the operands rounded to How as they are read, sums in float. f32: each
/// operand is the sum of two tf32 numbers, of whose four products the largest three are added: off by
/// 2^-22 of a product at most.
template <cuda_operands How> struct tensor_products {
  using number = float;
  static constexpr bool halves = How == cuda_operands::bf16 || How == cuda_operands::f16;
  static constexpr int depth_stride = tile_depth + (halves ? 8 : 4),
                       edge_stride = tile_edge + (halves ? 4 : 8);

  /// Whether an operand times 0 is 0: whether it is finite after it was rounded, too.
  __device__ static bool finite_operand(float x) {
    constexpr float end = How == cuda_operands::f16    ? 65520.0f
                          : How == cuda_operands::bf16 ? 0x1.ffp127f
                                                       : 0x1.ffep127f;  // the first that rounds to infinity
    return std::fabs(x) < end;
  }

  template <along A, along B> class tile {
   public:
    static constexpr int width = 2;

    template <along AL = A, along BL = B> __device__ void add_product(float const* a, float const* b) {
      constexpr int step = halves ? 16 : 8;
#pragma unroll
      for (int k0 = 0; k0 < tile_depth; k0 += step) {
        std::uint32_t left[2][parts][4], right[4][parts][2];
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
          for (int r = 0; r < 4; ++r)
            fetch<AL>(a, first_row() + 16 * i + r % 2 * 8 + group(), k0 + r / 2 * (step / 2), left[i], r);
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
          for (int r = 0; r < 2; ++r)
            fetch<BL>(b, first_column() + 8 * j + group(), k0 + r * (step / 2), right[j], r);
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
          for (int j = 0; j < 4; ++j) multiply(sum_[i][j], left[i], right[j]);
      }
    }
    template <class F> __device__ void add(tile const& from, F const& f) {
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
          for (int r = 0; r < 4; ++r) sum_[i][j][r] += f(row(i, r), column(j, r), from.sum_[i][j][r]);
    }
    template <class F> __device__ void sum_rows(float* to, F const& f) const {
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int r = 0; r < 4; r += 2) {
          float sum = 0;
#pragma unroll
          for (int j = 0; j < 4; ++j)
            sum +=
                f(row(i, r), column(j, r), sum_[i][j][r]) + f(row(i, r), column(j, r + 1), sum_[i][j][r + 1]);
          for (int o = 2; o > 0; o /= 2) sum += __shfl_xor_sync(~0u, sum, o);
          if (inside() == 0) to[row(i, r) + (first_column() > 0 ? tile_edge : 0)] = sum;
        }
    }
    template <class F> __device__ void for_each(F const& f) {
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
          for (int r = 0; r < 4; r += 2) f(row(i, r), column(j, r), &sum_[i][j][r]);
    }

   private:
    static constexpr int parts = How == cuda_operands::f32 ? 2 : 1;

    __device__ static int group() { return static_cast<int>(threadIdx.x) % 32 / 4; }
    __device__ static int inside() { return static_cast<int>(threadIdx.x) % 4; }
    __device__ static int first_row() { return static_cast<int>(threadIdx.x) / 64 * 32; }
    __device__ static int row(int i, int r) { return first_row() + 16 * i + r / 2 * 8 + group(); }
    __device__ static int column(int j, int r) { return first_column() + 8 * j + 2 * inside() + r % 2; }
    __device__ static int first_column() { return static_cast<int>(threadIdx.x) / 32 % 2 * 32; }

    template <along L> __device__ static float at(float const* from, int edge, int k) {
      return L == along::depth ? from[edge * depth_stride + k] : from[k * edge_stride + edge];
    }
    /// Register r of a fragment: the thread's one or two numbers from depth k on.
    template <along L, int R>
    __device__ static void fetch(float const* from, int edge, int k, std::uint32_t (&to)[parts][R], int r) {
      if constexpr (halves) {
        using T = std::conditional_t<How == cuda_operands::bf16, bf16, f16>;
        to[0][r] =
            pack_halves<T>(at<L>(from, edge, k + 2 * inside()), at<L>(from, edge, k + 2 * inside() + 1));
      } else {
        float const x = at<L>(from, edge, k + inside());
        to[0][r] = to_tf32(x);
        if constexpr (parts == 2) to[1][r] = to_tf32(x - __uint_as_float(to[0][r]));
      }
    }
    __device__ static void multiply(float (&c)[4], std::uint32_t const (&a)[parts][4],
                                    std::uint32_t const (&b)[parts][2]) {
      if constexpr (halves) {
        mma_16x8x16<std::conditional_t<How == cuda_operands::bf16, bf16, f16>>(c, a[0], b[0]);
      } else {
        if constexpr (parts == 2) {
          mma_16x8x8(c, a[1], b[0]);
          mma_16x8x8(c, a[0], b[1]);
        }
        mma_16x8x8(c, a[0], b[0]);
      }
    }

    float sum_[2][4][4] = {};
  };
};

/// Numbers of shared memory that one slice takes.
template <class P>
inline constexpr int slice_numbers =
    tile_edge* P::depth_stride > tile_depth* P::edge_stride ? tile_edge* P::depth_stride
                                                            : tile_depth* P::edge_stride;

/// A slice on its way from memory to shared memory, in registers: the thread's share of (64,32) or (32,64)
/// numbers.
template <class P, along L> class tile_slice {
  using T = typename P::number;
  static constexpr int rows = L == along::depth ? tile_edge : tile_depth,
                       columns = L == along::depth ? tile_depth : tile_edge,
                       size = 16 / static_cast<int>(sizeof(T)), across = columns / size,
                       count = rows * across / tile_threads;
  static constexpr int stride = L == along::depth ? P::depth_stride : P::edge_stride;

 public:
  /// Rows of memory `from` + i `step`, contiguous; what lies outside of rows_left x columns_left is 0. packs:
  /// whether 16 bytes can be loaded at once.
  __device__ void load(T const* from, index_t step, int rows_left, int columns_left, bool packs) {
    if (packs) {
#pragma unroll
      for (int i = 0; i < count; ++i) {
        int const r = row(i), c = column(i);
        of_[i] = {};
        if (r < rows_left && c < columns_left)
          of_[i] = *reinterpret_cast<pack<T, size> const*>(from + r * step + c);
      }
    } else {
#pragma unroll
      for (int i = 0; i < count; ++i) {
        int const r = row(i), c = column(i);
#pragma unroll
        for (int v = 0; v < size; ++v)
          of_[i].of[v] = r < rows_left && c + v < columns_left ? from[r * step + c + v] : T(0);
      }
    }
  }
  /// entry := f(entry, row, column)
  template <class F> __device__ void transform(F const& f) {
#pragma unroll
    for (int i = 0; i < count; ++i)
#pragma unroll
      for (int v = 0; v < size; ++v) of_[i].of[v] = f(of_[i].of[v], row(i), column(i) + v);
  }
  /// Puts 0 where an operand times 0 is not 0; whether there was any.
  __device__ bool clear_infinite() {
    bool found = false;
    transform([&](T entry, int, int) {
      bool const ok = P::finite_operand(entry);
      found |= !ok;
      return ok ? entry : T(0);
    });
    return found;
  }
  __device__ void add(tile_slice const& more) {
#pragma unroll
    for (int i = 0; i < count; ++i)
#pragma unroll
      for (int v = 0; v < size; ++v) of_[i].of[v] += more.of_[i].of[v];
  }
  __device__ void store(T* to) const {
#pragma unroll
    for (int i = 0; i < count; ++i)
      *reinterpret_cast<pack<T, size>*>(to + row(i) * stride + column(i)) = of_[i];
  }

 private:
  __device__ static int row(int i) { return (static_cast<int>(threadIdx.x) + i * tile_threads) / across; }
  __device__ static int column(int i) {
    return (static_cast<int>(threadIdx.x) + i * tile_threads) % across * size;
  }

  pack<T, size> of_[count];
};

/// `Width` numbers side by side, those of columns below `columns_left`; packs: whether they can be loaded at
/// once.
template <int Width, class T>
__device__ pack<T, Width> load_numbers(T const* from, int columns_left, bool packs) {
  constexpr int most = 16 / static_cast<int>(sizeof(T)), size = Width < most ? Width : most;
  pack<T, Width> to{};
  if (packs) {
#pragma unroll
    for (int v = 0; v < Width; v += size) {
      if (v >= columns_left) continue;
      auto const p = *reinterpret_cast<pack<T, size> const*>(from + v);
#pragma unroll
      for (int u = 0; u < size; ++u) to.of[v + u] = p.of[u];
    }
  } else {
#pragma unroll
    for (int v = 0; v < Width; ++v)
      if (v < columns_left) to.of[v] = from[v];
  }
  return to;
}
/// Writes `width` numbers, those of columns below `columns_left`; packs: whether they can be stored at once.
template <int Width, class T>
__device__ void store_numbers(T* to, T const* numbers, int columns_left, bool packs) {
  constexpr int most = 16 / static_cast<int>(sizeof(T)), size = Width < most ? Width : most;
  if (packs) {
    if (columns_left <= 0) return;
#pragma unroll
    for (int v = 0; v < Width; v += size) {
      pack<T, size> p;
#pragma unroll
      for (int u = 0; u < size; ++u) p.of[u] = numbers[v + u];
      if (v < columns_left) *reinterpret_cast<pack<T, size>*>(to + v) = p;
    }
  } else {
#pragma unroll
    for (int v = 0; v < Width; ++v)
      if (v < columns_left) to[v] = numbers[v];
  }
}

/// start(products) with the ones for T and the operands that were chosen.
template <class T, class F> void with_products(cuda_operands how, F const& start) {
  if constexpr (sizeof(T) == 4) {
    if (how == cuda_operands::tf32) return start(tensor_products<cuda_operands::tf32>{});
    if (how == cuda_operands::bf16) return start(tensor_products<cuda_operands::bf16>{});
    if (how == cuda_operands::f16) return start(tensor_products<cuda_operands::f16>{});
  }
  start(plain_products<T>{});
}

}  // namespace smx::cuda_kernels
