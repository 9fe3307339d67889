// SPDX-License-Identifier: Apache-2.0
/// \file  Queries, keys and values of attention, rounded to 16 bits, once, into images of shared memory
/// (attention_layout.hpp).
///
/// One part: the nearest 16-bit number. Three parts, bf16: x = x0 + x1 + x2 exactly for |x| > 2^-110, since
/// each part takes 8 of 24 bits; of infinities and NaN only the first part is not 0. Queries are multiplied
/// by the scale and by log2(e), so that scores are exponents of 2. Reads 4 bytes and writes 2 a part and
/// number.
#pragma once

#include <smx/backend/cuda/attention_layout.hpp>
#include <smx/backend/cuda/launch.cuh>
#include <smx/backend/cuda/mma.cuh>

namespace smx::cuda_kernels {

/// Whether the low, and the high, half of a pair is infinite or NaN.
template <class H> struct not_finite {
  static constexpr std::uint32_t exponent = sizeof(H) == 2 && H(1.0f).bits == 0x3F80 ? 0x7F80 : 0x7C00;
  bool low, high;
  __device__ explicit not_finite(std::uint32_t pair)
      : low((pair & exponent) == exponent), high((pair >> 16 & exponent) == exponent) {}
};

/// The next part of both numbers; what is left of them stays in `low` and `high`.
template <class H, bool Last> __device__ __forceinline__ std::uint32_t take_part(float& low, float& high) {
  std::uint32_t pair = pack_halves<H>(low, high);
  if constexpr (!Last) {
    auto const finite = [](float x) { return (__float_as_uint(x) & 0x7F800000u) != 0x7F800000u; };
    // what is finite stays so: beyond the largest bf16 the next part takes what rounding would add
    not_finite<H> const ends(pair);
    if (ends.low && finite(low)) pair -= 1u;
    if (ends.high && finite(high)) pair -= 0x10000u;
    // exact: bf16 is the upper half of a float
    low = finite(low) ? low - __uint_as_float(pair << 16) : 0.0f;
    high = finite(high) ? high - __uint_as_float(pair & 0xFFFF0000u) : 0.0f;
  }
  return pair;
}

/// Where images go. `odd`: one number for each image of values, not 0 where some value is not finite.
struct attention_images {
  std::byte *q, *k, *v;
  int* odd;
};

inline constexpr int image_threads = 256;

/// A block makes an image: first those of q, then of k, then of v. Aligned: each row can be read 16 bytes at
/// a time.
template <class H, int Parts, bool Aligned>
__global__ void make_attention_images(attention_arrays a, attention_images_shape s, attention_images to) {
  index_t const q_images = images_of(a.queries, attention_query_rows),
                k_images = images_of(a.keys, s.key_rows);
  index_t const all_q = a.batch * a.heads * q_images, all_k = a.batch * a.kv_heads * k_images;
  for (index_t image = blockIdx.x; image < all_q + 2 * all_k; image += gridDim.x) {
    bool const of_q = image < all_q, of_k = !of_q && image < all_q + all_k;
    index_t const n = of_q ? image : of_k ? image - all_q : image - all_q - all_k;
    index_t const count = of_q ? q_images : k_images, heads = of_q ? a.heads : a.kv_heads;
    index_t const b = n / count / heads, h = n / count % heads;
    int const rows = of_q ? attention_query_rows : s.key_rows;
    int const first = static_cast<int>(n % count) * rows;
    int const last = of_q ? a.queries : a.keys, columns = of_q || of_k ? a.d : a.e;
    extents<3> const& strides = of_q ? a.sq : of_k ? a.sk : a.sv;
    float const* const from = (of_q ? a.q : of_k ? a.k : a.v) + b * strides[0] + h * strides[1];
    std::byte* const image_start = (of_q ? to.q : of_k ? to.k : to.v) + n * image_bytes(s, rows);
    float const factor = of_q ? a.scale * 1.4426950408889634f : 1.0f;
    int const chunks = s.width / 8;
    bool any = false;
    for (int at = static_cast<int>(threadIdx.x); at < rows * chunks; at += image_threads) {
      int const row = at / chunks, chunk = at % chunks;
      float x[8];
      float const* const line = from + (first + row) * strides[2];
      if constexpr (Aligned) {
        for (int half = 0; half < 2; ++half) {
          float4 four{0, 0, 0, 0};
          int const column = 8 * chunk + 4 * half;
          if (first + row < last && column < columns) four = *reinterpret_cast<float4 const*>(line + column);
          x[4 * half] = four.x, x[4 * half + 1] = four.y, x[4 * half + 2] = four.z, x[4 * half + 3] = four.w;
        }
      } else {
        for (int i = 0; i < 8; ++i)
          x[i] = first + row < last && 8 * chunk + i < columns ? line[8 * chunk + i] : 0.0f;
      }
      for (int i = 0; i < 8; ++i) x[i] *= factor;
      std::byte* const place = image_start + image_offset(rows, row, chunk);
      for (int part = 0; part < Parts; ++part) {
        std::uint32_t pairs[4];
        for (int i = 0; i < 4; ++i) {
          pairs[i] = take_part<H, Parts == 1>(x[2 * i], x[2 * i + 1]);
          if (part == 0) {
            not_finite<H> const ends(pairs[i]);
            any = any || ends.low || ends.high;
          }
        }
        *reinterpret_cast<uint4*>(place + index_t{2} * s.width * rows * part) =
            make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
      }
    }
    any = __syncthreads_or(any) != 0;
    if (!of_q && !of_k && threadIdx.x == 0) to.odd[n] = any;
  }
}

}  // namespace smx::cuda_kernels
