// SPDX-License-Identifier: Apache-2.0
/// \file  How attention's operands lie in scratch: as images of shared memory, 16 bits a number.
///
/// An image holds `rows` rows of `width` numbers (a multiple of 64; what the array lacks is 0) as panels of
/// 64 columns, (width / 64, rows, 64). In a panel a row is 128 bytes, and its 16-byte chunk c lies at chunk c
/// xor (row mod 8): eight rows of one chunk fall into different banks, and the tensor cores' 128-byte swizzle
/// is the same (PTX ISA, "Shared memory layout for wgmma"). A number of more than 16 bits is the sum of
/// `parts` images, which lie one after the other. Query rows come in images of 64, and arrays are filled up
/// with zeros to whole images.
#pragma once

#include <smx/backend/cuda/grid.hpp>

namespace smx::cuda_kernels {

/// Rows of an image of queries.
inline constexpr int attention_query_rows = 64;

/// Where the 16 bytes with numbers 8 chunk .. 8 chunk + 7 of a row start within an image.
SMX_HD constexpr int image_offset(int rows, int row, int chunk) {
  return (chunk / 8) * rows * 128 + row * 128 + (((chunk % 8) ^ (row % 8)) * 16);
}

/// Widths there are kernels for.
constexpr int attention_width(index_t d, index_t e) {
  index_t const n = d > e ? d : e;
  return n <= 64 ? 64 : n <= 128 ? 128 : 256;
}
inline constexpr index_t attention_widest = 256;

/// Rows of an image of keys or values: as many as a warpgroup's tensor cores take at once, where that fits.
constexpr int attention_key_rows(int width, int parts) { return parts == 1 && width <= 128 ? 128 : 64; }

/// What the kernels read and write: pointers and the strides of batch, head and row. Query head h reads key
/// head h / shared.
struct attention_arrays {
  float const *q, *k, *v;
  float *y, *lse;  ///< lse may be null
  extents<3> sq, sk, sv, sy, sl;
  index_t batch, heads, kv_heads;
  int queries, keys, d, e, shared;
  float scale;
};

/// Whole images of a head.
SMX_HD constexpr int images_of(int rows, int image_rows) {
  return static_cast<int>(ceil_div(rows, image_rows));
}

}  // namespace smx::cuda_kernels
