// SPDX-License-Identifier: Apache-2.0
/// \file  Softmax attention on the tensor cores of compute capability 9.0a: warpgroups of 64 query rows each
/// take 128 keys at a time, and one more, with few registers, fetches them, some tiles ahead.
///
/// J. Shah et al., "FlashAttention-3", NeurIPS 2024, without its exchange of turns: the groups of a block run
/// apart, so that one's exponentials fall into another's products. 16-bit operands of one part, interval
/// masks (what a block sees is known without asking tile by tile), widths of 64 and 128. A tile of keys or of
/// values is one image and one bulk copy.
#pragma once

#include <smx/backend/cuda/attention_forward.cuh>
#include <smx/backend/cuda/warpgroup.cuh>

namespace smx::cuda_kernels {

/// Groups warpgroups a block, Stages tiles of keys and of values in shared memory.
template <int Width, int Groups, int Stages> struct warpgroup_tiling {
  static constexpr int width = Width, parts = 1, row_tiles = 1, keys = 128, groups = Groups, stages = Stages,
                       warps = 4 * Groups, rows = 64 * Groups, threads = 32 * warps + 128,
                       fetching_registers = 24, computing_registers = Groups == 2 ? 240 : 160;
  static constexpr int image_bytes = 2 * Width * attention_query_rows, tile_bytes = 2 * Width * keys;
  template <class M> using tiles_of = mask_tiles<M, rows, keys, threads>;
  /// 1024: up to a multiple of which the images are moved.
  template <class M>
  static constexpr int shared_bytes =
      1024 + Groups* image_bytes + 2 * Stages* tile_bytes + tiles_of<M>::shared_bytes;
  static_assert(attention_key_rows(Width, 1) == keys && (Width == 64 || Width == 128));
  static_assert(Groups == 2 || Groups == 3);
};

/// The rows of a warpgroup: attention_warp whose products are the group's.
template <class H, class Tiling> struct attention_group : attention_warp<H, Tiling> {
  using base = attention_warp<H, Tiling>;
  static constexpr int panels = Tiling::width / 64;

  /// scores = Q K^T, q: the image of the group's rows.
  __device__ __forceinline__ void score(std::byte const* q, std::byte const* k) {
    constexpr int q_panel = 128 * attention_query_rows, k_panel = 128 * Tiling::keys;
    products_begin();
#pragma unroll
    for (int step = 0; step < base::steps; ++step)
      warpgroup_product_128<H>(this->scores[0],
                               describe_matrix(q + step / 4 * q_panel + step % 4 * 32, q_panel),
                               describe_matrix(k + step / 4 * k_panel + step % 4 * 32, k_panel), step > 0);
    products_commit();
    products_wait(this->scores[0]);
  }

  /// sums += P V
  __device__ __forceinline__ void add_values(std::byte const* v) {
    std::uint32_t left[base::key_steps][4];
#pragma unroll
    for (int step = 0; step < base::key_steps; ++step)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float const(&s)[4] = this->scores[0][2 * step + i / 2];
        left[step][i] = pack_halves<H>(s[i % 2 * 2], s[i % 2 * 2 + 1]);
      }
    products_take(left, this->sums[0]);
    products_begin();
#pragma unroll
    for (int step = 0; step < base::key_steps; ++step)
      warpgroup_product_add<H>(this->sums[0], left[step],
                               describe_matrix(v + step * 16 * 128, 128 * Tiling::keys));
    products_commit();
    products_wait(this->sums[0]);
  }
};

/// Block x: query rows of one head, those that see most under a causal mask first.
template <class H, class Tiling, class M>
__global__ void __launch_bounds__(Tiling::threads, 1)
    attention_forward_groups(attention_arrays a, attention_images from, M mask) {
  if constexpr (compiles_for_warpgroups) {
    constexpr int stages = Tiling::stages, image = Tiling::image_bytes, tile_bytes = Tiling::tile_bytes;
    __shared__ std::uint64_t barriers[1 + 4 * stages];
    std::uint64_t *const q_there = barriers, *const k_there = barriers + 1, *const v_there = k_there + stages,
                         *const k_free = v_there + stages, *const v_free = k_free + stages;
    std::byte* const q = align_1024(shared_memory<std::byte>());
    std::byte *const k = q + Tiling::groups * image, *const v = k + stages * tile_bytes;
    int const warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
    if (threadIdx.x == 0) {
      for (int n = 0; n < 1 + 2 * stages; ++n) barrier_init(barriers + n, 1);
      for (int n = 0; n < 2 * stages; ++n) barrier_init(k_free + n, Tiling::warps);
      barriers_ready();
    }
    auto const blocks = static_cast<unsigned>(images_of(a.queries, Tiling::rows));
    int const query_images = images_of(a.queries, attention_query_rows);
    index_t const b = blockIdx.x / blocks / a.heads, h = blockIdx.x / blocks % a.heads;
    int const first = static_cast<int>(blocks - 1 - blockIdx.x % blocks) * Tiling::rows;
    index_t const images = images_of(a.keys, Tiling::keys), kv_head = b * a.kv_heads + h / a.shared;
    typename Tiling::template tiles_of<M> tiles(mask, {b, h, first, a.queries, a.keys},
                                                v + stages * tile_bytes);
    __syncthreads();  // the barriers are there

    if (warp >= Tiling::warps) {
      give_back_registers<Tiling::fetching_registers>();
      if (warp != Tiling::warps || lane != 0) return;
      int const left = query_images - first / attention_query_rows,
                count = left < Tiling::groups ? left : Tiling::groups;
      barrier_expect(q_there, count * image);
      copy_bulk(q, from.q + ((b * a.heads + h) * query_images + first / attention_query_rows) * image,
                count * image, q_there);
      int n = 0;
      for (int tile = tiles.begin(); tile < tiles.end(); tile = tiles.after(tile), ++n) {
        int const stage = n % stages, parity = n / stages % 2;
        auto const fetch = [&](std::byte* to, std::byte const* images_of_head, std::uint64_t* there,
                               std::uint64_t* free) {
          if (n >= stages) barrier_wait(free + stage, 1 - parity);
          barrier_expect(there + stage, tile_bytes);
          copy_bulk(to + stage * tile_bytes, images_of_head + (kv_head * images + tile) * tile_bytes,
                    tile_bytes, there + stage);
        };
        fetch(k, from.k, k_there, k_free);
        fetch(v, from.v, v_there, v_free);
      }
      return;
    }

    take_registers<Tiling::computing_registers>();
    int const group = warp / 4, warp_row = warp * 16;
    int const* const odd = from.odd + kv_head * images;
    attention_group<H, Tiling> own;
    own.clear();
    auto const release = [&](std::uint64_t* free) {
      __syncwarp();
      if (lane == 0) barrier_arrive(free);
    };
    barrier_wait(q_there, 0);
    __syncwarp();
    int n = 0;
    for (int tile = tiles.begin(); tile < tiles.end(); tile = tiles.after(tile), ++n) {
      int const stage = n % stages, parity = n / stages % 2;
      bool const is_odd = odd[tile] != 0;
      barrier_wait(k_there + stage, parity);
      __syncwarp();
      own.score(q + group * image, k + stage * tile_bytes);
      release(k_free + stage);
      if (!tiles.whole()) own.hide([&](int row) { return tiles.row(tile, warp_row + row); });
      own.exponentiate();
      barrier_wait(v_there + stage, parity);
      __syncwarp();
      if (is_odd)
        own.template add<true>(own.sums, own.scores, v + stage * tile_bytes);
      else
        own.add_values(v + stage * tile_bytes);
      release(v_free + stage);
    }
    own.finish(a, a.y + b * a.sy[0] + h * a.sy[1],
               a.lse == nullptr ? nullptr : a.lse + b * a.sl[0] + h * a.sl[1], first + warp_row);
  }
}

}  // namespace smx::cuda_kernels
