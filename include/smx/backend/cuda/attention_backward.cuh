// SPDX-License-Identifier: Apache-2.0
/// \file  The adjoint of softmax attention on tensor cores: probabilities are computed again from lse, tile
/// by tile, once for dq (blocks of queries) and once for dk and dv (blocks of keys). Nothing is added up
/// across blocks, so that the order of the sums is fixed.
///
/// P = exp(scores - lse), dS = P (dP - delta), dP = dY V^T, delta = sum of y dy along a row; dq = scale dS K,
/// dk = scale dS^T Q, dv = P^T dY. T. Dao et al., "FlashAttention", NeurIPS 2022, appendix B. Operands in
/// parts as in attention_forward.cuh; 4 D + 3 E products for each pair of a row and a key in tiles that are
/// not skipped, times 2 flops, times 1 or 6.
#pragma once

#include <smx/backend/cuda/attention_forward.cuh>

namespace smx::cuda_kernels {

/// Blocks of 64 rows, and tiles of 32, fetched one ahead. All images have 64 rows.
template <int Width, int Parts> struct backward_tiling : attention_tiling<Width, Parts, 4, 1, 32, 1> {
  using base = attention_tiling<Width, Parts, 4, 1, 32, 1>;
  static constexpr int key_rows = attention_query_rows;
  static_assert(base::rows == attention_query_rows);
  /// Two images of the block's rows, two stages of two tiles.
  static constexpr int shared_bytes = 2 * base::query_bytes + 4 * base::tile_bytes;
};
inline constexpr int widest_backward = 128;

/// Of a head's rows: `lse` times log2(e), delta; both (B,Hq,L).
struct attention_row_numbers {
  float *exponent, *delta;
};

/// Images in scratch, and for each whether some number is not finite.
struct backward_images {
  image_source q, k, v, dy;
};

/// Where gradients go.
struct attention_gradients {
  float *dq, *dk, *dv;
  extents<3> sdq, sdk, sdv;
};

/// One of the arrays that row sums are formed of.
struct attention_row_source {
  float const* from;
  extents<3> strides;
  __device__ float const* row(extents<3> const& i) const {
    return from + i[0] * strides[0] + i[1] * strides[1] + i[2] * strides[2];
  }
};

/// A warp a row; `ext`: (B,Hq,L,E).
template <class Sum>
__global__ void attention_row_sums(extents<4> ext, attention_row_source y, attention_row_source dy,
                                   attention_row_source lse, attention_row_numbers to, Sum sum_of) {
  each_row<short_team>(ext[0] * ext[1] * ext[2], [&](index_t row, index_t lane) {
    extents<3> const i = row_index(ext, row);
    float sum = 0;
    for (index_t e = lane; e < ext[3]; e += short_team) sum += y.row(i)[e] * dy.row(i)[e];
    sum = over_team<short_team>(sum, sum_of);
    if (lane != 0) return;
    to.delta[row] = sum;
    to.exponent[row] = *lse.row(i) * log2_e;
  });
}

/// What scores of exponent are worth: 0 in a row that sees nothing.
__device__ __forceinline__ float probability(float score, float exponent) {
  return exp2_fast(score - (exponent == minus_infinity<float> ? 0.0f : exponent));
}

/// Rows of a gradient, times factor: the warp's start at `row` of `rows`.
template <int Tiles>
__device__ void store_gradient(float const (&sums)[1][Tiles][4], float factor, float* to, index_t stride,
                               int row, int rows, int columns) {
  int const lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    int const i = row + 8 * half + lane / 4;
    if (i >= rows) continue;
#pragma unroll
    for (int n = 0; n < Tiles; ++n)
#pragma unroll
      for (int one = 0; one < 2; ++one) {
        int const column = 8 * n + lane % 4 * 2 + one;
        if (column < columns) to[i * stride + column] = sums[0][n][2 * half + one] * factor;
      }
  }
}

template <int Tiles> __device__ __forceinline__ void clear_sums(float (&sums)[1][Tiles][4]) {
#pragma unroll
  for (int n = 0; n < Tiles; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[0][n][i] = 0;
}

/// Block x: dq of 64 query rows of one head.
template <class H, class Tiling, class M>
__global__ void __launch_bounds__(Tiling::threads)
    attention_backward_queries(attention_arrays a, backward_images from, attention_row_numbers numbers,
                               attention_gradients to, M mask) {
  using products = warp_products<H, Tiling>;
  using tiles_type = typename Tiling::template tiles_of<M>;
  constexpr int tile_bytes = Tiling::tile_bytes;
  constexpr index_t image = Tiling::query_bytes;
  std::byte *const q = shared_memory<std::byte>(), *const dy = q + image, *const tile_memory = dy + image;
  int const lane = static_cast<int>(threadIdx.x % 32), warp_row = static_cast<int>(threadIdx.x / 32) * 16;
  auto const blocks = static_cast<unsigned>(images_of(a.queries, Tiling::rows));
  index_t const b = blockIdx.x / blocks / a.heads, h = blockIdx.x / blocks % a.heads;
  int const n_image = static_cast<int>(blocks - 1 - blockIdx.x % blocks), first = n_image * Tiling::rows;
  index_t const head = b * a.heads + h,
                kv_images = (b * a.kv_heads + h / a.shared) * images_of(a.keys, Tiling::key_rows);
  std::byte const *const keys = from.k.to + kv_images * image, *const values = from.v.to + kv_images * image;
  fetch_image<Tiling::threads, Tiling::query_bytes>(q, from.q.to + (head * blocks + n_image) * image);
  fetch_image<Tiling::threads, Tiling::query_bytes>(dy, from.dy.to + (head * blocks + n_image) * image);
  tiles_type tiles(mask, {b, h, first, a.queries, a.keys}, tile_memory + 4 * tile_bytes);

  float exponent[2], delta[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    int const i = first + warp_row + 8 * half + lane / 4;
    exponent[half] = i < a.queries ? numbers.exponent[head * a.queries + i] : 0.0f;
    delta[half] = i < a.queries ? numbers.delta[head * a.queries + i] : 0.0f;
  }
  typename products::strip sums;
  clear_sums(sums);
  int stage = 0, tile = tiles.begin();
  auto const fetch = [&](int at) {
    std::byte* const k = tile_memory + stage * 2 * tile_bytes;
    if (at < tiles.end()) fetch_tile<Tiling>(k, keys, at), fetch_tile<Tiling>(k + tile_bytes, values, at);
    copy_commit();
  };
  fetch(tile);
  while (tile < tiles.end()) {
    copy_wait<0>();
    auto const upper = tiles.row(tile, warp_row + lane / 4), lower = tiles.row(tile, warp_row + 8 + lane / 4);
    bool const whole = tiles.whole(),
               odd = from.k.odd[kv_images + tile * Tiling::keys / Tiling::key_rows] != 0;
    __syncthreads();  // the tiles are there; nobody reads those before them, nor what the mask says of this
                      // one
    std::byte* const k = tile_memory + stage * 2 * tile_bytes;
    tile = tiles.after(tile);
    stage ^= 1;
    fetch(tile);
    typename products::square scores, slopes;
    products::multiply(scores, q, warp_row, k);
    products::multiply(slopes, dy, warp_row, k + tile_bytes);
#pragma unroll
    for (int n = 0; n < products::key_tiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        int const key = 8 * n + lane % 4 * 2 + i % 2;
        float const p = probability(scores[0][n][i], exponent[i / 2]);
        bool const seen = whole || (i < 2 ? upper.sees(key) : lower.sees(key));
        scores[0][n][i] = seen && p != 0.0f ? p * (slopes[0][n][i] - delta[i / 2]) : 0.0f;
      }
    if (odd)
      products::template add<true, true>(sums, scores, k);
    else
      products::template add<false>(sums, scores, k);
  }
  copy_wait<0>();  // of the queries, where there was no tile
  store_gradient(sums, a.scale, to.dq + b * to.sdq[0] + h * to.sdq[1], to.sdq[2], first + warp_row, a.queries,
                 a.d);
}

/// Which keys of a block (64 from `first` on) the rows of a tile of 32 queries see, as bits in shared memory.
template <class M, int Threads> class key_block_sight {
 public:
  static constexpr int queries = 32, keys = 64, words = keys / 32, shared_bytes = 4 * words * queries;

  __device__ key_block_sight(M const& mask, attention_rows const& r, std::byte* shared)
      : mask_(mask), rows_(r), bits_(reinterpret_cast<std::uint32_t*>(shared)) {}
  /// Asks the mask about a tile of head h; every thread of the block. Whether some row sees some key.
  __device__ bool look(index_t h, int tile) {
    bool some = false;
    for (int at = static_cast<int>(threadIdx.x); at < queries * words; at += Threads) {
      std::uint32_t const seen =
          seen_bits(mask_, rows_, h, tile * queries + at / words, rows_.first + at % words * 32);
      bits_[at] = seen;
      some = some || seen != 0;
    }
    return __syncthreads_or(some) != 0;
  }
  /// Bit r: whether query `query` of the tile sees key 32 word + r of the block.
  __device__ std::uint32_t row(int query, int word) const { return bits_[query * words + word]; }

 private:
  M const& mask_;
  attention_rows rows_;
  std::uint32_t* bits_;
};

/// Block x: dk and dv of 64 keys of one key head, of all query heads that read it.
template <class H, class Tiling, class M>
__global__ void __launch_bounds__(Tiling::threads)
    attention_backward_keys(attention_arrays a, backward_images from, attention_row_numbers numbers,
                            attention_gradients to, M mask) {
  using products = warp_products<H, Tiling>;
  using sight_type = key_block_sight<M, Tiling::threads>;
  constexpr int tile_bytes = Tiling::tile_bytes, queries = Tiling::keys;
  static_assert(queries == sight_type::queries && Tiling::rows == sight_type::keys);
  constexpr index_t image = Tiling::query_bytes;
  std::byte *const k = shared_memory<std::byte>(), *const v = k + image, *const tile_memory = v + image;
  int const lane = static_cast<int>(threadIdx.x % 32), warp_row = static_cast<int>(threadIdx.x / 32) * 16;
  auto const blocks = static_cast<unsigned>(images_of(a.keys, Tiling::rows));
  index_t const b = blockIdx.x / blocks / a.kv_heads, kv_head = blockIdx.x / blocks % a.kv_heads;
  int const n_image = static_cast<int>(blockIdx.x % blocks), first = n_image * Tiling::rows;
  fetch_image<Tiling::threads, Tiling::query_bytes>(
      k, from.k.to + ((b * a.kv_heads + kv_head) * blocks + n_image) * image);
  fetch_image<Tiling::threads, Tiling::query_bytes>(
      v, from.v.to + ((b * a.kv_heads + kv_head) * blocks + n_image) * image);
  sight_type sight(mask, {b, 0, first, a.queries, a.keys}, tile_memory + 4 * tile_bytes);

  typename products::strip dk, dv;
  clear_sums(dk), clear_sums(dv);
  int const query_images = images_of(a.queries, Tiling::key_rows),
            query_tiles = images_of(a.queries, queries), all = query_tiles * a.shared;
  auto const head_of = [&](int n) { return kv_head * a.shared + n / query_tiles; };
  auto const look_from = [&](int n) {
    while (n < all && !sight.look(head_of(n), n % query_tiles)) ++n;
    return n;
  };
  int stage = 0, n = look_from(0);
  auto const fetch = [&] {
    std::byte* const q = tile_memory + stage * 2 * tile_bytes;
    if (n < all) {
      index_t const images = (b * a.heads + head_of(n)) * query_images;
      fetch_tile<Tiling>(q, from.q.to + images * image, n % query_tiles);
      fetch_tile<Tiling>(q + tile_bytes, from.dy.to + images * image, n % query_tiles);
    }
    copy_commit();
  };
  fetch();
  while (n < all) {
    copy_wait<0>();
    std::uint32_t bits[2 * products::key_tiles];  // of the lane's queries, keys of its warp from bit 0 on
#pragma unroll
    for (int at = 0; at < 2 * products::key_tiles; ++at)
      bits[at] = sight.row(8 * (at / 2) + lane % 4 * 2 + at % 2, warp_row / 32) >> (warp_row % 32);
    index_t const head = b * a.heads + head_of(n);
    int const tile = n % query_tiles, first_query = tile * queries;
    index_t const query_image = head * query_images + first_query / Tiling::key_rows;
    bool const q_odd = from.q.odd[query_image] != 0, dy_odd = from.dy.odd[query_image] != 0;
    __syncthreads();  // the tiles are there; nobody reads those before them, nor what the mask says of this
                      // one
    std::byte* const q = tile_memory + stage * 2 * tile_bytes;
    n = look_from(n + 1);
    stage ^= 1;
    fetch();
    typename products::square scores, slopes;
    products::multiply(scores, k, warp_row, q);
    products::multiply(slopes, v, warp_row, q + tile_bytes);
#pragma unroll
    for (int m = 0; m < products::key_tiles; ++m)
#pragma unroll
      for (int one = 0; one < 2; ++one) {
        int const i = first_query + 8 * m + lane % 4 * 2 + one;
        bool const is_row = i < a.queries;
        float const exponent = is_row ? numbers.exponent[head * a.queries + i] : 0.0f,
                    delta = is_row ? numbers.delta[head * a.queries + i] : 0.0f;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          bool const seen = (bits[2 * m + one] >> (8 * half + lane / 4) & 1u) != 0;
          float &score = scores[0][m][2 * half + one], &slope = slopes[0][m][2 * half + one];
          float const p = probability(score, exponent);
          score = seen ? p : 0.0f;
          slope = seen && p != 0.0f ? p * (slope - delta) : 0.0f;
        }
      }
    if (dy_odd)
      products::template add<true>(dv, scores, q + tile_bytes);
    else
      products::template add<false>(dv, scores, q + tile_bytes);
    if (q_odd)
      products::template add<true, true>(dk, slopes, q);
    else
      products::template add<false>(dk, slopes, q);
  }
  copy_wait<0>();  // of the keys, where there was no tile
  // images of queries have the factor scale log2(e) already
  store_gradient(dk, ln_2, to.dk + b * to.sdk[0] + kv_head * to.sdk[1], to.sdk[2], first + warp_row, a.keys,
                 a.d);
  store_gradient(dv, 1.0f, to.dv + b * to.sdv[0] + kv_head * to.sdv[1], to.sdv[2], first + warp_row, a.keys,
                 a.e);
}

}  // namespace smx::cuda_kernels
