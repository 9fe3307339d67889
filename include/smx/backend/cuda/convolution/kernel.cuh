// SPDX-License-Identifier: Apache-2.0
/// \file  The kernel of long convolutions: a block loads its signals into registers, transforms them,
/// multiplies spectra, transforms back and stores (see job.hpp, tile.hpp).
///
/// Bytes an entry: a transform of one part reads x and the spectrum and writes y, 4 + 8 + 4 (f32; spectra of
/// a batch's other entries come from L2). Two parts: 4 + 8, 8 + 8 + 8, 8 + 4.
#pragma once

#include <type_traits>

#include <smx/backend/cuda/convolution/job.hpp>
#include <smx/backend/cuda/convolution/transform.cuh>
#include <smx/backend/cuda/prefetch.cuh>

namespace smx::cuda_kernels {

/// The signal of a thread.
struct signal_place {
  unsigned entry;  ///< of scratch: batch and head as one
  unsigned batch, head, channel, column;
  bool exists;
};

/// That of lane `lane` in tile `tile`, which has `lanes` of them; `row` comes back.
template <class T>
__device__ __forceinline__ signal_place place_of_signal(convolution_job<T> const& job, unsigned tile,
                                                        unsigned lanes, unsigned lane, unsigned& row) {
  signal_place s;
  s.entry = tile % job.batch;
  unsigned const rest = tile / job.batch;
  row = rest / job.tiles;
  lane += rest % job.tiles * lanes;
  s.exists = lane < job.lanes;
  if (!s.exists) lane = 0;
  unsigned const fast = lane % job.fast, slow = row + lane / job.fast;
  s.channel = job.channels_fast ? fast : slow;
  s.column = job.channels_fast ? slow : fast;
  unsigned const entry = job.first_head + s.entry;
  s.batch = entry / job.heads;
  s.head = entry % job.heads;
  return s;
}

/// Walks the entries t, t + Threads, t + 2 Threads, ... of a thread. One pointer that moves on: registers are
/// what the kernel is short of.
template <class T> struct walk {
  T* at;
  index_t step;
  __device__ __forceinline__ T& next() {
    T& entry = *at;
    at += step;
    return entry;
  }
};

template <class T>
using pair_of =
    std::conditional_t<std::is_const_v<T>, complex_pair<std::remove_const_t<T>> const, complex_pair<T>>;

template <class K, class T>
__device__ __forceinline__ walk<pair_of<T>> walk_of(complex_signals<T> const& v, signal_place const& s,
                                                    int thread) {
  index_t const low = thread & ((1 << v.fold) - 1), high = thread >> v.fold;
  return {reinterpret_cast<pair_of<T>*>(v.ptr) + s.entry * v.batch + s.channel * v.channel +
              s.column * v.column + high * v.position + low * v.folded,
          (K::threads_a_signal >> v.fold) * v.position};
}
/// From position n on, `step` apart.
template <class T>
__device__ __forceinline__ walk<T> walk_of(real_signals<T> const& v, signal_place const& s, index_t n,
                                           index_t step) {
  return {v.ptr + s.batch * v.batch + s.head * v.head + s.channel * v.channel + n * v.position,
          step * v.position};
}

/// How many of the positions n, n + step, ... lie below `end`.
__device__ __forceinline__ int positions_below(index_t end, index_t n, index_t step) {
  return n < end ? static_cast<int>(static_cast<unsigned>(end - 1 - n) / static_cast<unsigned>(step)) + 1 : 0;
}

template <class K, class T>
__device__ __forceinline__ void load_signal(convolution_job<T> const& job, signal_place const& s, int thread,
                                            complex_pair<T> (&z)[K::per_thread]) {
  constexpr int E = K::per_thread, threads = K::threads_a_signal;
#pragma unroll
  for (int i = 0; i < E; ++i) z[i] = {0, 0};
  if (!s.exists) return;
  index_t const n = thread * job.step + s.column, step = threads * job.step;
  if (job.x.there) {
    int const inside = positions_below(job.length, n, step);
    auto x = walk_of(job.x, s, n, step);
#pragma unroll
    for (int i = 0; i < E; ++i) {
      T const& entry = x.next();
      if (i < inside) z[i].re = entry;
    }
    if (!job.gate.there) return;
    auto gate = walk_of(job.gate, s, n, step);
#pragma unroll
    for (int i = 0; i < E; ++i) {
      T const& entry = gate.next();
      if (i < inside) z[i].re *= entry;
    }
  } else if (job.from.there) {
    auto entry = walk_of<K>(job.from, s, thread);
#pragma unroll
    for (int i = 0; i < E; ++i) z[i] = entry.next();
    for (index_t b = 1; b < job.summed; ++b) {
      entry = walk_of<K>(job.from, s, thread);
      entry.at += b * job.from.batch;
#pragma unroll
      for (int i = 0; i < E; ++i) {
        complex_pair<T> const v = entry.next();
        z[i] = {z[i].re + v.re, z[i].im + v.im};
      }
    }
  } else {
    int const end = positions_below(job.taps.low_end, n, step);
    auto low = walk_of(job.taps.low, s, n, step);
#pragma unroll
    for (int i = 0; i < E; ++i) {
      T const& tap = low.next();
      if (i < end) z[i].re = tap;
    }
    if (n == 0 && job.taps.skip != nullptr) z[0].re += job.taps.skip[s.channel];
    if (!job.taps.high.there) return;
    int const first = positions_below(job.taps.high_first, n, step),
              last = positions_below(job.taps.high_end, n, step);
    auto high = walk_of(job.taps.high, s, n, step);
#pragma unroll
    for (int i = 0; i < E; ++i) {
      T const& tap = high.next();
      if (first <= i && i < last) z[i].im = -tap;
    }
  }
}

/// What happens to spectra between the two transforms; leaves the conjugates.
template <class K, class T>
__device__ __forceinline__ void multiply_spectra(convolution_job<T> const& job, signal_place const& s,
                                                 int thread, complex_pair<T> (&z)[K::per_thread]) {
  constexpr int E = K::per_thread;
  if (s.exists) {
    if (job.lags.there) {
      auto other = walk_of<K>(job.other, s, thread);
      auto lag = walk_of<K>(job.lags, s, thread);
#pragma unroll
      for (int i = 0; i < E; ++i) lag.next() = product_conjugate(z[i], other.next());
    }
    if (job.spectrum.there) {
      auto entry = walk_of<K>(job.spectrum, s, thread);
      T const sign = job.conjugate ? T(-1) : T(1);
#pragma unroll
      for (int i = 0; i < E; ++i) {
        complex_pair<T> const k = entry.next();
        z[i] = product(z[i], {k.re, sign * k.im});
      }
    }
  }
#pragma unroll
  for (int i = 0; i < E; ++i) z[i].im = -z[i].im;
}

template <class K, class T>
__device__ __forceinline__ void store_signal(convolution_job<T> const& job, signal_place const& s, int thread,
                                             complex_pair<T> const (&z)[K::per_thread]) {
  constexpr int E = K::per_thread, threads = K::threads_a_signal;
  if (!s.exists) return;
  if (job.to.there) {
    auto entry = walk_of<K>(job.to, s, thread);
#pragma unroll
    for (int i = 0; i < E; ++i) entry.next() = {job.scale * z[i].re, job.scale * z[i].im};
    return;
  }
  index_t const n = thread * job.step + s.column, step = threads * job.step;
  int const inside = positions_below(job.length, n, step);
#pragma unroll
  for (int o = 0; o < 2; ++o) {
    if (!job.y[o].there) continue;
    auto y = walk_of(job.y[o], s, n, step);
    if (!job.y_gate[o].there) {
#pragma unroll
      for (int i = 0; i < E; ++i) {
        T& entry = y.next();
        if (i < inside) entry = z[i].re;
      }
      continue;
    }
    auto gate = walk_of(job.y_gate[o], s, n, step);
#pragma unroll
    for (int i = 0; i < E; ++i) {
      T& entry = y.next();
      T const& by = gate.next();
      if (i < inside) entry = z[i].re * by;
    }
  }
}

/// Asks for the spectrum that the signal will be multiplied with, `points` complex numbers in one piece,
/// while the signal itself is under way: a block of half an SM or more has nobody to wait for it.
template <class K, class T>
__device__ __forceinline__ void expect_spectrum(convolution_job<T> const& job, signal_place const& s,
                                                int thread, int points) {
  constexpr int a_line = 128 / static_cast<int>(sizeof(T));
  if (!job.spectrum.there || !s.exists) return;
  T const* const start = job.spectrum.ptr + 2 * (static_cast<index_t>(s.channel) * job.spectrum.channel +
                                                 static_cast<index_t>(s.column) * job.spectrum.column);
  for (int n = thread * a_line; n < 2 * points; n += K::threads_a_signal * a_line) prefetch_line(start + n);
}

/// One signal, from source(z) to sink(z).
template <class K, class T, class Source, class Sink>
__device__ __forceinline__ void convolve_signal(convolution_job<T> const& job, signal_place const& s,
                                                tile_place const& at, unsigned row, complex_pair<T>* turns,
                                                complex_pair<T>* exchange, Source const& source,
                                                Sink const& sink) {
  constexpr int E = K::per_thread;
  // theta = root / (4 nodes); a block has one node
  unsigned const root = job.second_part ? 4 * row + 1 : 1, whole = job.second_part ? 4 * job.nodes : 4;
  if (threadIdx.x <= K::levels) {
    turns[threadIdx.x] = root_of_unity<T>(root, whole << threadIdx.x);
    turns[K::turns + threadIdx.x] = {1, 0};
  }
  complex_pair<T> z[E];
  source(z);
  __syncthreads();

#pragma unroll 1
  for (int part = job.first; part <= job.last; ++part) {
    if (part == 1) multiply_spectra<K>(job, s, at.thread, z);
    transform<K>(z, at, reinterpret_cast<complex_pair<T> const*>(job.table),
                 turns + (part == 1 ? K::turns : 0), exchange);
  }
  if (job.last == 1) {
    complex_pair<T> w = {1, 0};
    if constexpr (K::threads_a_signal > 1)
      w = root_of_unity<T>(root * static_cast<unsigned>(at.thread), whole * K::points);
    turn_back<E, log2_of(E) - 1>(z, 0, w, turns);
  }
  sink(z);
}

template <class K, class T>
__global__ void __launch_bounds__(K::threads, K::min_blocks) convolve_tiles(convolution_job<T> const job) {
  auto* const turns = shared_memory<complex_pair<T>>();
  int const thread = static_cast<int>(threadIdx.x);
  tile_place const at{thread / K::lanes % K::threads_a_signal, thread % K::lanes,
                      thread / (K::lanes * K::threads_a_signal)};
  unsigned row;
  signal_place const s = place_of_signal(job, blockIdx.x, K::lanes * K::groups,
                                         static_cast<unsigned>(at.group * K::lanes + at.lane), row);
  convolve_signal<K>(
      job, s, at, row, turns, turns + 2 * K::turns,
      [&](auto& z) {
        load_signal<K>(job, s, at.thread, z);
        if constexpr (K::points >= 1024) expect_spectrum<K>(job, s, at.thread, K::points);
      },
      [&](auto const& z) { store_signal<K>(job, s, at.thread, z); });
}

}  // namespace smx::cuda_kernels
