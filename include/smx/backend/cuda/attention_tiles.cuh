// SPDX-License-Identifier: Apache-2.0
/// \file  What a block of an attention kernel does at once, how images of operands come into its shared
/// memory, and how its warps read them there.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include <smx/backend/cuda/attention_layout.hpp>
#include <smx/backend/cuda/attention_mask.cuh>
#include <smx/backend/cuda/mma.cuh>

namespace smx::cuda_kernels {

/// What a block of the kernel does at once: Warps warps of 16 RowTiles query rows, Keys keys.
template <int Width, int Parts, int Warps, int RowTiles, int Keys, int Blocks> struct attention_tiling {
  static constexpr int width = Width, parts = Parts, warps = Warps, row_tiles = RowTiles, keys = Keys,
                       blocks = Blocks, threads = 32 * Warps, rows = 16 * Warps * RowTiles,
                       key_rows = attention_key_rows(Width, Parts);
  static constexpr int query_bytes = 2 * Width * Parts * rows, tile_bytes = 2 * Width * Parts * Keys;
  template <class M> using tiles_of = mask_tiles<M, rows, Keys, threads>;
  template <class M>
  static constexpr int shared_bytes = query_bytes + 2 * tile_bytes + tiles_of<M>::shared_bytes;
  static_assert(rows % attention_query_rows == 0 && Width % 64 == 0 && Keys % 16 == 0);
};

/// Products of parts that are formed, the largest first: part left(n) of one operand times part right(n) of
/// the other.
template <int Parts> struct part_products;
template <> struct part_products<1> {
  static constexpr int count = 1;
  static __device__ constexpr int left(int) { return 0; }
  static __device__ constexpr int right(int) { return 0; }
};
template <> struct part_products<3> {
  static constexpr int count = 6;
  static __device__ constexpr int left(int n) { return 0x201100 >> (4 * n) & 15; }
  static __device__ constexpr int right(int n) { return 0x021010 >> (4 * n) & 15; }
};

/// Copies bytes that lie in order.
template <int Threads, int Bytes> __device__ void fetch_image(std::byte* to, std::byte const* from) {
  static_assert(Bytes % (16 * Threads) == 0);
  int const start = 16 * static_cast<int>(threadIdx.x);
#pragma unroll
  for (int at = 0; at < Bytes; at += 16 * Threads) copy_async_16(to + start + at, from + start + at);
}

/// Copies tile `tile` of keys or values: (parts, panels, keys, 128 bytes), panels and parts one after the
/// other.
template <class Tiling> __device__ void fetch_tile(std::byte* to, std::byte const* images, int tile) {
  constexpr int panel = Tiling::keys * 128, image_panel = Tiling::key_rows * 128, turn = 16 * Tiling::threads;
  static_assert(Tiling::key_rows % Tiling::keys == 0 && panel % turn == 0);
  int const first = tile * Tiling::keys, start = 16 * static_cast<int>(threadIdx.x);
  std::byte const* const from =
      images + static_cast<index_t>(first / Tiling::key_rows) * (Tiling::tile_bytes / panel * image_panel) +
      first % Tiling::key_rows * 128 + start;
#pragma unroll
  for (int at = 0; at < Tiling::tile_bytes; at += turn)
    copy_async_16(to + start + at, from + at / panel * image_panel + at % panel);
}

/// Rows that the lanes of a warp name to load_matrices, of an image in shared memory.
template <int ImageRows> struct image_rows {
  std::byte const* start;
  int chunk;

  /// `odd`: whether the lane's chunk is the odd one of a pair.
  __device__ image_rows(std::byte const* image, int row, int odd)
      : start(image + row * 128), chunk((odd ^ (row % 8)) * 16) {}
  /// Chunk 2 pair + odd of the row `further` rows (a multiple of 8) on.
  __device__ std::byte const* at(int further, int pair) const {
    return start + pair / 4 * ImageRows * 128 + further * 128 + (chunk ^ (pair % 4 * 32));
  }
};

}  // namespace smx::cuda_kernels
