// SPDX-License-Identifier: Apache-2.0
/// \file  Vectors of float or double as wide as the target has them: AVX-512, AVX2, or 16 bytes (SSE2, NEON).
///
/// GCC/Clang vector extensions give one source for every width; intrinsics remain only for masked and
/// cache-bypassing accesses. The instruction set is part of the namespace: translation units built with
/// different -m flags get different symbols instead of silently merged ones.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#include <smx/core/config.hpp>
#include <smx/core/dtype.hpp>
#include <smx/core/extents.hpp>

/// What a translation unit computes with: the instruction set, and whether large products go to a BLAS.
#if defined(__AVX512F__) && defined(__AVX512DQ__)
#if defined(SMX_WITH_BLAS)
#define SMX_CPU_ABI avx512_blas
#else
#define SMX_CPU_ABI avx512
#endif
#elif defined(__AVX2__) && defined(__FMA__)
#if defined(SMX_WITH_BLAS)
#define SMX_CPU_ABI avx2_blas
#else
#define SMX_CPU_ABI avx2
#endif
#elif defined(SMX_WITH_BLAS)
#define SMX_CPU_ABI baseline_blas
#else
#define SMX_CPU_ABI baseline
#endif

/// Loops over registers must vanish; the k loop of a register tile must not be unrolled (it would run out of
/// registers).
#define SMX_UNROLL _Pragma("GCC unroll 32")
#if defined(__clang__)
#define SMX_ROLLED _Pragma("clang loop unroll(disable) vectorize(disable)")
#else
#define SMX_ROLLED _Pragma("GCC unroll 1")
#endif

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

#if defined(__AVX512F__) && defined(__AVX512DQ__)
inline constexpr int vector_bytes = 64;
inline constexpr int vector_registers = 32;
#elif defined(__AVX2__) && defined(__FMA__)
inline constexpr int vector_bytes = 32;
inline constexpr int vector_registers = 16;
#else
inline constexpr int vector_bytes = 16;
inline constexpr int vector_registers = 16;
#endif

/// Entries of T in one vector.
template <class T> inline constexpr int lanes = vector_bytes / static_cast<int>(sizeof(T));

namespace detail {
template <class T> struct vector_of {
  using integer = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  typedef T type __attribute__((vector_size(vector_bytes)));
  typedef T anywhere __attribute__((vector_size(vector_bytes), aligned(alignof(T)), may_alias));
  typedef integer integers __attribute__((vector_size(vector_bytes)));
};
}  // namespace detail

template <class T> using vec = typename detail::vector_of<T>::type;       ///< lanes<T> entries
template <class T> using ivec = typename detail::vector_of<T>::integers;  ///< integers of the same width

template <class T> SMX_INLINE vec<T> load(T const* p) {
  return *reinterpret_cast<typename detail::vector_of<T>::anywhere const*>(p);
}
template <class T> SMX_INLINE void store(T* p, vec<std::type_identity_t<T>> v) {
  *reinterpret_cast<typename detail::vector_of<T>::anywhere*>(p) = v;
}
/// s - 0 is exact, also for s = -0, and folds to a broadcast.
template <class T> SMX_INLINE vec<T> splat(T s) { return s - vec<T>{}; }

/// "This value is in a register": keeps g++ from turning a vector that several FMAs share into a memory
/// operand of each.
template <class V> SMX_INLINE void pin(V& v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__SSE__)
  asm("" : "+x"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#else
  (void)v;
#endif
}
template <class T> SMX_INLINE void pin(T const*& p) { asm("" : "+r"(p)); }

/// A store that neither reads the line first nor leaves it in the caches. p must be a multiple of the vector.
/// Call settle_stores() before another thread may read.
template <class T> SMX_INLINE void store_past_cache(T* p, vec<std::type_identity_t<T>> v) {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  if constexpr (sizeof(T) == 4)
    _mm512_stream_ps(p, reinterpret_cast<__m512>(v));
  else
    _mm512_stream_pd(p, reinterpret_cast<__m512d>(v));
#elif defined(__AVX2__) && defined(__FMA__)
  if constexpr (sizeof(T) == 4)
    _mm256_stream_ps(p, reinterpret_cast<__m256>(v));
  else
    _mm256_stream_pd(p, reinterpret_cast<__m256d>(v));
#else
  store(p, v);
#endif
}
/// Orders stores past the cache before what follows.
SMX_INLINE void settle_stores() {
#if defined(__AVX__)
  _mm_sfence();
#endif
}

/// The first n (0 < n < lanes) entries of a vector: the last columns of a matrix.
template <class T> struct part {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  std::conditional_t<sizeof(T) == 4, __mmask16, __mmask8> mask{};
  part() = default;
  explicit part(index_t n) : mask(static_cast<decltype(mask)>((1u << n) - 1u)) {}
#elif defined(__AVX2__) && defined(__FMA__)
  __m256i mask{};
  part() = default;
  explicit part(index_t n) {
    using integer = typename detail::vector_of<T>::integer;
    alignas(32) integer t[lanes<T>];
    for (int i = 0; i < lanes<T>; ++i) t[i] = i < n ? integer(-1) : integer(0);
    mask = _mm256_load_si256(reinterpret_cast<__m256i const*>(t));
  }
#else
  index_t count{};
  part() = default;
  explicit part(index_t n) : count(n) {}
#endif
};

template <class T> SMX_INLINE vec<T> load(T const* p, part<T> const& q) {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  if constexpr (sizeof(T) == 4)
    return reinterpret_cast<vec<T>>(_mm512_maskz_loadu_ps(q.mask, p));
  else
    return reinterpret_cast<vec<T>>(_mm512_maskz_loadu_pd(q.mask, p));
#elif defined(__AVX2__) && defined(__FMA__)
  if constexpr (sizeof(T) == 4)
    return reinterpret_cast<vec<T>>(_mm256_maskload_ps(p, q.mask));
  else
    return reinterpret_cast<vec<T>>(_mm256_maskload_pd(p, q.mask));
#else
  vec<T> v{};
  for (index_t i = 0; i < lanes<T>; ++i)
    if (i < q.count) v[i] = p[i];
  return v;
#endif
}
template <class T> SMX_INLINE void store(T* p, vec<std::type_identity_t<T>> v, part<T> const& q) {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  if constexpr (sizeof(T) == 4)
    _mm512_mask_storeu_ps(p, q.mask, reinterpret_cast<__m512>(v));
  else
    _mm512_mask_storeu_pd(p, q.mask, reinterpret_cast<__m512d>(v));
#elif defined(__AVX2__) && defined(__FMA__)
  if constexpr (sizeof(T) == 4)
    _mm256_maskstore_ps(p, q.mask, reinterpret_cast<__m256>(v));
  else
    _mm256_maskstore_pd(p, q.mask, reinterpret_cast<__m256d>(v));
#else
  for (index_t i = 0; i < lanes<T>; ++i)
    if (i < q.count) p[i] = v[i];
#endif
}

/// Entry by entry a > b ? a : b; b where a or b is NaN. (One instruction; g++ makes a comparison and a blend
/// of the expression when an operand is a constant; its unmasked 512-bit intrinsic warns of its own undefined
/// operand.)
template <class V> SMX_INLINE V vmax(V a, V b) {
  constexpr bool single = std::is_same_v<std::remove_cvref_t<decltype(a[0])>, float>;
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  if constexpr (single)
    return reinterpret_cast<V>(
        _mm512_maskz_max_ps(0xffff, reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
  else
    return reinterpret_cast<V>(
        _mm512_maskz_max_pd(0xff, reinterpret_cast<__m512d>(a), reinterpret_cast<__m512d>(b)));
#elif defined(__AVX2__) && defined(__FMA__)
  if constexpr (single)
    return reinterpret_cast<V>(_mm256_max_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b)));
  else
    return reinterpret_cast<V>(_mm256_max_pd(reinterpret_cast<__m256d>(a), reinterpret_cast<__m256d>(b)));
#else
  (void)single;
  return a > b ? a : b;
#endif
}
/// Entry by entry a < b ? a : b; b where a or b is NaN.
template <class V> SMX_INLINE V vmin(V a, V b) {
  constexpr bool single = std::is_same_v<std::remove_cvref_t<decltype(a[0])>, float>;
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  if constexpr (single)
    return reinterpret_cast<V>(
        _mm512_maskz_min_ps(0xffff, reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
  else
    return reinterpret_cast<V>(
        _mm512_maskz_min_pd(0xff, reinterpret_cast<__m512d>(a), reinterpret_cast<__m512d>(b)));
#elif defined(__AVX2__) && defined(__FMA__)
  if constexpr (single)
    return reinterpret_cast<V>(_mm256_min_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b)));
  else
    return reinterpret_cast<V>(_mm256_min_pd(reinterpret_cast<__m256d>(a), reinterpret_cast<__m256d>(b)));
#else
  (void)single;
  return a < b ? a : b;
#endif
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
