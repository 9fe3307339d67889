// SPDX-License-Identifier: Apache-2.0
/// \file  One row of a scan for each batch entry (structured/chunk_scan.hpp): S = exp(a) S + w k v^T, y =
/// scale S^T q + skip v. The states are read and written once: 8 N P bytes a head in f32, 5 N P flops.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include <smx/backend/cuda/chunk_scan_kernel.cuh>

namespace smx::cuda_kernels {

inline constexpr int step_threads = 256;

/// `across` threads, a power of two, of W columns each, side by side along a row of the state; the others
/// take further rows, and their sums are added in order. Blocks: (columns, head, batch).
template <class T, int W>
__global__ void __launch_bounds__(step_threads)
    scan_step(int across, scan_heads d, index_t batch, scan_inputs<T> x, scan_ends<T> ends, scan_rows<T> y) {
  using numbers = pack<T, W>;
  __shared__ numbers sums[step_threads];
  int const thread = static_cast<int>(threadIdx.x), row = thread / across, rows = step_threads / across,
            p = (static_cast<int>(blockIdx.x) * across + thread % across) * W;
  index_t const h = blockIdx.y, g = d.group(h);
  for (index_t b = blockIdx.z; b < batch; b += gridDim.z) {
    numbers sum{}, v{};
    if (p < d.p) {
      v = *reinterpret_cast<numbers const*>(x.v.at(b, h, 0) + p);
      T const decay = x.decay.ptr == nullptr ? T(0) : *x.decay.at(b, h, 0),
              keep = std::exp(decay > T(0) ? T(0) : decay),
              weight = x.weight.ptr == nullptr ? T(1) : *x.weight.at(b, h, 0);
      T const *const k = x.k.at(b, g, 0), *const q = x.q.at(b, g, 0);
      T const* const from =
          ends.from == nullptr ? nullptr : ends.from + b * ends.from_sequence + h * ends.from_head + p;
      T* const to = ends.to + b * ends.to_sequence + h * ends.to_head + p;
#pragma unroll 4
      for (int n = row; n < d.n; n += rows) {
        numbers s{};
        if (from != nullptr) s = *reinterpret_cast<numbers const*>(from + n * ends.from_row);
        T const key = k[n], query = q[n];
#pragma unroll
        for (int i = 0; i < W; ++i) {
          s.of[i] = keep * s.of[i] + key * (weight * v.of[i]);
          sum.of[i] += query * s.of[i];
        }
        *reinterpret_cast<numbers*>(to + n * ends.to_row) = s;
      }
    }
    sums[thread] = sum;
    __syncthreads();
    if (row == 0 && p < d.p) {
      for (int r = 1; r < rows; ++r)
#pragma unroll
        for (int i = 0; i < W; ++i) sum.of[i] += sums[r * across + thread].of[i];
#pragma unroll
      for (int i = 0; i < W; ++i) {
        sum.of[i] *= x.scale;
        if (x.skip != nullptr) sum.of[i] += x.skip[h * x.skip_head + (p + i) * x.skip_column] * v.of[i];
      }
      *reinterpret_cast<numbers*>(y.at(b, h, 0) + p) = sum;
    }
    __syncthreads();  // sums are written again
  }
}

}  // namespace smx::cuda_kernels
