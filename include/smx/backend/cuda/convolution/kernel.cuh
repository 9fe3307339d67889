// SPDX-License-Identifier: Apache-2.0
/// \file  The kernel of long convolutions: a block loads its signals into registers, transforms them,
/// multiplies spectra, transforms back and stores (see job.hpp, tile.hpp).
///
/// Bytes an entry: a transform of one part reads x and the spectrum and writes y, 4 + 8 + 4 (f32; spectra of
/// a batch's other entries come from L2). Two parts: 4 + 8, 8 + 8 + 8, 8 + 4.
#pragma once

#include <smx/backend/cuda/convolution/job.hpp>
#include <smx/backend/cuda/convolution/transform.cuh>

namespace smx::cuda_kernels {

/// The signal of a thread.
struct signal_place {
  index_t batch, head, channel, column;
  index_t entry;  ///< batch and head as one
  bool exists;
};

template <class K, class T>
__device__ __forceinline__ signal_place place_of_signal(convolution_job<T> const& job, tile_place const& at,
                                                        unsigned& row) {
  signal_place s;
  s.entry = blockIdx.x % job.batch;
  unsigned const rest = blockIdx.x / job.batch, tile = rest % job.tiles;
  row = rest / job.tiles;
  unsigned lane =
      (tile * K::groups + static_cast<unsigned>(at.group)) * K::lanes + static_cast<unsigned>(at.lane);
  s.exists = lane < job.lanes;
  if (!s.exists) lane = 0;
  unsigned const fast = lane % job.fast, slow = row + lane / job.fast;
  s.channel = job.channels_fast ? fast : slow;
  s.column = job.channels_fast ? slow : fast;
  unsigned const entry = job.first_entry + static_cast<unsigned>(s.entry);
  s.batch = entry / job.heads;
  s.head = entry % job.heads;
  return s;
}

template <class T>
__device__ __forceinline__ T* start_of(real_signals<T> const& v, signal_place const& s, index_t position) {
  return v.ptr + s.batch * v.batch + s.head * v.head + s.channel * v.channel + position * v.position;
}

/// Entries t + i Threads of a complex signal.
template <class K, class T> struct complex_column {
  T* start;
  index_t step;
  __device__ __forceinline__ complex_column(complex_signals<T> const& v, signal_place const& s, int thread) {
    index_t const low = thread & ((1 << v.fold) - 1), high = thread >> v.fold;
    start = v.ptr + 2 * (s.entry * v.batch + s.channel * v.channel + s.column * v.column + high * v.position +
                         low * v.folded);
    step = 2 * (K::threads_a_signal >> v.fold) * v.position;
  }
  __device__ __forceinline__ auto& operator[](int i) const {
    using pair =
        std::conditional_t<std::is_const_v<T>, complex_pair<std::remove_const_t<T>> const, complex_pair<T>>;
    return *reinterpret_cast<pair*>(start + i * step);
  }
};

/// The kernel's signal at position n: lags from 0 on in the real part, those below, negated, from t^M down in
/// the imaginary part.
template <class T>
__device__ __forceinline__ complex_pair<T> tap_at(tap_signals<T> const& v, index_t length, index_t channel,
                                                  index_t n) {
  complex_pair<T> z = {0, 0};
  if (n < v.taps) z.re = v.k[channel * v.k_channel + n * v.k_tap];
  if (n == 0 && v.skip != nullptr) z.re += v.skip[channel];
  index_t const below = v.points - n;  // the lag, negated
  if (v.kind == convolution_kind::bidirectional && below <= v.taps && below < length)
    z.im = -v.k_rev[channel * v.rev_channel + (below - 1) * v.rev_tap];
  if (v.kind == convolution_kind::circular && below < length && length - below < v.taps)
    z.im = -v.k[channel * v.k_channel + (length - below) * v.k_tap];
  return z;
}

template <class K, class T>
__device__ __forceinline__ void load_signal(convolution_job<T> const& job, signal_place const& s, int thread,
                                            complex_pair<T> (&z)[K::per_thread]) {
  constexpr int E = K::per_thread, threads = K::threads_a_signal;
#pragma unroll
  for (int i = 0; i < E; ++i) z[i] = {0, 0};
  if (!s.exists) return;
  index_t const n = thread * job.step + s.column, step = threads * job.step;
  if (job.x.ptr != nullptr) {
    T const* const from = start_of(job.x, s, n);
    index_t const stride = step * job.x.position;
#pragma unroll
    for (int i = 0; i < E; ++i)
      if (n + i * step < job.length) z[i].re = from[i * stride];
    if (job.gate.ptr == nullptr) return;
    T const* const gate = start_of(job.gate, s, n);
    index_t const gate_stride = step * job.gate.position;
#pragma unroll
    for (int i = 0; i < E; ++i)
      if (n + i * step < job.length) z[i].re *= gate[i * gate_stride];
  } else if (job.from.ptr != nullptr) {
    complex_column<K, T const> column(job.from, s, thread);
    for (index_t b = 0; b < job.summed; ++b) {
#pragma unroll
      for (int i = 0; i < E; ++i) {
        complex_pair<T> const v = column[i];
        z[i] = {z[i].re + v.re, z[i].im + v.im};
      }
      column.start += 2 * job.from.batch;
    }
  } else {
#pragma unroll
    for (int i = 0; i < E; ++i) z[i] = tap_at(job.taps, job.length, s.channel, n + i * step);
  }
}

/// What happens to spectra between the two transforms; leaves the conjugates.
template <class K, class T>
__device__ __forceinline__ void multiply_spectra(convolution_job<T> const& job, signal_place const& s,
                                                 int thread, complex_pair<T> (&z)[K::per_thread]) {
  constexpr int E = K::per_thread;
  if (s.exists) {
    if (job.lags.ptr != nullptr) {
      complex_column<K, T> const lags(job.lags, s, thread);
#pragma unroll
      for (int i = 0; i < E; ++i) lags[i] = product_conjugate(z[i], lags[i]);
    }
    if (job.spectrum.ptr != nullptr) {
      complex_column<K, T const> const spectrum(job.spectrum, s, thread);
      T const sign = job.conjugate ? T(-1) : T(1);
#pragma unroll
      for (int i = 0; i < E; ++i) {
        complex_pair<T> const k = spectrum[i];
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
  if (job.to.ptr != nullptr) {
    complex_column<K, T> const column(job.to, s, thread);
#pragma unroll
    for (int i = 0; i < E; ++i) column[i] = {job.scale * z[i].re, job.scale * z[i].im};
    return;
  }
  index_t const n = thread * job.step + s.column, step = threads * job.step;
#pragma unroll
  for (int o = 0; o < 2; ++o) {
    if (job.y[o].ptr == nullptr) continue;
    T* const to = start_of(job.y[o], s, n);
    index_t const stride = step * job.y[o].position;
    if (job.y_gate[o].ptr == nullptr) {
#pragma unroll
      for (int i = 0; i < E; ++i)
        if (n + i * step < job.length) to[i * stride] = z[i].re;
      continue;
    }
    T const* const gate = start_of(job.y_gate[o], s, n);
    index_t const gate_stride = step * job.y_gate[o].position;
#pragma unroll
    for (int i = 0; i < E; ++i)
      if (n + i * step < job.length) to[i * stride] = z[i].re * gate[i * gate_stride];
  }
}

template <class K, class T>
__global__ void __launch_bounds__(K::threads, K::min_blocks) convolve_tiles(convolution_job<T> const job) {
  constexpr int E = K::per_thread;
  auto* const turns = shared_memory<complex_pair<T>>();
  complex_pair<T>* const exchange = turns + 2 * K::turns;
  int const thread = static_cast<int>(threadIdx.x);
  tile_place const at{thread / K::lanes % K::threads_a_signal, thread % K::lanes,
                      thread / (K::lanes * K::threads_a_signal)};
  unsigned row;
  signal_place const s = place_of_signal<K>(job, at, row);

  // theta = root / (4 nodes); a block has one node
  unsigned const root = job.second_part ? 4 * row + 1 : 1, whole = job.second_part ? 4 * job.nodes : 4;
  if (thread <= K::levels) {
    turns[thread] = root_of_unity<T>(root, whole << thread);
    turns[K::turns + static_cast<std::size_t>(thread)] = {1, 0};
  }
  complex_pair<T> z[E];
  load_signal<K>(job, s, at.thread, z);
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
  store_signal<K>(job, s, at.thread, z);
}

}  // namespace smx::cuda_kernels
