// SPDX-License-Identifier: Apache-2.0
/// \file  Convolutions of twice the points of a tile in one block: t^(2m) - i = (t^m - r)(t^m + r), r =
/// exp(pi i / 4), one factor after the other.
///
/// x mod (t^m -+ r) = low +- r high; from the results z, z': y_low = Re(z + z'), y_high = Re((z - z') conj
/// r), the halves being part of the kernel's spectrum. z waits in shared memory (8 bytes a point of it for
/// f32); exchanges move real and imaginary parts one after the other, in 4 bytes a point. So 16384 points
/// take 99 KiB, and two blocks share an SM: one's memory time is the other's arithmetic. 32768 points take
/// 198 KiB; a transform of two parts would move three times the bytes. x is read twice, the second time from
/// L2.
#pragma once

#include <smx/backend/cuda/convolution/kernel.cuh>

namespace smx::cuda_kernels {

template <class K> struct convolution_halves {
  using T = typename K::scalar;
  static constexpr std::size_t shared_bytes =
      sizeof(T) * (6 * K::turns + static_cast<std::size_t>(2 * K::points + K::padded));
  /// Two, of which each has half of 227 KiB, unless registers do for one only.
  static constexpr int min_blocks = shared_bytes <= (std::size_t{112} << 10) && (K::min_blocks) >= 2 ? 2 : 1;
};

/// low + sign r high of x gate.
template <class K, class T>
__device__ __forceinline__ void load_factor(convolution_job<T> const& job, signal_place const& s, int thread,
                                            T sign, complex_pair<T> (&z)[K::per_thread]) {
  constexpr int E = K::per_thread, threads = K::threads_a_signal;
  T const root = sign * static_cast<T>(cosine_of_sixteenth(4));
#pragma unroll
  for (int i = 0; i < E; ++i) z[i] = {0, 0};
  if (!s.exists) return;
#pragma unroll
  for (int high = 0; high < 2; ++high) {
    index_t const n = thread + high * K::points;
    int const inside = positions_below(job.length, n, threads);
    auto x = walk_of(job.x, s, n, threads);
    auto const part = [&](complex_pair<T>& v) -> T& { return high == 0 ? v.re : v.im; };
#pragma unroll
    for (int i = 0; i < E; ++i) {
      T const& entry = x.next();
      if (i < inside) part(z[i]) = entry;
    }
    if (!job.gate.there) continue;
    auto gate = walk_of(job.gate, s, n, threads);
#pragma unroll
    for (int i = 0; i < E; ++i) {
      T const& entry = gate.next();
      if (i < inside) part(z[i]) *= entry;
    }
  }
#pragma unroll
  for (int i = 0; i < E; ++i) {
    T const high = root * z[i].im;
    z[i] = {z[i].re + high, high};
  }
}

/// y = gate conv(gate x) by transforms of 2 K::points points.
template <class K, class T>
__global__ void __launch_bounds__(K::threads, convolution_halves<K>::min_blocks)
    convolve_halves(convolution_job<T> const job) {
  constexpr int E = K::per_thread, threads = K::threads_a_signal;
  static_assert(K::lanes == 1 && K::groups == 1 && K::levels < static_cast<int>(K::turns));
  auto* const turns = shared_memory<complex_pair<T>>();
  complex_pair<T>* const kept = turns + 3 * K::turns;
  complex_pair<T>* const shared = kept + K::points;
  int const own = static_cast<int>(threadIdx.x);  // what this thread keeps, and the next E - 1 steps
  tile_place const at{own, 0, 0};
  unsigned row;
  signal_place const s = place_of_signal(job, blockIdx.x, 1u, 0u, row);
  if (own <= K::levels)
    for (unsigned factor = 0; factor < 3; ++factor)
      turns[factor * K::turns + threadIdx.x] =
          factor == 2 ? complex_pair<T>{1, 0} : root_of_unity<T>(1 + 4 * factor, 8u << own);
  expect_spectrum<K>(job, s, at.thread, 2 * K::points);
  __syncthreads();

  complex_pair<T> z[E];
#pragma unroll 1
  for (int pass = 0; pass < 4; ++pass) {
    int const factor = pass / 2;
    bool const back = pass % 2 == 1;
    if (back) {
      if (s.exists) {
        auto entry = walk_of<K>(job.spectrum, s, at.thread);
        entry.at += factor * job.spectrum.column;
#pragma unroll
        for (int i = 0; i < E; ++i) {
          complex_pair<T> const v = product(z[i], entry.next());
          z[i] = {v.re, -v.im};
        }
      }
    } else {
      load_factor<K>(job, s, at.thread, factor == 0 ? T(1) : T(-1), z);
    }
    transform<K, true>(z, at, reinterpret_cast<complex_pair<T> const*>(job.table),
                       turns + (back ? 2 : factor) * static_cast<int>(K::turns), shared);
    if (!back) continue;
    auto const root = static_cast<unsigned>(1 + 4 * factor);
    turn_back<E, log2_of(E) - 1>(z, 0,
                                 root_of_unity<T>(root * static_cast<unsigned>(at.thread), 8u * K::points),
                                 turns + factor * static_cast<int>(K::turns));
    if (factor == 0) {
#pragma unroll
      for (int i = 0; i < E; ++i) kept[own + i * K::threads] = z[i];
    }
  }

  if (!s.exists) return;
  T const root = static_cast<T>(cosine_of_sixteenth(4));
#pragma unroll
  for (int i = 0; i < E; ++i) {
    complex_pair<T> const first = kept[own + i * K::threads];
    z[i] = {first.re + z[i].re, root * ((first.re - z[i].re) + (first.im - z[i].im))};
  }
#pragma unroll
  for (int high = 0; high < 2; ++high) {
    index_t const n = at.thread + high * K::points;
    int const inside = positions_below(job.length, n, threads);
    auto y = walk_of(job.y[0], s, n, threads);
    if (!job.y_gate[0].there) {
#pragma unroll
      for (int i = 0; i < E; ++i) {
        T& entry = y.next();
        if (i < inside) entry = high == 0 ? z[i].re : z[i].im;
      }
      continue;
    }
    auto gate = walk_of(job.y_gate[0], s, n, threads);
#pragma unroll
    for (int i = 0; i < E; ++i) {
      T& entry = y.next();
      T const& by = gate.next();
      if (i < inside) entry = (high == 0 ? z[i].re : z[i].im) * by;
    }
  }
}

}  // namespace smx::cuda_kernels
