// SPDX-License-Identifier: Apache-2.0
/// \file  Turns signals whose channels are neighbours in memory into signals whose positions are, and back,
/// through tiles in shared memory.
///
/// A block that transforms thousands of points holds few channels, so that where channels are neighbours it
/// uses a part of each 32-byte sector that it moves. Turned first, with the gates applied on the way, all of
/// them are used: 16 bytes an entry more, in whole lines.
#pragma once

#include <smx/backend/cuda/backend.cuh>
#include <smx/backend/cuda/convolution/job.hpp>

namespace smx::cuda_kernels {

inline constexpr int turn_channels = 32, turn_positions = 64, turn_rows = 8;  ///< of a tile; warps of a block

/// turned (entries,channels,length) = x gate, or y = turned gate. The caller's batch entries and heads from
/// `first_entry` on.
template <class T> struct turn_job {
  unsigned first_entry = 0, heads = 1, channels = 0, length = 0;
  real_signals<T const> x, gate;
  real_signals<T> y;
  T* turned = nullptr;

  SMX_HD unsigned channel_tiles() const { return (channels + turn_channels - 1) / turn_channels; }
  SMX_HD unsigned position_tiles() const { return (length + turn_positions - 1) / turn_positions; }
};

template <bool Back, class T>
__global__ void __launch_bounds__(32 * turn_rows) turn_signals(turn_job<T> const job) {
  __shared__ T tile[turn_positions][turn_channels + 1];
  unsigned const across = blockIdx.x % job.channel_tiles(), rest = blockIdx.x / job.channel_tiles(),
                 along = rest % job.position_tiles(), own_entry = rest / job.position_tiles(),
                 entry = job.first_entry + own_entry, batch = entry / job.heads, head = entry % job.heads;
  unsigned const x = threadIdx.x, y = threadIdx.y;
  // of the caller's arrays a warp has 32 channels of a position, of the turned ones 32 positions of a channel
  auto const of_caller = [&](auto const& v, unsigned n, unsigned c) -> auto& {
    return v.ptr[batch * v.batch + head * v.head + n * v.position + c * v.channel];
  };
  auto const each_of_caller = [&](auto const& f) {
    unsigned const c = across * turn_channels + x;
#pragma unroll
    for (unsigned i = y; i < turn_positions; i += turn_rows)
      if (unsigned const n = along * turn_positions + i; n < job.length && c < job.channels)
        f(n, c, tile[i][x]);
  };
  auto const each_turned = [&](auto const& f) {
#pragma unroll
    for (unsigned i = y; i < turn_channels; i += turn_rows)
#pragma unroll
      for (unsigned j = x; j < turn_positions; j += 32)
        if (unsigned const n = along * turn_positions + j, c = across * turn_channels + i;
            n < job.length && c < job.channels)
          f(job.turned[(static_cast<index_t>(own_entry) * job.channels + c) * job.length + n], tile[j][i]);
  };
  if constexpr (Back) {
    each_turned([](T const& from, T& to) { to = from; });
    __syncthreads();
    each_of_caller([&](unsigned n, unsigned c, T const& v) {
      of_caller(job.y, n, c) = job.gate.there ? v * of_caller(job.gate, n, c) : v;
    });
  } else {
    each_of_caller([&](unsigned n, unsigned c, T& to) {
      T const v = of_caller(job.x, n, c);
      to = job.gate.there ? v * of_caller(job.gate, n, c) : v;
    });
    __syncthreads();
    each_turned([](T& to, T const& from) { to = from; });
  }
}

template <bool Back, class T>
void launch_turn(cuda_launcher const& on, turn_job<T> const& job, index_t entries) {
  index_t const blocks = entries * job.channel_tiles() * job.position_tiles();
  on.launch({dim3(static_cast<unsigned>(blocks)), dim3(32, turn_rows)}, turn_signals<Back, T>, job);
}

}  // namespace smx::cuda_kernels
