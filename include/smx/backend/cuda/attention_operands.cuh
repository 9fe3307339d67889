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

/// An array to be made images of.
struct image_source {
  float const* from;
  extents<3> strides;  ///< of batch, head and row
  index_t heads;
  int rows, columns;
  int image_rows;
  float factor;  ///< of every number
  std::byte* to;
  int* odd;  ///< for each image, not 0 where some number is not finite; or null
};
struct image_sources {
  static constexpr int most = 4;
  image_source of[most];
  int count;
  index_t batch;
  int width;

  SMX_HD constexpr index_t images(int n) const {
    return batch * of[n].heads * images_of(of[n].rows, of[n].image_rows);
  }
};

inline constexpr int image_threads = 256;
inline constexpr float log2_e = 1.4426950408889634f, ln_2 = 0.6931471805599453f;

/// A block makes an image, those of the first source first. Aligned: rows can be read 16 bytes at a time.
template <class H, int Parts, bool Aligned> __global__ void make_attention_images(image_sources s) {
  index_t all = 0;
  for (int n = 0; n < s.count; ++n) all += s.images(n);
  for (index_t block = blockIdx.x; block < all; block += gridDim.x) {
    int which = 0;
    index_t n = block;
    for (; n >= s.images(which); ++which) n -= s.images(which);
    image_source const& x = s.of[which];
    int const count = images_of(x.rows, x.image_rows), first = static_cast<int>(n % count) * x.image_rows,
              chunks = s.width / 8, part_bytes = 2 * s.width * x.image_rows;
    float const* const from =
        x.from + n / count / x.heads * x.strides[0] + n / count % x.heads * x.strides[1];
    std::byte* const image = x.to + n * Parts * part_bytes;
    bool any = false;
    for (int at = static_cast<int>(threadIdx.x); at < x.image_rows * chunks; at += image_threads) {
      int const row = at / chunks, chunk = at % chunks;
      bool const is_row = first + row < x.rows;
      float const* const line = from + (first + row) * x.strides[2];
      float numbers[8];
      for (int half = 0; half < 2; ++half) {
        int const column = 8 * chunk + 4 * half;
        float4 four = make_float4(0, 0, 0, 0);
        if constexpr (Aligned) {
          if (is_row && column < x.columns) four = *reinterpret_cast<float4 const*>(line + column);
        } else {
          auto const number = [&](int i) { return is_row && i < x.columns ? line[i] : 0.0f; };
          four = make_float4(number(column), number(column + 1), number(column + 2), number(column + 3));
        }
        numbers[4 * half] = four.x * x.factor, numbers[4 * half + 1] = four.y * x.factor;
        numbers[4 * half + 2] = four.z * x.factor, numbers[4 * half + 3] = four.w * x.factor;
      }
      std::byte* const place = image + image_offset(x.image_rows, row, chunk);
      for (int part = 0; part < Parts; ++part) {
        std::uint32_t pairs[4];
        for (int i = 0; i < 4; ++i) {
          pairs[i] = take_part<H, Parts == 1>(numbers[2 * i], numbers[2 * i + 1]);
          not_finite<H> const ends(pairs[i]);
          any = any || ends.low || ends.high;
        }
        *reinterpret_cast<uint4*>(place + part * part_bytes) =
            make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
      }
    }
    any = __syncthreads_or(any) != 0;
    if (x.odd != nullptr && threadIdx.x == 0) x.odd[n] = any;
  }
}

}  // namespace smx::cuda_kernels
