// SPDX-License-Identifier: Apache-2.0
/// \file  The rival of ssd: the recurrence token by token, S <- exp(a) S + w k v^T, y = S^T q, vectorised over
///        the state as ggml's ssm_scan is: no products, no reuse, 5 N P flops for each token and head.
#pragma once

#include <cmath>

#include <smx/backend/cpu/simd.hpp>

namespace bench {

/// Sizes: x, y (L,H,P), dt (L,H) after its softplus, a (H) < 0, b, c (L,N), state (H,N,P). P a multiple of 4
/// vectors: they and their sums stay in registers while the rows of the state go by.
inline void token_scan(smx::index_t length, smx::index_t heads, smx::index_t n, smx::index_t p, float const* x,
                       float const* dt, float const* a, float const* b, float const* c, float* state,
                       float* y) {
  using namespace smx::cpu_kernels;
  constexpr int wide = 4, w = lanes<float>;
  for (smx::index_t h = 0; h < heads; ++h)
    for (smx::index_t t = 0; t < length; ++t) {
      float const delta = dt[t * heads + h], keep = std::exp(delta * a[h]);
      for (smx::index_t j = 0; j < p; j += wide * w) {
        vec<float> in[wide], sum[wide];
        for (int v = 0; v < wide; ++v) {
          in[v] = load(x + (t * heads + h) * p + j + v * w) * delta;
          sum[v] = vec<float>{};
        }
        float* s = state + h * n * p + j;
        for (smx::index_t i = 0; i < n; ++i, s += p) {
          vec<float> const key = splat(b[t * n + i]), query = splat(c[t * n + i]);
          for (int v = 0; v < wide; ++v) {
            vec<float> const now = load(s + v * w) * keep + key * in[v];
            store(s + v * w, now);
            sum[v] += query * now;
          }
        }
        for (int v = 0; v < wide; ++v) store(y + (t * heads + h) * p + j + v * w, sum[v]);
      }
    }
}

}  // namespace bench
