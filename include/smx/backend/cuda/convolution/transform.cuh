// SPDX-License-Identifier: Apache-2.0
/// \file  X_J = sum_n x_n exp(2 pi i n (J + theta) / M) by one tile (see tile.hpp): a remainder tree in
/// registers.
///
/// A node t^(2h) - r splits into t^h - w and t^h + w, w^2 = r: low + w high and low - w high, the second as 2
/// low - first: 6 FMA for two points, 3 a point and level. Level l of a stage has 2^(l-1) nodes with w = b_l
/// exp(2 pi i N / 2^l), and those of the upper half of N are i times those of the lower: b_l and constants
/// give all of them, 1.3 operations a point and stage. b_l = exp(2 pi i theta / (below 2^l)), the same for a
/// block, times exp(2 pi i J / (below 2^l)), from a table computed in double.
///
/// The inverse is the same: conj(x_n) M = exp(2 pi i n theta / M) sum_J conj(X_J) exp(2 pi i n J / M).
#pragma once

#include <smx/backend/cuda/convolution/tile.hpp>
#include <smx/backend/cuda/launch.cuh>

namespace smx::cuda_kernels {

template <class T> struct alignas(2 * sizeof(T)) complex_pair { T re, im; };

template <class T>
__device__ __forceinline__ complex_pair<T> product(complex_pair<T> const& a, complex_pair<T> const& b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
/// a conj(b)
template <class T>
__device__ __forceinline__ complex_pair<T> product_conjugate(complex_pair<T> const& a,
                                                             complex_pair<T> const& b) {
  return {a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im};
}

/// 2 a - s in one instruction; compilers make two additions of the product.
__device__ __forceinline__ float twice_less(float a, float s) { return fmaf(2.0f, a, -s); }
__device__ __forceinline__ double twice_less(double a, double s) { return fma(2.0, a, -s); }

inline __device__ void sine_cosine_of_pi(float x, float& s, float& c) { sincospif(x, &s, &c); }
inline __device__ void sine_cosine_of_pi(double x, double& s, double& c) { sincospi(x, &s, &c); }

/// exp(2 pi i n / of), of a power of two: the argument is exact while n < 2^24.
template <class T> __device__ complex_pair<T> root_of_unity(unsigned n, unsigned of) {
  complex_pair<T> w;
  sine_cosine_of_pi(static_cast<T>(n) * (T(2) / static_cast<T>(of)), w.im, w.re);
  return w;
}

/// The lowest `bits` <= 5 bits of v, the other way round. No loop: the compiler must know register numbers
/// early.
SMX_HD constexpr int reversed_bits(int v, int bits) {
  return ((v & 1) << 4 | (v & 2) << 2 | (v & 4) | (v & 8) >> 2 | (v & 16) >> 4) >> (5 - bits);
}

/// cos(pi k / 16), k = 0 .. 8
SMX_HD constexpr double cosine_of_sixteenth(int k) {
  constexpr double of[9] = {1.0,
                            0.98078528040323044912618223613423903,
                            0.92387953251128675612818318939678828,
                            0.83146961230254523707878837761790575,
                            0.70710678118654752440084436210484904,
                            0.55557023301960222474283081394853287,
                            0.38268343236508977172845998403039886,
                            0.19509032201612826784828486847702224,
                            0.0};
  return of[k];
}

/// (a, b) := (a + w b, a - w b)
template <class T>
__device__ __forceinline__ void split_pair(complex_pair<T>& a, complex_pair<T>& b, complex_pair<T> const& w) {
  complex_pair<T> const s = {a.re + w.re * b.re - w.im * b.im, a.im + w.re * b.im + w.im * b.re};
  b = {twice_less(a.re, s.re), twice_less(a.im, s.im)};
  a = s;
}
/// (a, b) := (a + i w b, a - i w b)
template <class T>
__device__ __forceinline__ void split_pair_turned(complex_pair<T>& a, complex_pair<T>& b,
                                                  complex_pair<T> const& w) {
  complex_pair<T> const s = {a.re - w.re * b.im - w.im * b.re, a.im + w.re * b.re - w.im * b.im};
  b = {twice_less(a.re, s.re), twice_less(a.im, s.im)};
  a = s;
}

/// Level Level and those below of a stage on the points q, q + Stride, ...: block p is at p Stride + q, child
/// j afterwards where the bits of j, reversed, are. Reversed: registers are numbered by reversed bits, so
/// that child j is in register j.
template <int Radix, int Stride, bool Reversed, int Level = 1, class T, int N>
__device__ __forceinline__ void split_levels(complex_pair<T> (&z)[N], int q, complex_pair<T> const (&b)[6]) {
  constexpr int half = Radix >> Level, nodes = 1 << (Level - 1), bits = log2_of(Radix);
  auto const at = [q](int v) { return Reversed ? reversed_bits(v, bits) : v * Stride + q; };
#pragma unroll
  for (int n = 0; n < (nodes < 2 ? 1 : nodes / 2); ++n) {
    complex_pair<T> w = b[Level];
    if (n > 0) {
      int const k = n << (5 - Level);
      w = product(w, {static_cast<T>(cosine_of_sixteenth(k)), static_cast<T>(cosine_of_sixteenth(8 - k))});
    }
    int const node = reversed_bits(n, Level - 1) * 2 * half;
#pragma unroll
    for (int p = 0; p < half; ++p) {
      split_pair(z[at(node + p)], z[at(node + p + half)], w);
      // node n + nodes / 2: its reversed bits differ in the last one
      if constexpr (nodes > 1) split_pair_turned(z[at(node + 2 * half + p)], z[at(node + 3 * half + p)], w);
    }
  }
  if constexpr (half > 1) split_levels<Radix, Stride, Reversed, Level + 1>(z, q, b);
}

/// Where a thread stands in its block.
struct tile_place {
  int thread;  ///< of its signal
  int lane;
  int group;
};

/// Waits for the threads of the signals that share this thread's memory: those of one warp where a signal has
/// no others.
template <class K> __device__ __forceinline__ void wait_for_signal() {
  if constexpr (K::lanes == 1 && K::threads_a_signal == 32)
    __syncwarp();
  else
    __syncthreads();
}

/// b_l of a stage for this thread's node.
template <class K, int Stage, class T>
__device__ __forceinline__ void stage_roots(complex_pair<T> (&b)[6], tile_place const& at,
                                            complex_pair<T> const* table, complex_pair<T> const* turns) {
  constexpr int below = K::below(Stage), levels = log2_of(K::radix(Stage)), levels_below = log2_of(below),
                start = K::table(Stage);
#pragma unroll
  for (int l = 1; l <= levels; ++l) {
    b[l] = turns[levels_below + l];
    if constexpr (Stage > 0) b[l] = product(b[l], table[start + (l - 1) * below + at.thread % below]);
  }
}

/// Between stage Stage and the next: every point to the thread that takes it next. Halved: real parts, then
/// imaginary parts, in half the memory. b: the roots of the next stage, asked for before the barrier.
template <class K, int Stage, bool Halved, class T>
__device__ __forceinline__ void exchange(complex_pair<T> (&z)[K::per_thread], tile_place const& at,
                                         complex_pair<T> const* table, complex_pair<T> const* turns,
                                         complex_pair<T>* shared, complex_pair<T> (&b)[6]) {
  constexpr int E = K::per_thread, R = K::radix(Stage), D = K::below(Stage), stride = E / R,
                threads = K::threads_a_signal, bits = log2_of(R), all_bits = log2_of(E);
  constexpr bool reversed = Stage + 2 == K::stages;
  int const t = at.thread, to = t / D * D * R + t % D, signal = at.group * K::padded * K::lanes + at.lane,
            put = signal + (to + to / E) * K::lanes, get = signal + (t + t / E) * K::lanes;
  auto const move = [&](auto* memory, auto const& part, bool with_roots) {
    wait_for_signal<K>();  // what the stage before, or another transform, left has been read
#pragma unroll
    for (int q = 0; q < stride; ++q)
#pragma unroll
      for (int j = 0; j < R; ++j)
        memory[put + (q * (threads * R + threads * R / E) + j * (D + D / E)) * K::lanes] =
            part(z[reversed_bits(j, bits) * stride + q]);
    if (with_roots) stage_roots<K, Stage + 1>(b, at, table, turns);
    wait_for_signal<K>();
#pragma unroll
    for (int i = 0; i < E; ++i)
      part(z[reversed ? reversed_bits(i, all_bits) : i]) =
          memory[get + i * (threads + threads / E) * K::lanes];
  };
  if constexpr (Halved) {
    move(
        reinterpret_cast<T*>(shared), [](complex_pair<T>& v) -> T& { return v.re; }, false);
    move(
        reinterpret_cast<T*>(shared), [](complex_pair<T>& v) -> T& { return v.im; }, true);
  } else {
    move(
        shared, [](complex_pair<T>& v) -> complex_pair<T>& { return v; }, true);
  }
}

/// z[i] is point t + i Threads before and residue J = t + i Threads after. `turns`: exp(2 pi i theta / 2^l).
/// Every thread of the block calls it; `shared` may be read until its first barrier.
template <class K, bool Halved, int Stage = 0, class T>
__device__ __forceinline__ void transform_from(complex_pair<T> (&z)[K::per_thread], tile_place const& at,
                                               complex_pair<T> const* table, complex_pair<T> const* turns,
                                               complex_pair<T>* shared, complex_pair<T> (&b)[6]) {
  constexpr int E = K::per_thread, R = K::radix(Stage), stride = E / R, bits = log2_of(E);
  constexpr bool last = Stage + 1 == K::stages;
#pragma unroll
  for (int q = 0; q < stride; ++q) split_levels<R, stride, last && Stage != 0>(z, q, b);
  if constexpr (!last) {
    exchange<K, Stage, Halved>(z, at, table, turns, shared, b);
    transform_from<K, Halved, Stage + 1>(z, at, table, turns, shared, b);
  } else if constexpr (Stage == 0) {
#pragma unroll
    for (int i = 0; i < E; ++i) {
      int const j = reversed_bits(i, bits);
      if (j <= i) continue;
      complex_pair<T> const keep = z[i];
      z[i] = z[j];
      z[j] = keep;
    }
  }
}

/// As above, from the first stage.
template <class K, bool Halved = false, class T>
__device__ __forceinline__ void transform(complex_pair<T> (&z)[K::per_thread], tile_place const& at,
                                          complex_pair<T> const* table, complex_pair<T> const* turns,
                                          complex_pair<T>* shared) {
  complex_pair<T> b[6];
  stage_roots<K, 0>(b, at, table, turns);
  transform_from<K, Halved>(z, at, table, turns, shared, b);
}

/// exp(2 pi i n theta / M), n = t + i Threads, times z[i], conjugated: the end of an inverse. `w` is that of
/// i = 0, turns as above.
template <int E, int Bit, class T>
__device__ __forceinline__ void turn_back(complex_pair<T> (&z)[E], int i, complex_pair<T> const& w,
                                          complex_pair<T> const* turns) {
  if constexpr (Bit < 0) {
    complex_pair<T> const v = product(z[i], w);
    z[i] = {v.re, -v.im};
  } else {
    constexpr int level = log2_of(E) - Bit;
    turn_back<E, Bit - 1>(z, i, w, turns);
    turn_back<E, Bit - 1>(z, i + (1 << Bit), product(w, turns[level]), turns);
  }
}

}  // namespace smx::cuda_kernels
