// SPDX-License-Identifier: Apache-2.0
/// \file  Reductions, softmax and norms of one contiguous row. Sums are formed in double, a vector at a time,
/// in an order that depends on the length only.
///
/// Widening costs two conversions a vector of floats and hides behind memory: 12.6 MB of floats are summed at
/// 38 (g++) to 76 GB/s (clang) by one core of a Zen 4, a layer norm of them reads and writes 18 to 26 GB/s.
#pragma once

#include <cmath>
#include <limits>

#include <smx/backend/concept.hpp>
#include <smx/backend/cpu/exp.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

namespace detail {

/// As many floats as there are doubles in a vector.
typedef float narrow_float __attribute__((vector_size(vector_bytes / 2)));
typedef float narrow_float_anywhere __attribute__((vector_size(vector_bytes / 2), aligned(4), may_alias));

/// A function of entries is written once, for a vector and for a single one: f(at) reads with at(p) and
/// writes with at(p, value).
struct vector_at {
  index_t i;
  SMX_INLINE vec<double> operator()(double const* p) const { return load(p + i); }
  SMX_INLINE vec<double> operator()(float const* p) const {
    return __builtin_convertvector(
        static_cast<narrow_float>(*reinterpret_cast<narrow_float_anywhere const*>(p + i)), vec<double>);
  }
  SMX_INLINE void operator()(double* p, vec<double> v) const { store(p + i, v); }
  SMX_INLINE void operator()(float* p, vec<double> v) const {
    *reinterpret_cast<narrow_float_anywhere*>(p + i) = __builtin_convertvector(v, narrow_float);
  }
};
struct scalar_at {
  index_t i;
  template <class T> SMX_INLINE double operator()(T const* p) const { return static_cast<double>(p[i]); }
  template <class T> SMX_INLINE void operator()(T* p, double v) const { p[i] = static_cast<T>(v); }
};

SMX_INLINE vec<double> where_nonzero(vec<double> test, vec<double> v) {
  return test != 0.0 ? v : vec<double>{};
}
SMX_INLINE double where_nonzero(double test, double v) { return test != 0.0 ? v : 0.0; }

template <class T> SMX_INLINE T horizontal_sum(vec<T> v) {
  T s = v[0];
  for (int i = 1; i < lanes<T>; ++i) s += v[i];
  return s;
}

}  // namespace detail

/// The sum of f over n entries.
template <class F> SMX_INLINE double sum_entries(index_t n, F const& f) {
  constexpr index_t step = lanes<double>;
  vec<double> s[4] = {};
  index_t i = 0;
  for (; i + 4 * step <= n; i += 4 * step) {
    SMX_UNROLL for (int u = 0; u < 4; ++u) s[u] += f(detail::vector_at{i + u * step});
  }
  for (; i + step <= n; i += step) s[0] += f(detail::vector_at{i});
  double sum = detail::horizontal_sum<double>((s[0] + s[1]) + (s[2] + s[3]));
  for (; i < n; ++i) sum += f(detail::scalar_at{i});
  return sum;
}

/// f for each of n entries.
template <class F> SMX_INLINE void each_entry(index_t n, F const& f) {
  constexpr index_t step = lanes<double>;
  index_t i = 0;
  for (; i + step <= n; i += step) f(detail::vector_at{i});
  for (; i < n; ++i) f(detail::scalar_at{i});
}

template <class T> double row_sum(index_t n, T const* x) {
  return sum_entries(n, [=](auto at) { return at(x); });
}

/// The largest entry that is not NaN; -inf if there is none.
template <class T> T row_max_number(index_t n, T const* x) {
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  vec<T> m[4] = {splat(lowest), splat(lowest), splat(lowest), splat(lowest)};
  index_t i = 0;
  for (; i + 4 * lanes<T> <= n; i += 4 * lanes<T>) {
    SMX_UNROLL for (int u = 0; u < 4; ++u) m[u] = vmax(load(x + i + u * lanes<T>), m[u]);
  }
  for (; i + lanes<T> <= n; i += lanes<T>) m[0] = vmax(load(x + i), m[0]);
  vec<T> const all = vmax(vmax(m[0], m[1]), vmax(m[2], m[3]));
  T top = lowest;
  for (int l = 0; l < lanes<T>; ++l) top = all[l] > top ? all[l] : top;
  for (; i < n; ++i) top = x[i] > top ? x[i] : top;
  return top;
}

/// The largest entry, NaN if one is NaN. n >= 1.
template <class T> T row_max(index_t n, T const* x) {
  vec<T> odd = {};  // x - x is 0 for numbers, NaN for NaN and for infinities, which the search then rules out
  index_t i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) {
    vec<T> const v = load(x + i);
    odd += v - v;
  }
  T rest = detail::horizontal_sum<T>(odd);
  for (; i < n; ++i) rest += x[i] - x[i];
  if (rest != rest)
    for (index_t j = 0; j < n; ++j)
      if (x[j] != x[j]) return x[j];
  return row_max_number(n, x);
}

/// y = exp(x - lse) over the entries that `seen` allows, 0 elsewhere, and lse; y may be x. `all`: every entry
/// is allowed. With no entry allowed, or all of them -inf, y = 0 and lse = -inf.
template <class T, class F> T softmax_row(index_t n, bool all, F const& seen, T const* x, T* y) {
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  if (!all) {
    for (index_t j = 0; j < n; ++j) y[j] = seen(j) ? x[j] : lowest;
    x = y;
  }
  T const top = row_max_number(n, x), shift = top == lowest ? T(0) : top;
  vec<double> s[2] = {};
  index_t i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) {
    store(y + i, exp(load(x + i) - shift));
    s[0] += detail::vector_at{i}(y);
    if constexpr (sizeof(T) == 4) s[1] += detail::vector_at{i + lanes<double>}(y);
  }
  if (i < n) {  // the last few, filled up with -inf
    part<T> const last(n - i);
    T few[lanes<T>];
    for (int l = 0; l < lanes<T>; ++l) few[l] = i + l < n ? x[i + l] : lowest;
    store(few, exp(load(few) - shift));
    s[0] += detail::vector_at{0}(few);
    if constexpr (sizeof(T) == 4) s[1] += detail::vector_at{lanes<double>}(few);
    store(y + i, load(few), last);
  }
  double const sum = detail::horizontal_sum<double>(s[0] + s[1]), scale = sum == 0.0 ? 0.0 : 1.0 / sum;
  each_entry(n, [=](auto at) { at(y, at(static_cast<T const*>(y)) * scale); });
  if (!all && sum != sum)
    for (index_t j = 0; j < n; ++j)
      if (!seen(j)) y[j] = T(0);
  return static_cast<T>(static_cast<double>(shift) + std::log(sum));
}

/// dx = y (dy - sum y dy), 0 where y is 0, whatever dy holds there; dx may be y or dy.
template <class T> void softmax_backward_row(index_t n, T const* y, T const* dy, T* dx) {
  double const dot = sum_entries(n, [=](auto at) { return detail::where_nonzero(at(y), at(y) * at(dy)); });
  each_entry(n, [=](auto at) { at(dx, detail::where_nonzero(at(y), at(y) * (at(dy) - dot))); });
}

/// y = (x - mean) scale gain + bias; y may be x, bias may be null.
template <class T>
void norm_row(norm_kind kind, double eps, index_t n, T const* x, T const* gain, T const* bias, T* y, T* mean,
              T* scale) {
  auto const count = static_cast<double>(n);
  double const center = kind == norm_kind::layer ? row_sum(n, x) / count : 0.0;
  double const square = sum_entries(n, [=](auto at) {
    auto const d = at(x) - center;
    return d * d;
  });
  double const factor = 1 / std::sqrt(square / count + eps);
  if (bias != nullptr)
    each_entry(n, [=](auto at) { at(y, (at(x) - center) * factor * at(gain) + at(bias)); });
  else
    each_entry(n, [=](auto at) { at(y, (at(x) - center) * factor * at(gain)); });
  *mean = static_cast<T>(center);
  *scale = static_cast<T>(factor);
}

/// dx = scale (g - avg(g) - h avg(g h)) with g = dy gain, h = (x - mean) scale; rms norm lacks the avg(g)
/// term. dx may be dy.
template <class T>
void norm_backward_row(norm_kind kind, index_t n, T const* x, T const* gain, T mean, T scale, T const* dy,
                       T* dx) {
  auto const center = static_cast<double>(mean), factor = static_cast<double>(scale);
  double const average =
      kind == norm_kind::layer
          ? sum_entries(n, [=](auto at) { return at(dy) * at(gain); }) / static_cast<double>(n)
          : 0.0;
  double const product = factor / static_cast<double>(n) *
                         sum_entries(n, [=](auto at) { return at(dy) * at(gain) * (at(x) - center); });
  double const slope = factor * product;
  each_entry(n, [=](auto at) { at(dx, (at(dy) * at(gain) - average - (at(x) - center) * slope) * factor); });
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
