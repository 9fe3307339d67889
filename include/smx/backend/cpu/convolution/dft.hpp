// SPDX-License-Identifier: Apache-2.0
/// \file  Transforms of 2, 3, 4, 5 or 8 complex numbers, one per lane, held in registers:
///        X_j = sum_p a_p exp(S 2 pi i j p / R), natural order in and out; S = +1 going down the tree, -1
///        coming back.
///
/// One lane is one channel, so every constant is a scalar and nothing is ever shuffled.
/// Radix 8 costs 52 additions and 12 products, 8 of which fuse.
#pragma once

#include <smx/backend/cpu/simd.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// lanes<T> complex numbers: two whole vectors side by side.
template <class T> struct cvec { vec<T> re, im; };

template <class T> SMX_INLINE cvec<T> operator+(cvec<T> const& a, cvec<T> const& b) {
  return {a.re + b.re, a.im + b.im};
}
template <class T> SMX_INLINE cvec<T> operator-(cvec<T> const& a, cvec<T> const& b) {
  return {a.re - b.re, a.im - b.im};
}

/// a * b, or a * conj(b).
template <bool Conjugate, class T> SMX_INLINE cvec<T> product(cvec<T> const& a, cvec<T> const& b) {
  if constexpr (Conjugate)
    return {a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im};
  else
    return {a.re * b.re - a.im * b.im, a.im * b.re + a.re * b.im};
}

/// a + S i b, spelled so that no negation is left over.
template <int S, class T> SMX_INLINE cvec<T> add_i(cvec<T> const& a, cvec<T> const& b) {
  if constexpr (S > 0)
    return {a.re - b.im, a.im + b.re};
  else
    return {a.re + b.im, a.im - b.re};
}

template <int S, class T> SMX_INLINE void dft(cvec<T> (&a)[2]) {
  cvec<T> const t = a[1];
  a[1] = a[0] - t;
  a[0] = a[0] + t;
}

template <int S, class T> SMX_INLINE void dft(cvec<T> (&a)[3]) {
  constexpr T half = T(0.5), s = T(0.866025403784438646763723170752936183L);
  cvec<T> const t = a[1] + a[2], d = a[1] - a[2];
  cvec<T> const m = {a[0].re - half * t.re, a[0].im - half * t.im}, e = {s * d.re, s * d.im};
  a[0] = a[0] + t;
  a[1] = add_i<S>(m, e);
  a[2] = add_i<-S>(m, e);
}

template <int S, class T> SMX_INLINE void dft(cvec<T> (&a)[4]) {
  cvec<T> const s0 = a[0] + a[2], d0 = a[0] - a[2], s1 = a[1] + a[3], d1 = a[1] - a[3];
  a[0] = s0 + s1;
  a[1] = add_i<S>(d0, d1);
  a[2] = s0 - s1;
  a[3] = add_i<-S>(d0, d1);
}

template <int S, class T> SMX_INLINE void dft(cvec<T> (&a)[5]) {
  constexpr T c1 = T(0.309016994374947424102293417182819059L),
              c2 = T(-0.809016994374947424102293417182819059L);
  constexpr T s1 = T(0.951056516295153572116439333379382143L),
              s2 = T(0.587785252292473129168705954639072769L);
  cvec<T> const t1 = a[1] + a[4], d1 = a[1] - a[4], t2 = a[2] + a[3], d2 = a[2] - a[3];
  cvec<T> const p1 = {a[0].re + c1 * t1.re + c2 * t2.re, a[0].im + c1 * t1.im + c2 * t2.im};
  cvec<T> const p2 = {a[0].re + c2 * t1.re + c1 * t2.re, a[0].im + c2 * t1.im + c1 * t2.im};
  cvec<T> const q1 = {s1 * d1.re + s2 * d2.re, s1 * d1.im + s2 * d2.im};
  cvec<T> const q2 = {s2 * d1.re - s1 * d2.re, s2 * d1.im - s1 * d2.im};
  a[0] = a[0] + t1 + t2;
  a[1] = add_i<S>(p1, q1);
  a[2] = add_i<S>(p2, q2);
  a[3] = add_i<-S>(p2, q2);
  a[4] = add_i<-S>(p1, q1);
}

/// The rotations by 45 degrees are c * (x +- y), added to or taken from the other operand: both uses fuse.
template <int S, class T> SMX_INLINE void dft(cvec<T> (&a)[8]) {
  constexpr T c = T(0.707106781186547524400844362104849039L);
  cvec<T> e[4] = {a[0], a[2], a[4], a[6]}, o[4] = {a[1], a[3], a[5], a[7]};
  dft<S>(e);
  dft<S>(o);
  vec<T> const p1 = o[1].re + o[1].im, m1 = o[1].re - o[1].im;
  vec<T> const p3 = o[3].re + o[3].im, m3 = o[3].re - o[3].im;
  a[0] = e[0] + o[0];
  a[4] = e[0] - o[0];
  a[2] = add_i<S>(e[2], o[2]);
  a[6] = add_i<-S>(e[2], o[2]);
  if constexpr (S > 0) {
    a[1] = {e[1].re + c * m1, e[1].im + c * p1};
    a[5] = {e[1].re - c * m1, e[1].im - c * p1};
    a[3] = {e[3].re - c * p3, e[3].im + c * m3};
    a[7] = {e[3].re + c * p3, e[3].im - c * m3};
  } else {
    a[1] = {e[1].re + c * p1, e[1].im - c * m1};
    a[5] = {e[1].re - c * p1, e[1].im + c * m1};
    a[3] = {e[3].re - c * m3, e[3].im - c * p3};
    a[7] = {e[3].re + c * m3, e[3].im + c * p3};
  }
}

/// a_p *= w_p (S > 0) or conj(w_p), p = 1 .. R-1; w holds R-1 pairs (cos, sin).
template <int S, int R, class T> SMX_INLINE void twiddle(cvec<T> (&a)[R], T const* w) {
  SMX_UNROLL
  for (int p = 1; p < R; ++p) {
    T const c = w[2 * p - 2], s = w[2 * p - 1];
    cvec<T> const x = a[p];
    if constexpr (S > 0)
      a[p] = {x.re * c - x.im * s, x.im * c + x.re * s};
    else
      a[p] = {x.re * c + x.im * s, x.im * c - x.re * s};
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
