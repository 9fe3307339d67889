// SPDX-License-Identifier: Apache-2.0
/// \file  Attention of one query row a head, as in decoding: the keys that it sees are cut into parts, one
/// block takes a part for up to four heads that share it, and a second kernel joins the parts.
///
/// Split keys: T. Dao et al., "Flash-Decoding", 2023. Everything is f32. Bound by reading keys and values
/// once for each four heads: 4 M (D + E) bytes. How many parts there are depends on sizes only.
#pragma once

#include <smx/backend/cuda/attention_operands.cuh>
#include <smx/backend/cuda/launch.cuh>
#include <smx/backend/cuda/mma.cuh>
#include <smx/backend/cuda/team.cuh>
#include <smx/core/mask/concept.hpp>

namespace smx::cuda_kernels {

inline constexpr int attention_step_threads = 256, attention_step_warps = attention_step_threads / 32;

/// Parts that the keys of `items` groups of heads are cut into: enough blocks to fill a large device, and at
/// least 256 keys a part.
constexpr int attention_step_parts(index_t items, index_t keys) {
  constexpr index_t blocks = 1056, least = 256;
  index_t const wanted = ceil_div(blocks, items < 1 ? 1 : items), most = ceil_div(keys < 1 ? 1 : keys, least);
  return static_cast<int>(wanted < most ? wanted : most);
}

/// A softmax under way: the largest exponent, the sum of powers, their sum with values.
template <int N> struct running_softmax {
  float top = minus_infinity<float>, total = 0;
  float sums[N] = {};

  /// What the sums are multiplied by when the top becomes `high`.
  static __device__ float factor(float top, float high) {
    return exp2_fast(top - (high == minus_infinity<float> ? 0.0f : high));
  }
  /// The numbers of both, those of the other one `lanes` away.
  __device__ void join_lanes(int lanes) {
    float const other_top = __shfl_xor_sync(~0u, top, lanes), high = fmaxf(top, other_top);
    float const own = factor(top, high), other = factor(other_top, high);
    total = total * own + __shfl_xor_sync(~0u, total, lanes) * other;
    for (int i = 0; i < N; ++i) sums[i] = sums[i] * own + __shfl_xor_sync(~0u, sums[i], lanes) * other;
    top = high;
  }
};

/// Several parts as one, entry e of each: part(p) names {top, total, sums...}. Returns the entry of the sums;
/// top and total change.
template <class F> __device__ float join_parts(int parts, int e, F const& part, float& top, float& total) {
  top = minus_infinity<float>, total = 0;
  for (int p = 0; p < parts; ++p) top = fmaxf(top, part(p)[0]);
  float sum = 0;
  for (int p = 0; p < parts; ++p) {
    float const by = running_softmax<1>::factor(part(p)[0], top);
    total += part(p)[1] * by;
    sum += part(p)[2 + e] * by;
  }
  return sum;
}

/// Entry e of a finished row.
__device__ inline void finish_attention_step(attention_arrays const& a, index_t b, index_t h, int e,
                                             float top, float total, float sum) {
  bool const sees = total != 0;
  if (e < a.e) a.y[b * a.sy[0] + h * a.sy[1] + e] = sees ? sum / total : 0.0f;
  if (e == 0 && a.lse != nullptr)
    a.lse[b * a.sl[0] + h * a.sl[1]] = sees ? top * ln_2 + logf(total) : minus_infinity<float>;
}

/// Entries 4 n .. 4 n + 3 of a row, 0 beyond its end.
__device__ __forceinline__ float4 load_four(float const* row, int n, int columns, bool aligned) {
  if (aligned)
    return 4 * n < columns ? *reinterpret_cast<float4 const*>(row + 4 * n) : make_float4(0, 0, 0, 0);
  auto const at = [&](int i) { return 4 * n + i < columns ? row[4 * n + i] : 0.0f; };
  return make_float4(at(0), at(1), at(2), at(3));
}

/// Lanes lanes share a key, each with 4 Vectors of its numbers. Block x: a part of the keys, of Heads heads.
/// `parts`: {top, total, sums (width)} for each head and part; unused where there is one.
template <int Lanes, int Vectors, int Heads, class M>
__global__ void __launch_bounds__(attention_step_threads, 2)
    attention_step_part(attention_arrays a, int part_count, bool aligned, float* parts, M mask) {
  constexpr int width = 4 * Lanes * Vectors, together = Vectors == 1 ? 4 : 2, rows_of_warp = 32 / Lanes,
                streams = attention_step_warps * rows_of_warp, row = width + 2;
  int const lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  int const chunks = static_cast<int>(ceil_div(a.shared, Heads)),
            part = static_cast<int>(blockIdx.x % static_cast<unsigned>(part_count));
  index_t const item = blockIdx.x / static_cast<unsigned>(part_count), kv_head = item / chunks % a.kv_heads,
                b = item / chunks / a.kv_heads;
  int const chunk = static_cast<int>(item % chunks), left = a.shared - chunk * Heads,
            heads = left < Heads ? left : Heads;
  index_t const h0 = kv_head * a.shared + chunk * Heads;

  index_range all{a.keys, 0}, ranges[Heads];  // of keys that a row may see
#pragma unroll
  for (int g = 0; g < Heads; ++g) {
    ranges[g] = {0, 0};
    if (g < heads) {
      if constexpr (IntervalMask<M>)  // what is asked below is then only whether a key lies in it
        ranges[g] = smx::detail::within_count(mask.row(b, h0 + g, 0), a.keys);
      else
        ranges[g] = mask.keys(b, h0 + g, {0, 1}, a.keys);
    }
    if (ranges[g].first >= ranges[g].last) continue;
    all.first = ranges[g].first < all.first ? ranges[g].first : all.first;
    all.last = ranges[g].last > all.last ? ranges[g].last : all.last;
  }
  auto const sees = [&](int g, index_t j) {
    bool const within = ranges[g].first <= j && j < ranges[g].last;
    if constexpr (IntervalMask<M>)
      return within;
    else
      return within && mask.allow(b, h0 + g, 0, j);
  };
  index_t const count = all.first < all.last ? all.last - all.first : 0, per = ceil_div(count, part_count);
  index_t const first = all.first + part * per, end = at_most(first + per, all.first + count);

  float q[Heads][4 * Vectors];
  running_softmax<4 * Vectors> own[Heads];
#pragma unroll
  for (int g = 0; g < Heads; ++g)
#pragma unroll
    for (int n = 0; n < Vectors; ++n) {
      float4 const x = load_four(a.q + b * a.sq[0] + (h0 + (g < heads ? g : 0)) * a.sq[1],
                                 lane % Lanes + Lanes * n, a.d, false);
      float const by = a.scale * log2_e;
      q[g][4 * n] = x.x * by, q[g][4 * n + 1] = x.y * by, q[g][4 * n + 2] = x.z * by,
               q[g][4 * n + 3] = x.w * by;
    }
  float const *const k = a.k + b * a.sk[0] + kv_head * a.sk[1], *const v =
                                                                    a.v + b * a.sv[0] + kv_head * a.sv[1];
  for (index_t base = first + warp * rows_of_warp; base < end; base += streams * together) {
    float keys[together][4 * Vectors], values[together][4 * Vectors];
    bool seen[together][Heads];
#pragma unroll
    for (int u = 0; u < together; ++u) {
      index_t const j = base + lane / Lanes + u * streams;
      bool some = false;
#pragma unroll
      for (int g = 0; g < Heads; ++g) {
        seen[u][g] = j < end && sees(g, j);
        some = some || seen[u][g];
      }
#pragma unroll
      for (int n = 0; n < Vectors; ++n) {
        float4 x = make_float4(0, 0, 0, 0), y = x;
        if (some) {
          x = load_four(k + j * a.sk[2], lane % Lanes + Lanes * n, a.d, aligned);
          y = load_four(v + j * a.sv[2], lane % Lanes + Lanes * n, a.e, aligned);
        }
        keys[u][4 * n] = x.x, keys[u][4 * n + 1] = x.y, keys[u][4 * n + 2] = x.z, keys[u][4 * n + 3] = x.w;
        values[u][4 * n] = y.x, values[u][4 * n + 1] = y.y, values[u][4 * n + 2] = y.z,
                      values[u][4 * n + 3] = y.w;
      }
    }
#pragma unroll
    for (int g = 0; g < Heads; ++g) {
      float score[together], high = own[g].top;
#pragma unroll
      for (int u = 0; u < together; ++u) {
        float sum = 0;
#pragma unroll
        for (int i = 0; i < 4 * Vectors; ++i) sum += q[g][i] * keys[u][i];
#pragma unroll
        for (int lanes = Lanes / 2; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(~0u, sum, lanes);
        score[u] = seen[u][g] ? sum : minus_infinity<float>;
        high = fmaxf(high, score[u]);
      }
      float const by = own[g].factor(own[g].top, high);
      own[g].top = high;
      own[g].total *= by;
#pragma unroll
      for (int i = 0; i < 4 * Vectors; ++i) own[g].sums[i] *= by;
#pragma unroll
      for (int u = 0; u < together; ++u) {
        float const p = own[g].factor(score[u], high);
        own[g].total += p;
        if (p != 0)  // what another head alone sees may be NaN
#pragma unroll
          for (int i = 0; i < 4 * Vectors; ++i) own[g].sums[i] += p * values[u][i];
      }
    }
  }

  auto* const shared = shared_memory<float>();  // (warps, Heads, row)
#pragma unroll
  for (int g = 0; g < Heads; ++g) {
    for (int lanes = Lanes; lanes < 32; lanes *= 2) own[g].join_lanes(lanes);
    float* const to = shared + (warp * Heads + g) * row;
    if (lane == 0) to[0] = own[g].top, to[1] = own[g].total;
#pragma unroll
    for (int i = 0; i < 4 * Vectors; ++i)
      if (lane < Lanes) to[2 + 4 * (lane + Lanes * (i / 4)) + i % 4] = own[g].sums[i];
  }
  __syncthreads();
  for (int at = static_cast<int>(threadIdx.x); at < heads * width; at += attention_step_threads) {
    int const g = at / width, e = at % width;
    float top = 0, total = 0;
    float const sum = join_parts(
        attention_step_warps, e, [&](int w) { return shared + (w * Heads + g) * row; }, top, total);
    if (part_count == 1) {
      finish_attention_step(a, b, h0 + g, e, top, total, sum);
      continue;
    }
    float* const to = parts + ((b * a.heads + h0 + g) * part_count + part) * row;
    if (e == 0) to[0] = top, to[1] = total;
    to[2 + e] = sum;
  }
}

/// Block x: the parts of one head; thread x: one entry.
template <class T>
__global__ void attention_step_join(attention_arrays a, int part_count, int width, T const* parts) {
  index_t const b = blockIdx.x / a.heads, h = blockIdx.x % a.heads;
  T const* const own = parts + static_cast<index_t>(blockIdx.x) * part_count * (width + 2);
  float top = 0, total = 0;
  int const e = static_cast<int>(threadIdx.x);
  float const sum = join_parts(
      part_count, e, [&](int p) { return own + p * (width + 2); }, top, total);
  finish_attention_step(a, b, h, e, top, total, sum);
}

}  // namespace smx::cuda_kernels
