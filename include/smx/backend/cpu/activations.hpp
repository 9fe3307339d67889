// SPDX-License-Identifier: Apache-2.0
/// \file  Activations, their derivatives, sine and cosine of vectors: what `map` runs for these function
/// objects instead of a call of the C library for each entry (10 to 20 ns for erfc).
///
/// Errors in units of the last place, where the result is a normal number: sigmoid, tanh, silu, sine, cosine
/// 4, gelu 5; d_silu 4 and d_gelu 5 of the largest of their terms; gelu_tanh 4 + 4 |z| below 0, z =
/// sqrt(2 / pi) (x + 0.044715 x^3), whose rounding is in an exponent. NaN stays NaN; infinities give what the
/// function objects give. exp flushes what is not normal (see exp.hpp), and so do these.
///
/// gelu: with a = |x|, Phi(-a) = e^(-a^2/2) s P((a - k) s), s = 1 / (a + k): P is a polynomial that
/// interpolates (a + k) Phi(-a) e^(a^2/2) at Chebyshev nodes, relative error 5.8e-9 (float) and 1.1e-18
/// (double); after M. Shepherd and J. Laframboise, Math. Comp. 1981. a^2 is split in two parts, of which the
/// first is exact.
#pragma once

#include <cmath>
#include <concepts>
#include <type_traits>

#include <smx/backend/cpu/exp.hpp>
#include <smx/core/functors.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

namespace detail {

template <class V> using entry_of = std::remove_cvref_t<decltype(V{}[0])>;

template <class T> struct normal_constants;
template <> struct normal_constants<float> {
  static constexpr float k = 2.5f, beyond = 15.f;
  static constexpr int low_bits = 12;
  static constexpr float p[12] = {3.976762182e-05f, 2.839967375e-05f, -2.404069933e-04f, -3.630270201e-04f,
                                  7.471134691e-04f, 2.555195089e-03f, -1.622116368e-03f, -1.639365751e-02f,
                                  9.238924366e-03f, 1.319875752e-01f, -4.336921384e-01f, 7.066566528e-01f};
};
template <> struct normal_constants<double> {
  static constexpr double k = 2.5, beyond = 40.;
  static constexpr int low_bits = 27;
  static constexpr double p[30] = {
      1.33414223483181271e-09,  1.87690721342293631e-09,  -9.53172866202519865e-09, -1.78355674675865185e-08,
      2.15839485632624838e-08,  6.85076435528628606e-08,  1.75913240879026896e-08,  -1.01096124563705039e-07,
      -1.74060437894802543e-07, -1.47725210949175434e-07, 1.29706279917193179e-07,  8.03861482689812385e-07,
      1.30293776933565602e-06,  -1.48495292476101977e-08, -4.39392347609441750e-06, -8.53345255841219225e-06,
      -8.55348573438881868e-07, 2.94738788139547612e-05,  5.64188715314213528e-05,  -1.82380007464990884e-05,
      -2.62543485148959102e-04, -3.24223525972785131e-04, 7.59201764992224553e-04,  2.53815854749465551e-03,
      -1.62501000925940496e-03, -1.63900253912797091e-02, 9.23917461633655401e-03,  1.31987278502487371e-01,
      -4.33692141846983570e-01, 7.06656656902876601e-01};
};

/// pi in parts: products with integers up to 2^11 (float) or 2^22 (double) are exact but for the last one;
/// (sin r - r) / r^3 in r^2 for |r| <= pi / 2: error 9e-11 and 1e-18.
template <class T> struct wave_constants;
template <> struct wave_constants<float> {
  static constexpr float inverse_pi = 0.318309886f, round = 12582912.f, beyond = 6000.f;
  static constexpr float pi[4] = {3.140625f, 9.67502593994140625e-4f, 1.50990672409534454e-7f,
                                  5.126688303e-12f};
  static constexpr float p[5] = {-2.407923699e-08f, 2.753642236e-06f, -1.984108602e-04f, 8.333332767e-03f,
                                 -1.666666666e-01f};
};
template <> struct wave_constants<double> {
  static constexpr double inverse_pi = 0.318309886183790671538, round = 6755399441055744., beyond = 1e6;
  static constexpr double pi[4] = {3.14159265346825122833251953125, 1.2154201007186921090763576103e-10,
                                   5.82546411218671207e-20, 0.};
  static constexpr double p[8] = {
      2.73136586749401689e-15, -7.64396396592535688e-13, 1.60589771140746734e-10, -2.50521076139347602e-08,
      2.75573192191391827e-06, -1.98412698412548847e-04, 8.33333333333331587e-03, -1.66666666666666657e-01};
};

template <class V, class T, std::size_t N> SMX_INLINE V polynomial(T const (&p)[N], V x) {
  V sum = splat(p[0]);
  SMX_UNROLL for (std::size_t i = 1; i < N; ++i) sum = sum * x + splat(p[i]);
  return sum;
}

template <class V> SMX_INLINE V bits_of(V v, ivec<entry_of<V>> mask) {
  using I = ivec<entry_of<V>>;
  return reinterpret_cast<V>(reinterpret_cast<I>(v) & mask);
}
template <class T> SMX_INLINE ivec<T> every(typename vector_of<T>::integer i) { return i - ivec<T>{}; }
template <class T> SMX_INLINE ivec<T> sign_bit() {
  using integer = typename vector_of<T>::integer;
  return every<T>(static_cast<integer>(integer(1) << (8 * sizeof(T) - 1)));
}
template <class V> SMX_INLINE V absolute(V x) { return bits_of(x, ~sign_bit<entry_of<V>>()); }
/// a where x has its sign bit, b elsewhere.
template <class V> SMX_INLINE V where_negative(V x, V a, V b) {
  using I = ivec<entry_of<V>>;
  I const negative = reinterpret_cast<I>(x) >> (8 * static_cast<int>(sizeof(entry_of<V>)) - 1);
  return reinterpret_cast<V>((reinterpret_cast<I>(a) & negative) | (reinterpret_cast<I>(b) & ~negative));
}

/// e^(high + low), |low| well below 1.
template <class V> SMX_INLINE V exp_of_sum(V high, V low) {
  using T = entry_of<V>;
  using constants = exp_constants<T>;
  V const y = vmin(splat(constants::high), vmax(splat(constants::low), high));
  V z = y * splat(T(1.44269504088896340735992)) + splat(constants::round);
  pin(z);
  V const n = z - splat(constants::round);
  V r = y - n * splat(constants::ln2_high);
  r = r - n * splat(constants::ln2_low) + low;
  return exp_parts<T>(r, z);
}

/// Phi(-|x|) and e^(-x^2/2).
template <class V> struct normal_tail { V below, bell; };
template <class V> SMX_INLINE normal_tail<V> tail_of(V x) {
  using T = entry_of<V>;
  using constants = normal_constants<T>;
  using integer = typename vector_of<T>::integer;
  V const a = vmin(splat(constants::beyond), absolute(x));
  V head = bits_of(a, every<T>(static_cast<integer>(~((integer(1) << constants::low_bits) - 1))));
  pin(head);  // no flag may fold the difference
  V const bell = exp_of_sum(splat(T(-0.5)) * head * head, splat(T(-0.5)) * (a - head) * (a + head));
  V const s = splat(T(1)) / (a + splat(constants::k));
  V const p = polynomial(constants::p, (a - splat(constants::k)) * s);
  return {bell * (s * p), bell};
}

/// 1 / (1 + e^-a) and 1 minus that for a = |x|, without cancellation.
template <class V> struct logistic_parts { V large, small; };
template <class V> SMX_INLINE logistic_parts<V> logistic_of(V a) {
  using T = entry_of<V>;
  V const e = exp(-a), share = splat(T(1)) / (splat(T(1)) + e);
  return {share, e * share};
}
/// c (x + 0.044715 x^3) for gelu_tanh's argument (c = 2 sqrt(2 / pi)), of |x| where nothing overflows.
template <class V> SMX_INLINE V cubic(V x) {
  using T = entry_of<V>;
  V const a = vmax(splat(T(-64)), vmin(splat(T(64)), x));
  return splat(T(1.59576912160573071176)) * a * (splat(T(1)) + splat(T(0.044715)) * a * a);
}

/// (-1)^n sin(r) for x = r + (n + offset) pi; entries that are too large for the reduction go to the library.
template <class V, class F> SMX_INLINE V wave(V x, entry_of<V> offset, entry_of<V> sign, F const& library) {
  using T = entry_of<V>;
  using constants = wave_constants<T>;
  V z = (x * splat(constants::inverse_pi) - splat(offset)) + splat(constants::round);
  pin(z);
  V const n = (z - splat(constants::round)) + splat(offset);
  V r = x;
  SMX_UNROLL for (int i = 0; i < 4; ++i) {
    r = r - n * splat(constants::pi[i]);
    pin(r);
  }
  V const square = r * r;
  V const value = r + r * square * polynomial(constants::p, square);
  auto const odd = reinterpret_cast<ivec<T>>(z) << (8 * static_cast<int>(sizeof(T)) - 1);
  V result = reinterpret_cast<V>(reinterpret_cast<ivec<T>>(value * splat(sign)) ^ odd);
  auto const far = absolute(x) > splat(constants::beyond);
  bool any = false;
  for (int i = 0; i < lanes<T>; ++i) any = any || far[i] != 0;
  if (any) [[unlikely]]
    for (int i = 0; i < lanes<T>; ++i)
      if (far[i] != 0) result[i] = library(x[i]);
  return result;
}

}  // namespace detail

/// The function object's values for every entry of the vectors.
template <class V> SMX_INLINE V on_vectors(sigmoid, V x) {
  using T = detail::entry_of<V>;
  return splat(T(1)) / (splat(T(1)) + exp(-x));
}
template <class V> SMX_INLINE V on_vectors(d_sigmoid, V x) {
  auto const p = detail::logistic_of(detail::absolute(x));
  return p.large * p.small;
}
template <class V> SMX_INLINE V on_vectors(silu, V x) { return x * on_vectors(sigmoid{}, x); }
template <class V> SMX_INLINE V on_vectors(d_silu, V x) {
  using T = detail::entry_of<V>;
  auto const p = detail::logistic_of(detail::absolute(x));
  V const s = detail::where_negative(x, p.small, p.large), rest = detail::where_negative(x, p.large, p.small);
  return s * (splat(T(1)) + x * rest);
}
/// e^(2a) - 1 = m gives tanh(a) = m / (m + 2).
template <class V> SMX_INLINE V on_vectors(hyperbolic_tangent, V x) {
  using T = detail::entry_of<V>;
  using constants = detail::exp_constants<T>;
  constexpr T beyond = sizeof(T) == 4 ? 10 : 20;
  V const y = splat(T(2)) * vmin(splat(beyond), detail::absolute(x));
  V z = y * splat(T(1.44269504088896340735992)) + splat(constants::round);
  pin(z);
  V const n = z - splat(constants::round);
  V r = y - n * splat(constants::ln2_high);
  r = r - n * splat(constants::ln2_low);
  V const q = detail::polynomial(constants::q, r);  // e^r - 1 = r + r^2 q / 2
  V const p = r + splat(T(0.5)) * r * r * q;
  V const power =
      splat(T(2)) * reinterpret_cast<V>(reinterpret_cast<ivec<T>>(z) << constants::fraction);  // 2^n
  V const m = power * p + (power - splat(T(1)));
  V const t = m / (m + splat(T(2)));
  return reinterpret_cast<V>(reinterpret_cast<ivec<T>>(t) |
                             (reinterpret_cast<ivec<T>>(x) & detail::sign_bit<T>()));
}
template <class V> SMX_INLINE V on_vectors(d_hyperbolic_tangent, V x) {
  using T = detail::entry_of<V>;
  auto const p = detail::logistic_of(splat(T(2)) * detail::absolute(x));
  return splat(T(4)) * p.large * p.small;
}
template <class V> SMX_INLINE V on_vectors(gelu, V x) {
  using T = detail::entry_of<V>;
  V const below = detail::tail_of(x).below;
  return x * detail::where_negative(x, below, splat(T(1)) - below);
}
template <class V> SMX_INLINE V on_vectors(d_gelu, V x) {
  using T = detail::entry_of<V>;
  auto const t = detail::tail_of(x);
  V const phi = detail::where_negative(x, t.below, splat(T(1)) - t.below);
  return phi + x * (splat(T(0.39894228040143267794)) * t.bell);
}
template <class V> SMX_INLINE V on_vectors(gelu_tanh, V x) {
  return x * on_vectors(sigmoid{}, detail::cubic(x));
}
template <class V> SMX_INLINE V on_vectors(d_gelu_tanh, V x) {
  using T = detail::entry_of<V>;
  V const a = vmax(splat(T(-64)), vmin(splat(T(64)), x));
  auto const p = detail::logistic_of(detail::absolute(detail::cubic(x)));
  V const slope = splat(T(1.59576912160573071176)) * (splat(T(1)) + splat(T(0.134145)) * a * a);
  return detail::where_negative(x, p.small, p.large) + a * (p.large * p.small) * slope;
}
template <class V> SMX_INLINE V on_vectors(sine, V x) {
  using T = detail::entry_of<V>;
  return detail::wave(x, T(0), T(1), [](T one) { return std::sin(one); });
}
template <class V> SMX_INLINE V on_vectors(cosine, V x) {
  using T = detail::entry_of<V>;
  return detail::wave(x, T(0.5), T(-1), [](T one) { return std::cos(one); });
}

/// Function objects of vectors, as function objects of other layers see them: one that is made of those above
/// has a member `on_vectors(call, v...)` and gives its parts to `call`.
struct vector_call {
  template <class F, class... V>
  requires requires(F const& f, V... v) { on_vectors(f, v...); }
  SMX_INLINE auto operator()(F const& f, V... v) const { return on_vectors(f, v...); }

  template <class F, class... V>
  requires requires(F const& f, vector_call const& call, V... v) { f.on_vectors(call, v...); }
  SMX_INLINE auto operator()(F const& f, V... v) const { return f.on_vectors(*this, v...); }
};

/// Whether map runs F on vectors of T.
template <class F, class T, class... X>
concept OnVectors = Compute<T> && sizeof...(X) > 0 &&
                    (... && std::same_as<X, T>)&&requires(F const& f, vector_call const& call,
                                                          X const*... x) {
  { call(f, load(x)...) } -> std::same_as<vec<T>>;
};

/// y := f(x...) over one row of n entries, the same operations for every entry, whatever the strides.
template <class F, class T, class... X>
SMX_INLINE void map_vectors(F const& f, index_t n, T* y, index_t sy, std::pair<X const*, index_t>... x) {
  constexpr index_t width = lanes<T>;
  vector_call const call;
  auto const take = [](auto const& one, index_t i, index_t count) -> vec<T> {
    if (one.second == 0) return splat(*one.first);
    if (one.second == 1 && count == width) return load(one.first + i);
    if (one.second == 1) return load(one.first + i, part<T>(count));
    vec<T> v{};
    for (index_t k = 0; k < count; ++k) v[k] = one.first[(i + k) * one.second];
    return v;
  };
  auto const put = [&](index_t i, index_t count, vec<T> v) {
    if (sy == 1 && count == width)
      store(y + i, v);
    else if (sy == 1)
      store(y + i, v, part<T>(count));
    else
      for (index_t k = 0; k < count; ++k) y[(i + k) * sy] = v[k];
  };
  index_t i = 0;
  if (sy == 1 && (... && (x.second == 1)))
    for (; i + width <= n; i += width) store(y + i, call(f, load(x.first + i)...));
  for (; i < n; i += width) {
    index_t const count = n - i < width ? n - i : width;
    put(i, count, call(f, take(x, i, count)...));
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
