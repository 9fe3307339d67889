// SPDX-License-Identifier: Apache-2.0
/// \file  Where the rows, chunks and states of a chunked scan are (see structured/chunk_scan.hpp): the chunks
///        of all sequences are numbered one after the other, so that a kernel has a block for each.
#pragma once

#include <cuda_runtime.h>

#include <smx/backend/cuda/grid.hpp>

namespace smx::cuda_kernels {

/// Chunk `chunk` of a sequence: rows first .. first + rows - 1 of a batch entry.
struct scan_place {
  index_t sequence, batch, chunk, first;
  int rows;
  bool last;  ///< of its sequence
};

struct scan_chunks {
  index_t chunk, length, sequences;
  index_t each;           ///< chunks of a sequence that is not packed
  index_t const* bounds;  ///< packed: sequences + 1 bounds, then as many numbers of first chunks; else null

  __device__ bool packed() const { return bounds != nullptr; }
  /// The number of the first chunk of sequence i.
  __device__ index_t start(index_t i) const { return packed() ? bounds[sequences + 1 + i] : i * each; }
  __device__ scan_place place(index_t number) const {
    index_t i = 0;
    if (packed()) {  // the last sequence that starts here or before: earlier ones of the same start are empty
      for (index_t end = sequences; end - i > 1;) {
        index_t const middle = i + (end - i) / 2;
        (start(middle) <= number ? i : end) = middle;
      }
    } else {
      i = number / each;
    }
    index_t const c = number - start(i), first = (packed() ? bounds[i] : 0) + c * chunk,
                  end = packed() ? bounds[i + 1] : length;
    bool const last = end - first <= chunk;
    return {i, packed() ? 0 : i, c, first, static_cast<int>(last ? end - first : chunk), last};
  }
};

/// Rows of (B,H,L,D), D contiguous; null: absent.
template <class T> struct scan_rows {
  T* ptr;
  index_t batch, head, row;
  bool packs;  ///< whether 16 bytes can be moved at once

  __device__ T* at(index_t b, index_t h, index_t l) const { return ptr + b * batch + h * head + l * row; }
};

/// States (N,P) of chunks and heads: on the tape, by sequence and chunk; else by number.
template <class T> struct scan_states {
  T* ptr;
  index_t sequence, chunk, number, head, row;
  bool packs;

  __device__ T* at(index_t i, index_t c, index_t n, index_t h) const {
    return ptr + i * sequence + c * chunk + n * number + h * head;
  }
};

/// Sizes of the heads.
struct scan_heads {
  index_t heads, groups;
  int n, p;
  bool tiled;

  __device__ index_t group(index_t h) const { return tiled ? h % groups : h / (heads / groups); }
};

/// Numbers that a kernel carries in its arguments.
struct scan_numbers {
  static constexpr int most = 240;
  index_t at[most];
};
/// Bounds come from host memory, which a captured copy would read again later: arguments are kept.
template <class = void> __global__ void store_scan_numbers(scan_numbers numbers, int count, index_t* to) {
  int const i = static_cast<int>(threadIdx.x);
  if (i < count) to[i] = numbers.at[i];
}

}  // namespace smx::cuda_kernels
