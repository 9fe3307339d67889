// SPDX-License-Identifier: Apache-2.0
/// \file  Arrays of any element type and strides as row-major doubles, and how two of them are compared.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <smx/backend/loops.hpp>
#include <smx/core/rng.hpp>
#include <smx/testing/verdict.hpp>

namespace smx::testing {

using numbers = std::vector<double>;

/// The entries of v, row-major. float to double is exact, so that equal numbers have equal bits.
template <class T, int R> numbers values(view<T, R, host_space> const& v) {
  numbers all;
  all.reserve(static_cast<std::size_t>(v.size()));
  loops::for_each_index(v.ext,
                        [&](extents<R> const& i) { all.push_back(static_cast<double>(loops::at(v, i))); });
  return all;
}

template <class T, int R> void fill(view<T, R, host_space> const& v, std::type_identity_t<T> value) {
  loops::for_each_index(v.ext, [&](extents<R> const& i) { loops::at(v, i) = value; });
}

/// Normal numbers with standard deviation `scale`, in row-major order of the index, whatever the strides.
template <class T, int R>
void fill_normal(view<T, R, host_space> const& v, random_stream from, double scale = 1) {
  std::uint64_t n = 0;
  loops::for_each_index(
      v.ext, [&](extents<R> const& i) { loops::at(v, i) = static_cast<T>(scale * from.normal(n++)); });
}

template <class T, class U, int R>
void copy_entries(view<T, R, host_space> const& from, view<U, R, host_space> const& to) {
  loops::for_each_index(to.ext,
                        [&](extents<R> const& i) { loops::at(to, i) = static_cast<U>(loops::at(from, i)); });
}

inline bool same_bits(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

/// |got - want| <= tolerance, entry by entry; a NaN is never within, and infinities must be equal.
inline verdict within(char const* what, numbers const& got, numbers const& want, numbers const& tolerance) {
  if (got.size() != want.size() || tolerance.size() != want.size())
    return text("%s: %zu entries, expected %zu (tolerances: %zu)", what, got.size(), want.size(),
                tolerance.size());
  double worst = -1;
  std::size_t at = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] == want[i]) continue;
    double const error = std::fabs(got[i] - want[i]);
    if (error <= tolerance[i]) continue;
    double const excess = std::isfinite(error) ? error / (tolerance[i] + 1e-300) : INFINITY;
    if (excess > worst) worst = excess, at = i;
  }
  if (worst < 0) return holds;
  return text("%s: entry %zu of %zu is %.17g, expected %.17g within %.3g", what, at, got.size(), got[at],
              want[at], tolerance[at]);
}

/// The same bits in every entry (a NaN equals the same NaN, 0 is not -0).
inline verdict identical(char const* what, numbers const& got, numbers const& want) {
  if (got.size() != want.size()) return text("%s: %zu entries, expected %zu", what, got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    if (!same_bits(got[i], want[i]))
      return text("%s: entry %zu of %zu is %.17g, expected the bits of %.17g", what, i, got.size(), got[i],
                  want[i]);
  return holds;
}

/// a + b, entry by entry.
inline numbers sum(numbers a, numbers const& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}
inline numbers scaled(numbers a, double factor) {
  for (double& one : a) one *= factor;
  return a;
}
inline double dot(numbers const& a, numbers const& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i) total += a[i] * b[i];
  return total;
}
/// sum |a| |b|
inline double absolute_dot(numbers const& a, numbers const& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i) total += std::fabs(a[i] * b[i]);
  return total;
}

template <class T> inline constexpr T quiet_nan = std::numeric_limits<T>::quiet_NaN();

}  // namespace smx::testing
