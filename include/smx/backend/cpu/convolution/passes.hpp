// SPDX-License-Identifier: Apache-2.0
/// \file  Rows of butterflies: the only functions of the transform that do arithmetic on many points.
///
/// Each is a function of its own, called for 4 to 64 butterflies: whole tree levels are made of calls, so
/// that the number of instantiations grows with the number of radices and not with the number of their
/// combinations.
#pragma once

#include <type_traits>

#include <smx/backend/cpu/convolution/dft.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Butterfly q takes its leg p from in[p*leg + q*next] and leaves it at out[p*out_leg + q*out_next] (in
/// elements of the pointers' types); its constants begin at w + q*w_next.
struct butterflies {
  index_t leg, next, out_leg, out_next, w_next, count;
};

/// Down the tree: constants, then the transform. In is vec<T> for a real signal: half of the products.
template <int R, class In, class T>
[[gnu::noinline]] void split_row(In const* in, cvec<T>* out, T const* w, butterflies const b) {
  SMX_ROLLED
  for (index_t q = 0; q < b.count; ++q, in += b.next, out += b.out_next, w += b.w_next) {
    cvec<T> a[R];
    if constexpr (std::is_same_v<In, cvec<T>>) {
      SMX_UNROLL
      for (int p = 0; p < R; ++p) a[p] = in[p * b.leg];
      twiddle<1>(a, w);
    } else {
      a[0] = {in[0], vec<T>{}};
      SMX_UNROLL
      for (int p = 1; p < R; ++p) a[p] = {in[p * b.leg] * w[2 * p - 2], in[p * b.leg] * w[2 * p - 1]};
    }
    dft<1>(a);
    SMX_UNROLL
    for (int p = 0; p < R; ++p) out[p * b.out_leg] = a[p];
  }
}

/// Back up: the transform, then the conjugate constants. (The factor 1/R is in the kernel.) Out is vec<T>
/// where only the real part of the result is wanted.
template <int R, class Out, class T>
[[gnu::noinline]] void merge_row(cvec<T> const* in, Out* out, T const* w, butterflies const b) {
  SMX_ROLLED
  for (index_t q = 0; q < b.count; ++q, in += b.next, out += b.out_next, w += b.w_next) {
    cvec<T> a[R];
    SMX_UNROLL
    for (int p = 0; p < R; ++p) a[p] = in[p * b.leg];
    dft<-1>(a);
    twiddle<-1>(a, w);
    SMX_UNROLL
    for (int p = 0; p < R; ++p) {
      if constexpr (std::is_same_v<Out, cvec<T>>)
        out[p * b.out_leg] = a[p];
      else
        out[p * b.out_leg] = a[p].re;
    }
  }
}

template <class In, class T>
void split_row(int radix, In const* in, cvec<T>* out, T const* w, butterflies const& b) {
  switch (radix) {
    case 2:
      return split_row<2>(in, out, w, b);
    case 3:
      return split_row<3>(in, out, w, b);
    case 4:
      return split_row<4>(in, out, w, b);
    case 5:
      return split_row<5>(in, out, w, b);
    default:
      return split_row<8>(in, out, w, b);
  }
}
template <class Out, class T>
void merge_row(int radix, cvec<T> const* in, Out* out, T const* w, butterflies const& b) {
  switch (radix) {
    case 2:
      return merge_row<2>(in, out, w, b);
    case 3:
      return merge_row<3>(in, out, w, b);
    case 4:
      return merge_row<4>(in, out, w, b);
    case 5:
      return merge_row<5>(in, out, w, b);
    default:
      return merge_row<8>(in, out, w, b);
  }
}

/// The spectrum is the one array that every walk reads from memory: it is asked for two leaves (16 KB) ahead.
/// Without that a convolution of 4096 points takes twice as long: no hardware prefetcher follows it across
/// the leaves.
template <class T> SMX_INLINE void prefetch_points(cvec<T> const* spectrum) {
  constexpr index_t ahead = 128, line = 64;
  char const* const p = reinterpret_cast<char const*>(spectrum + ahead);
  SMX_UNROLL
  for (index_t i = 0; i < index_t(8 * sizeof(cvec<T>)); i += line) __builtin_prefetch(p + i, 0, 2);
}

/// Eight points at a time down to the roots, times the spectrum (or its conjugate), and back, without leaving
/// the registers. w: 14 numbers for each group of eight.
template <bool Conjugate, class T>
[[gnu::noinline]] void convolve_roots(cvec<T>* x, cvec<T> const* spectrum, T const* w, index_t groups) {
  SMX_ROLLED
  for (index_t g = 0; g < groups; ++g, x += 8, spectrum += 8, w += 14) {
    cvec<T> a[8];
    SMX_UNROLL
    for (int p = 0; p < 8; ++p) a[p] = x[p];
    twiddle<1>(a, w);
    dft<1>(a);
    prefetch_points(spectrum);
    SMX_UNROLL
    for (int p = 0; p < 8; ++p) a[p] = product<Conjugate>(a[p], spectrum[p]);
    dft<-1>(a);
    twiddle<-1>(a, w);
    SMX_UNROLL
    for (int p = 0; p < 8; ++p) x[p] = a[p];
  }
}

/// What happens to the residues C, W of two signals and K of the kernel, besides C conj(K).
struct adjoint_options {
  bool again = false;      ///< W K is wanted too
  bool correlate = false;  ///< the sum of C conj(W) over calls is wanted
  bool first = true;       ///< of the calls: the sum begins
  bool last = true;        ///< the sum is finished: it goes up the tree instead of back to memory
};

/// Eight points at a time of two signals down to the roots, and back up one level: x := C conj(K) for x of C;
/// for y = x + pitch, of W, y := W K if wanted; x + 2 pitch := the finished sum. Between calls the sum is in
/// `sum`.
template <class T>
[[gnu::noinline]] void adjoint_roots(cvec<T>* x, index_t pitch, cvec<T> const* spectrum, cvec<T>* sum,
                                     T const* w, index_t groups, adjoint_options const& job) {
  auto const down = [](cvec<T>(&a)[8], cvec<T> const* from, T const* v) {
    SMX_UNROLL
    for (int p = 0; p < 8; ++p) a[p] = from[p];
    twiddle<1>(a, v);
    dft<1>(a);
  };
  auto const up = [](cvec<T>(&a)[8], cvec<T>* to, T const* v) {
    dft<-1>(a);
    twiddle<-1>(a, v);
    SMX_UNROLL
    for (int p = 0; p < 8; ++p) to[p] = a[p];
  };
  cvec<T>*y = x + pitch, *z = y + pitch;
  SMX_ROLLED
  for (index_t g = 0; g < groups; ++g, x += 8, y += 8, z += 8, spectrum += 8, w += 14) {
    cvec<T> a[8], c[8], v[8];
    prefetch_points(spectrum);
    down(v, y, w);
    down(c, x, w);
    SMX_UNROLL
    for (int p = 0; p < 8; ++p) a[p] = product<true>(c[p], spectrum[p]);
    up(a, x, w);
    if (job.correlate) {
      SMX_UNROLL
      for (int p = 0; p < 8; ++p) a[p] = product<true>(c[p], v[p]);
      if (!job.first) {
        SMX_UNROLL
        for (int p = 0; p < 8; ++p) a[p] = a[p] + sum[8 * g + p];
      }
      if (job.last) {
        up(a, z, w);
      } else {
        SMX_UNROLL
        for (int p = 0; p < 8; ++p) sum[8 * g + p] = a[p];
      }
    }
    if (job.again) {
      SMX_UNROLL
      for (int p = 0; p < 8; ++p) a[p] = product<false>(v[p], spectrum[p]);
      up(a, y, w);
    }
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
