// SPDX-License-Identifier: Apache-2.0
/// \file  Convolutions of signals whose channels are neighbours in memory, by clusters of blocks.
///
/// A block that transforms thousands of points holds one channel or two: 4 or 8 bytes of each 32-byte sector
/// that it would move. So the blocks of a cluster share out the positions of eight channels: each moves all
/// channels of its positions, whole sectors, and hands them to the blocks whose channels they are through
/// shared memory, on the way in and on the way back.
#pragma once

#include <smx/backend/cuda/cluster.cuh>
#include <smx/backend/cuda/convolution/kernel.cuh>
#include <smx/backend/cuda/mma.cuh>

namespace smx::cuda_kernels {

/// A cluster of blocks of tile K, and each block's share: its positions of all channels, (channel,position).
template <class K> struct convolution_cluster {
  using T = typename K::scalar;
  static constexpr int channels = cluster_channels, blocks = channels / K::groups;
  static constexpr int positions = K::points / blocks;
  /// The threads of a warp move `channels` channels of neighbouring positions: in different banks.
  static constexpr int pitch = positions + 32 / channels;
  /// Complex numbers that wait between stages.
  static constexpr std::size_t exchange = static_cast<std::size_t>(K::padded * K::groups);
  static constexpr std::size_t shared_bytes =
      sizeof(T) * (2 * (2 * K::turns + exchange) + channels * static_cast<std::size_t>(pitch));
  /// Where many blocks share an SM, it matters more that all SMs have as many.
  static constexpr bool balanced = K::points <= 4096;

  static constexpr int step = K::threads / channels, moved = positions / step;  ///< of a thread
  static constexpr int from_a_block = K::per_thread / blocks;                   ///< points of a thread
  static_assert(K::lanes == 1 && K::threads % channels == 0 && positions % 32 == 0 && sizeof(T) == 4);
  static_assert(from_a_block * blocks == K::per_thread && from_a_block * K::threads_a_signal == positions);

  /// f(i, entry) for point thread + i threads_a_signal of a channel, in whose share it is.
  template <class F>
  __device__ static __forceinline__ void each_point(T* share, int channel, int thread, F const& f) {
#pragma unroll
    for (int b = 0; b < blocks; ++b) {
      T* const there = in_block(share + channel * pitch + thread, static_cast<unsigned>(b));
#pragma unroll
      for (int i = 0; i < from_a_block; ++i) f(b * from_a_block + i, there[i * K::threads_a_signal]);
    }
  }
};

/// What a thread moves for its cluster: positions first, first + step, ... of one channel, of which `inside`
/// are there, and where they are in its block's share.
template <class T> struct moved_entries {
  signal_place s;
  index_t first;
  int inside;
  T* share;
};
template <class C, class T>
__device__ __forceinline__ moved_entries<T> entries_to_move(convolution_job<T> const& job,
                                                            signal_place const& own, unsigned tile,
                                                            T* share) {
  unsigned const channel = threadIdx.x % C::channels, n = threadIdx.x / C::channels;
  moved_entries<T> m{own, static_cast<index_t>(block_of_cluster() * C::positions + n), 0,
                     share + channel * C::pitch + n};
  m.s.channel = tile / job.batch % job.tiles * C::channels + channel;
  if (m.s.channel < job.lanes) m.inside = positions_below(job.length, m.first, C::step);
  return m;
}

/// x gate to the blocks' shares. x goes past the registers, so that all of it is under way at once, and the
/// kernel's spectrum comes nearer meanwhile.
template <class C, class K, class T>
__device__ __forceinline__ void fill_share(convolution_job<T> const& job, moved_entries<T> const& m,
                                           signal_place const& own, int thread) {
  constexpr int at_once = C::moved < 16 ? C::moved : 16;
  auto x = walk_of(job.x, m.s, m.first, C::step), gate = walk_of(job.gate, m.s, m.first, C::step);
#pragma unroll 8
  for (int i = 0; i < C::moved; ++i) copy_async_4(m.share + i * C::step, &x.next(), i < m.inside);
  copy_commit();
  expect_spectrum<K>(job, own, thread, K::points);
  copy_wait<0>();
  if (!job.gate.there) return;
  T* to = m.share;
#pragma unroll 1
  for (int n = 0; n < C::moved; n += at_once, to += at_once * C::step) {
    T v[at_once];
#pragma unroll
    for (int i = 0; i < at_once; ++i) {
      T const& entry = gate.next();
      v[i] = n + i < m.inside ? entry : T(0);
    }
#pragma unroll
    for (int i = 0; i < at_once; ++i) to[i * C::step] *= v[i];
  }
}

/// The blocks' shares, times gates, to y.
template <class C, class T>
__device__ __forceinline__ void empty_share(convolution_job<T> const& job, moved_entries<T> const& m) {
  constexpr int at_once = C::moved < 16 ? C::moved : 16;
#pragma unroll
  for (int o = 0; o < 2; ++o) {
    if (!job.y[o].there) continue;
    auto y = walk_of(job.y[o], m.s, m.first, C::step);
    auto gate = walk_of(job.y_gate[o], m.s, m.first, C::step);
    T const* from = m.share;
#pragma unroll 1
    for (int n = 0; n < C::moved; n += at_once, from += at_once * C::step) {
      T v[at_once];
#pragma unroll
      for (int i = 0; i < at_once; ++i) v[i] = from[i * C::step];
      if (job.y_gate[o].there) {
#pragma unroll
        for (int i = 0; i < at_once; ++i) {
          T const& entry = gate.next();
          if (n + i < m.inside) v[i] *= entry;
        }
      }
#pragma unroll
      for (int i = 0; i < at_once; ++i) {
        T& entry = y.next();
        if (n + i < m.inside) entry = v[i];
      }
    }
  }
}

/// convolve_tiles by clusters. Sources and sinks that are complex are scratch, whose positions are
/// neighbours.
template <class K, class T>
__global__ void __launch_bounds__(K::threads, K::min_blocks) convolve_cluster(convolution_job<T> const job) {
  if constexpr (compiles_for_clusters) {
    using C = convolution_cluster<K>;
    auto* const turns = shared_memory<complex_pair<T>>();
    complex_pair<T>* const exchange = turns + 2 * K::turns;
    auto* const share = reinterpret_cast<T*>(exchange + C::exchange);
    unsigned const tile = blockIdx.x / C::blocks;
    int const thread = static_cast<int>(threadIdx.x);
    tile_place const at{thread % K::threads_a_signal, 0, thread / K::threads_a_signal};
    int const channel = static_cast<int>(block_of_cluster()) * K::groups + at.group;
    unsigned row;
    signal_place const s = place_of_signal(job, tile, C::channels, static_cast<unsigned>(channel), row);
    // Each arrival is waited for before shares change hands again, the last before this block ends.
    convolve_signal<K>(
        job, s, at, row, turns, exchange,
        [&](auto& z) {
          if (job.x.there) {
            fill_share<C, K>(job, entries_to_move<C>(job, s, tile, share), s, at.thread);
            arrive_at_cluster();
            wait_for_cluster();
            C::each_point(share, channel, at.thread, [&](int i, T entry) { z[i] = {entry, 0}; });
          } else {
            load_signal<K>(job, s, at.thread, z);
          }
          arrive_at_cluster();
        },
        [&](auto const& z) {
          wait_for_cluster();
          if (job.to.there) return store_signal<K>(job, s, at.thread, z);
          C::each_point(share, channel, at.thread, [&](int i, T& entry) { entry = z[i].re; });
          arrive_at_cluster();
          wait_for_cluster();
          empty_share<C>(job, entries_to_move<C>(job, s, tile, share));
        });
  }
}

}  // namespace smx::cuda_kernels
