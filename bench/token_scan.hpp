// SPDX-License-Identifier: Apache-2.0
/// \file  The rivals of ssd: the recurrence token by token, S <- exp(a) S + w k v^T, y = S^T q, vectorised
/// over
///        the state: no products of matrices, no reuse of the state, 5 N P flops for each token and head.
#pragma once

#include <cmath>

#include <smx/backend/cpu/simd.hpp>

namespace bench {

/// rows: the state is N x P, head after head, so that a head's state stays in L1 and P lies along the
/// vectors: nothing is summed across lanes. columns: P x N, token after token, N along the vectors and a sum
/// across lanes for each output, as ggml's ssm_scan has it.
enum class scan_layout : char { rows, columns };

namespace detail {

/// P a multiple of 4 vectors: they and their sums stay in registers while the rows of the state go by.
inline void token_by_rows(smx::index_t n, smx::index_t p, float keep, float weight, float const* x,
                          float const* b, float const* c, float* state, float* y) {
  using namespace smx::cpu_kernels;
  constexpr int wide = 4, w = lanes<float>;
  for (smx::index_t j = 0; j < p; j += wide * w) {
    vec<float> in[wide], sum[wide];
    for (int v = 0; v < wide; ++v) {
      in[v] = load(x + j + v * w) * weight;
      sum[v] = vec<float>{};
    }
    float* s = state + j;
    for (smx::index_t i = 0; i < n; ++i, s += p) {
      vec<float> const key = splat(b[i]), query = splat(c[i]);
      for (int v = 0; v < wide; ++v) {
        vec<float> const now = load(s + v * w) * keep + key * in[v];
        store(s + v * w, now);
        sum[v] += query * now;
      }
    }
    for (int v = 0; v < wide; ++v) store(y + j + v * w, sum[v]);
  }
}

/// N a multiple of 2 vectors.
inline void token_by_columns(smx::index_t n, smx::index_t p, float keep, float weight, float const* x,
                             float const* b, float const* c, float* state, float* y) {
  using namespace smx::cpu_kernels;
  constexpr int w = lanes<float>;
  for (smx::index_t j = 0; j < p; ++j) {
    float* const s = state + j * n;
    float const in = x[j] * weight;
    vec<float> sum[2] = {};
    for (smx::index_t i = 0; i < n; i += 2 * w)
      for (int v = 0; v < 2; ++v) {
        vec<float> const now = load(s + i + v * w) * keep + load(b + i + v * w) * in;
        store(s + i + v * w, now);
        sum[v] += now * load(c + i + v * w);
      }
    vec<float> const both = sum[0] + sum[1];
    float total = 0;
    for (int e = 0; e < w; ++e) total += both[e];
    y[j] = total;
  }
}

}  // namespace detail

/// x, y (L,H,P), dt (L,H) after its softplus, a (H) < 0, b, c (L,N), state (H,N,P) or (H,P,N).
inline void token_scan(scan_layout how, smx::index_t length, smx::index_t heads, smx::index_t n,
                       smx::index_t p, float const* x, float const* dt, float const* a, float const* b,
                       float const* c, float* state, float* y) {
  auto const token = [&](smx::index_t t, smx::index_t h) {
    float const delta = dt[t * heads + h];
    auto const step = how == scan_layout::rows ? detail::token_by_rows : detail::token_by_columns;
    step(n, p, std::exp(delta * a[h]), delta, x + (t * heads + h) * p, b + t * n, c + t * n,
         state + h * n * p, y + (t * heads + h) * p);
  };
  if (how == scan_layout::rows) {
    for (smx::index_t h = 0; h < heads; ++h)
      for (smx::index_t t = 0; t < length; ++t) token(t, h);
  } else {
    for (smx::index_t t = 0; t < length; ++t)
      for (smx::index_t h = 0; h < heads; ++h) token(t, h);
  }
}

}  // namespace bench
