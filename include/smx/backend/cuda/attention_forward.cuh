// SPDX-License-Identifier: Apache-2.0
/// \file  Softmax attention on tensor cores (mma.sync), one block for some query rows of one head, tile of
/// keys after tile of keys: scores, online softmax and the product with the values stay in registers.
///
/// T. Dao, "FlashAttention-2", ICLR 2024. With operands of one part, scores and values are products of 16-bit
/// numbers. With three, x = x0 + x1 + x2 of bf16 each, a product is x0 y0 + (x0 y1 + x1 y0 + x1 y1 + x0 y2 +
/// x2 y0): what is left out is at most 2^-25 |x y|, less than f32 rounds. The leading products are summed
/// apart from the others, which makes infinite scores infinite as in f32 (inf - inf in a correction says
/// nothing), and each tile's products with values are summed apart and added in f32, since tensor cores
/// truncate as they add.
///
/// Flops: 2 (D + E) for each pair of a row and a key in tiles that are not skipped, times 1 or 6. Shared
/// memory: the images of the block's queries, of one tile of keys and of one of values; keys are fetched
/// while values are used and the other way round.
#pragma once

#include <type_traits>

#include <smx/backend/cuda/attention_operands.cuh>
#include <smx/backend/cuda/attention_tiles.cuh>
#include <smx/backend/cuda/team.cuh>

namespace smx::cuda_kernels {

/// A value as the product with it needs it where some are not finite: as 0, or, of those only, 1 where adding
/// it to a number may give +inf (plus) or -inf (minus); NaN is both.
enum class odd_values : char { as_zero, plus, minus };
template <class H, odd_values What> __device__ __forceinline__ std::uint32_t odd_pair(std::uint32_t pair) {
  not_finite<H> const ends(pair);
  constexpr std::uint32_t infinity = not_finite<H>::exponent, one = H(1.0f).bits;
  auto const half = [&](std::uint32_t bits, bool odd) -> std::uint32_t {
    if constexpr (What == odd_values::as_zero) return odd ? 0u : bits;
    if constexpr (What == odd_values::plus) return odd && bits != (infinity | 0x8000u) ? one : 0u;
    return odd && bits != infinity ? one : 0u;
  };
  return half(pair & 0xFFFFu, ends.low) | half(pair >> 16, ends.high) << 16;
}

/// The two products of a warp's rows. Everything is unrolled, so that all of it is registers.
template <class H, class Tiling> struct warp_products {
  static constexpr int width = Tiling::width, parts = Tiling::parts, keys = Tiling::keys,
                       row_tiles = Tiling::row_tiles, key_tiles = keys / 8, value_tiles = width / 8,
                       steps = width / 16, key_steps = keys / 16;
  using products = part_products<parts>;
  using square = float[row_tiles][key_tiles][4];
  using strip = float[row_tiles][value_tiles][4];

  /// scores = Q K^T; `q`: the image that has the warp's rows, row_of_image the first; `k`: a tile.
  static __device__ __forceinline__ void multiply(square& scores, std::byte const* q, int row_of_image,
                                                  std::byte const* k) {
    int const lane = static_cast<int>(threadIdx.x % 32);
    image_rows<attention_query_rows> const q_rows(q, row_of_image + lane % 16, lane / 16);
    image_rows<keys> const k_rows(k, lane / 16 * 8 + lane % 8, lane / 8 % 2);
    float rest[row_tiles][key_tiles][4];
#pragma unroll
    for (int m = 0; m < row_tiles; ++m)
#pragma unroll
      for (int n = 0; n < key_tiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[m][n][i] = 0, rest[m][n][i] = 0;
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      std::uint32_t left[row_tiles][parts][4];
#pragma unroll
      for (int m = 0; m < row_tiles; ++m)
#pragma unroll
        for (int p = 0; p < parts; ++p)
          load_matrices<false>(left[m][p], q_rows.at(16 * m, step) + p * 2 * width * attention_query_rows);
#pragma unroll
      for (int n = 0; n < key_tiles; n += 2) {
        std::uint32_t right[parts][4];
#pragma unroll
        for (int p = 0; p < parts; ++p)
          load_matrices<false>(right[p], k_rows.at(8 * n, step) + p * 2 * width * keys);
#pragma unroll
        for (int one = 0; one < products::count; ++one)
#pragma unroll
          for (int m = 0; m < row_tiles; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
              std::uint32_t const(&r)[4] = right[products::right(one)];
              std::uint32_t const b[2] = {r[2 * half], r[2 * half + 1]};
              mma_16x8x16<H>(one == 0 ? scores[m][n + half] : rest[m][n + half], left[m][products::left(one)],
                             b);
            }
      }
    }
    if constexpr (parts > 1)
#pragma unroll
      for (int m = 0; m < row_tiles; ++m)
#pragma unroll
        for (int n = 0; n < key_tiles; ++n)
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            float const sum = scores[m][n][i];
            bool const finite = (__float_as_uint(sum) & 0x7F800000u) != 0x7F800000u;
            scores[m][n][i] = finite ? sum + rest[m][n][i] : sum;
          }
  }

  /// sums += P V, P in `scores`, `v`: a tile. Odd: some of V is infinite or NaN, and counts only where P is
  /// not 0: as the infinity that it is, or, where P is Signed, as NaN.
  template <bool Odd, bool Signed = false>
  static __device__ __forceinline__ void add(strip& sums, square const& scores, std::byte const* v) {
    int const lane = static_cast<int>(threadIdx.x % 32);
    image_rows<keys> const v_rows(v, lane / 8 % 2 * 8 + lane % 8, lane / 16);
    std::uint32_t left[row_tiles][key_steps][parts][4];
#pragma unroll
    for (int m = 0; m < row_tiles; ++m)
#pragma unroll
      for (int step = 0; step < key_steps; ++step)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float const(&s)[4] = scores[m][2 * step + i / 2];
          float low = s[i % 2 * 2], high = s[i % 2 * 2 + 1];
#pragma unroll
          for (int p = 0; p < parts; ++p) left[m][step][p][i] = take_part<H, parts == 1>(low, high);
        }
#pragma unroll
    for (int n = 0; n < value_tiles; n += 2) {
      float lead[row_tiles][2][4] = {}, rest[row_tiles][2][4] = {}, plus[row_tiles][2][4] = {},
            minus[row_tiles][2][4] = {};
#pragma unroll
      for (int step = 0; step < key_steps; ++step) {
        std::uint32_t right[parts][4];
#pragma unroll
        for (int p = 0; p < parts; ++p)
          load_matrices<true>(right[p], v_rows.at(16 * step, n / 2) + p * 2 * width * keys);
        if constexpr (Odd) {
          std::uint32_t above[4], below[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            above[i] = odd_pair<H, odd_values::plus>(right[0][i]);
            below[i] = odd_pair<H, odd_values::minus>(right[0][i]);
            right[0][i] = odd_pair<H, odd_values::as_zero>(right[0][i]);
          }
#pragma unroll
          for (int m = 0; m < row_tiles; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
              std::uint32_t const a[2] = {above[2 * half], above[2 * half + 1]},
                                  b[2] = {below[2 * half], below[2 * half + 1]};
              std::uint32_t size[4];  // more than 0 where P is not 0
#pragma unroll
              for (int i = 0; i < 4; ++i) {
                float const(&s)[4] = scores[m][2 * step + i / 2];
                if constexpr (std::is_same_v<H, f16>)  // which rounds small ones to 0
                  size[i] =
                      pack_halves<H>(s[i % 2 * 2] != 0 ? 1.0f : 0.0f, s[i % 2 * 2 + 1] != 0 ? 1.0f : 0.0f);
                else
                  size[i] = left[m][step][0][i] & 0x7FFF7FFFu;
              }
              mma_16x8x16<H>(plus[m][half], size, a);
              mma_16x8x16<H>(minus[m][half], size, b);
            }
        }
#pragma unroll
        for (int one = 0; one < products::count; ++one)
#pragma unroll
          for (int m = 0; m < row_tiles; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
              std::uint32_t const(&r)[4] = right[products::right(one)];
              std::uint32_t const b[2] = {r[2 * half], r[2 * half + 1]};
              mma_16x8x16<H>(parts == 1 ? sums[m][n + half]
                             : one == 0 ? lead[m][half]
                                        : rest[m][half],
                             left[m][step][products::left(one)], b);
            }
      }
#pragma unroll
      for (int m = 0; m < row_tiles; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            float& sum = sums[m][n + half][i];
            if constexpr (parts > 1) sum += lead[m][half][i] + rest[m][half][i];
            if constexpr (Odd) {
              bool const up = plus[m][half][i] > 0, down = minus[m][half][i] > 0;
              if (up || (Signed && down)) sum -= minus_infinity<float>;
              if (down || (Signed && up)) sum += minus_infinity<float>;
            }
          }
    }
  }
};

/// The rows of one warp: scores, which become probabilities, and sums.
template <class H, class Tiling> struct attention_warp : warp_products<H, Tiling> {
  using base = warp_products<H, Tiling>;
  static constexpr int row_tiles = base::row_tiles, key_tiles = base::key_tiles,
                       value_tiles = base::value_tiles;

  float scores[row_tiles][key_tiles][4];
  float sums[row_tiles][value_tiles][4];
  float top[row_tiles][2], total[row_tiles][2];

  __device__ void clear() {
#pragma unroll
    for (int m = 0; m < row_tiles; ++m) {
#pragma unroll
      for (int n = 0; n < value_tiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[m][n][i] = 0;
#pragma unroll
      for (int half = 0; half < 2; ++half) top[m][half] = minus_infinity<float>, total[m][half] = 0;
    }
  }

  /// -inf for what the mask hides; row_of(r): what row r of the warp sees.
  template <class F> __device__ __forceinline__ void hide(F const& row_of) {
    int const lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
    for (int m = 0; m < row_tiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        auto const row = row_of(16 * m + 8 * half + lane / 4);
#pragma unroll
        for (int n = 0; n < key_tiles; ++n)
#pragma unroll
          for (int i = 0; i < 2; ++i)
            if (!row.sees(8 * n + lane % 4 * 2 + i)) scores[m][n][2 * half + i] = minus_infinity<float>;
      }
  }

  /// scores = 2^(scores - top), total; sums are brought to the new top.
  __device__ __forceinline__ void exponentiate() {
    bool moved = false;
    float by[row_tiles][2];
#pragma unroll
    for (int m = 0; m < row_tiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float high = top[m][half];
#pragma unroll
        for (int n = 0; n < key_tiles; ++n)
          high = fmaxf(high, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
        high = fmaxf(high, __shfl_xor_sync(~0u, high, 1));
        high = fmaxf(high, __shfl_xor_sync(~0u, high, 2));
        // -inf - -inf would be NaN: a row that saw nothing yet stays at sums of 0
        float const shift = high == minus_infinity<float> ? 0.0f : high;
        by[m][half] = exp2_fast(top[m][half] - shift);
        moved = moved || top[m][half] != high;
        top[m][half] = high;
        float sum = 0;
#pragma unroll
        for (int n = 0; n < key_tiles; ++n)
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            float& s = scores[m][n][2 * half + i];
            s = exp2_fast(s - shift);
            sum += s;
          }
        total[m][half] = total[m][half] * by[m][half] + sum;
      }
    if (__any_sync(~0u, moved))
#pragma unroll
      for (int m = 0; m < row_tiles; ++m)
#pragma unroll
        for (int n = 0; n < value_tiles; ++n)
#pragma unroll
          for (int i = 0; i < 4; ++i) sums[m][n][i] *= by[m][i / 2];
  }

  /// Rows of y and lse; row: the first of the warp's among the queries.
  __device__ void finish(attention_arrays const& a, float* y, float* lse, int row) {
    int const lane = static_cast<int>(threadIdx.x % 32);
    bool const pairs = a.e % 2 == 0 && a.sy[2] % 2 == 0 && reinterpret_cast<std::uintptr_t>(y) % 8 == 0;
#pragma unroll
    for (int m = 0; m < row_tiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float sum = total[m][half];
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        int const i = row + 16 * m + 8 * half + lane / 4;
        if (i >= a.queries) continue;
        bool const sees = sum != 0;
        float const inverse = sees ? 1 / sum : 0.0f;
        if (lse != nullptr && lane % 4 == 0)
          lse[i * a.sl[2]] = sees ? top[m][half] * ln_2 + logf(sum) : minus_infinity<float>;
        float* const to = y + i * a.sy[2];
#pragma unroll
        for (int n = 0; n < value_tiles; ++n) {
          int const column = 8 * n + lane % 4 * 2;
          float const first = sees ? sums[m][n][2 * half] * inverse : 0.0f,
                      second = sees ? sums[m][n][2 * half + 1] * inverse : 0.0f;
          if (pairs) {
            if (column < a.e) *reinterpret_cast<float2*>(to + column) = make_float2(first, second);
          } else {
            if (column < a.e) to[column] = first;
            if (column + 1 < a.e) to[column + 1] = second;
          }
        }
      }
  }
};

/// Images of the operands in scratch. `odd`: for each image of values, not 0 where some are not finite.
struct attention_images {
  std::byte const *q, *k, *v;
  int const* odd;
};

/// Block x: query rows of one head, those that see most under a causal mask first.
template <class H, class Tiling, class M>
__global__ void __launch_bounds__(Tiling::threads, Tiling::blocks)
    attention_forward_tiles(attention_arrays a, attention_images from, M mask) {
  using tiles_type = typename Tiling::template tiles_of<M>;
  std::byte* const q = shared_memory<std::byte>();
  std::byte *const k = q + Tiling::query_bytes, *const v = k + Tiling::tile_bytes;
  int const blocks = images_of(a.queries, Tiling::rows),
            query_images = images_of(a.queries, attention_query_rows);
  constexpr int key_rows = Tiling::key_rows;
  index_t const b = blockIdx.x / static_cast<unsigned>(blocks) / a.heads,
                h = blockIdx.x / static_cast<unsigned>(blocks) % a.heads;
  int const first =
      (blocks - 1 - static_cast<int>(blockIdx.x % static_cast<unsigned>(blocks))) * Tiling::rows;
  index_t const kv_head = b * a.kv_heads + h / a.shared, images = images_of(a.keys, key_rows);
  constexpr index_t key_image = index_t{2} * Tiling::width * Tiling::parts * key_rows;
  std::byte const *const keys = from.k + kv_head * images * key_image, *const values = from.v + kv_head *
                                                                                                    images *
                                                                                                    key_image;
  int const* const odd = from.odd + kv_head * images;

  constexpr int image = 2 * Tiling::width * Tiling::parts * attention_query_rows;
  for (int piece = 0; piece < Tiling::rows / attention_query_rows; ++piece) {
    int const n = first / attention_query_rows + piece;
    if (n < query_images)  // rows beyond are computed from whatever there is, and not stored
      fetch_image<Tiling::threads, image>(q + piece * image,
                                          from.q + ((b * a.heads + h) * query_images + n) * image);
  }
  tiles_type tiles(mask, {b, h, first, a.queries, a.keys}, v + Tiling::tile_bytes);
  int const warp = static_cast<int>(threadIdx.x / 32), warp_row = warp * 16 * Tiling::row_tiles;
  attention_warp<H, Tiling> own;
  own.clear();
  int tile = tiles.begin();
  if (tile < tiles.end()) fetch_tile<Tiling>(k, keys, tile);
  copy_commit();
  while (tile < tiles.end()) {
    copy_wait<0>();
    __syncthreads();  // the keys are there, and nobody reads the last values any more
    fetch_tile<Tiling>(v, values, tile);
    copy_commit();
    bool const is_odd = odd[tile * Tiling::keys / key_rows] != 0;
    own.multiply(own.scores, q + warp_row / attention_query_rows * image, warp_row % attention_query_rows, k);
    if (!tiles.whole()) own.hide([&](int row) { return tiles.row(tile, warp_row + row); });
    copy_wait<0>();
    __syncthreads();  // the values are there, and nobody reads these keys any more
    tile = tiles.after(tile);
    if (tile < tiles.end()) fetch_tile<Tiling>(k, keys, tile);
    copy_commit();
    own.exponentiate();
    if (is_odd)
      own.template add<true>(own.sums, own.scores, v);
    else
      own.template add<false>(own.sums, own.scores, v);
  }
  copy_wait<0>();  // of the queries, where there was no tile
  own.finish(a, a.y + b * a.sy[0] + h * a.sy[1],
             a.lse == nullptr ? nullptr : a.lse + b * a.sl[0] + h * a.sl[1], first + warp_row);
}

}  // namespace smx::cuda_kernels
