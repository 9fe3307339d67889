// SPDX-License-Identifier: Apache-2.0
/// \file  One row of a scan for each batch entry (structured/chunk_scan.hpp): S = exp(a) S + w k v^T, y =
/// scale S^T q + skip v. The states are read and written once: 8 N P bytes a head in f32, 5 N P flops.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include <smx/backend/cuda/chunk_scan_kernel.cuh>

namespace smx::cuda_kernels {

inline constexpr int step_threads = 256, step_columns = 16;

/// A block has 16 columns of a head's state, so that one head has blocks for several SMs: 16 / W threads of W
/// columns each along a row, the others on further rows. Sums over the rows have one order for a W: row by
/// row, lane by lane, warp by warp. Packs: whether W numbers can be moved at once. Blocks: (columns, head,
/// batch).
template <class T, int W, bool Packs>
__global__ void __launch_bounds__(step_threads)
    scan_step(scan_heads d, index_t batch, scan_inputs<T> x, scan_ends<T> ends, scan_rows<T> y) {
  using numbers = pack<T, W>;
  constexpr int across = step_columns / W, rows = step_threads / across, warps = step_threads / 32, ahead = 4;
  __shared__ numbers sums[warps][across];
  int const thread = static_cast<int>(threadIdx.x), column = thread % across,
            p = static_cast<int>(blockIdx.x) * step_columns + column * W;
  index_t const h = blockIdx.y, g = d.group(h);
  for (index_t b = blockIdx.z; b < batch; b += gridDim.z) {
    numbers sum{}, v{};
    if (p < d.p) {
      T const *const k = x.k.at(b, g, 0), *const q = x.q.at(b, g, 0);
      T const* const from =
          ends.from == nullptr ? nullptr : ends.from + b * ends.from_sequence + h * ends.from_head + p;
      T* const to = ends.to + b * ends.to_sequence + h * ends.to_head + p;
      T keep = 1, weight = 1;
      for (int n0 = thread / across; n0 < d.n; n0 += ahead * rows) {
        numbers s[ahead];
        T key[ahead], query[ahead];
#pragma unroll
        for (int i = 0; i < ahead; ++i) {
          int const n = n0 + i * rows;
          s[i] = {}, key[i] = query[i] = T(0);
          if (n >= d.n) continue;
          if (from != nullptr) s[i] = load_numbers<W>(from + n * ends.from_row, W, Packs);
          key[i] = k[n], query[i] = q[n];
        }
        if (n0 < rows) {  // after the first loads of the state, which take longest
          v = load_numbers<W>(x.v.at(b, h, 0) + p, W, Packs);
          T const decay = x.decay.ptr == nullptr ? T(0) : *x.decay.at(b, h, 0);
          if (x.weight.ptr != nullptr) weight = *x.weight.at(b, h, 0);
          keep = std::exp(decay > T(0) ? T(0) : decay);
        }
#pragma unroll
        for (int i = 0; i < ahead; ++i) {
          int const n = n0 + i * rows;
          if (n >= d.n) continue;
#pragma unroll
          for (int u = 0; u < W; ++u) {
            s[i].of[u] = keep * s[i].of[u] + key[i] * (weight * v.of[u]);
            sum.of[u] += query[i] * s[i].of[u];
          }
          store_numbers<W>(to + n * ends.to_row, s[i].of, W, Packs);
        }
      }
    }
    for (int o = 16; o >= across; o /= 2)
#pragma unroll
      for (int u = 0; u < W; ++u) sum.of[u] += __shfl_xor_sync(~0u, sum.of[u], o);
    if (thread % 32 < across) sums[thread / 32][column] = sum;
    __syncthreads();
    if (thread < across && p < d.p) {
      v = load_numbers<W>(x.v.at(b, h, 0) + p, W, Packs);
      for (int w = 1; w < warps; ++w)
#pragma unroll
        for (int u = 0; u < W; ++u) sum.of[u] += sums[w][column].of[u];
#pragma unroll
      for (int u = 0; u < W; ++u) {
        sum.of[u] *= x.scale;
        if (x.skip != nullptr) sum.of[u] += x.skip[h * x.skip_head + (p + u) * x.skip_column] * v.of[u];
      }
      store_numbers<W>(y.at(b, h, 0) + p, sum.of, W, Packs);
    }
    __syncthreads();  // sums are written again
  }
}

}  // namespace smx::cuda_kernels
