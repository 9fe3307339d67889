// SPDX-License-Identifier: Apache-2.0
/// \file  Causal convolution without a look ahead: the schedule, the prepared kernel, its memory.
///
/// Positions come in blocks of 32. Inside a block sums are direct. At every boundary c = 32 * odd * 2^l the
/// last s = 32 * 2^l inputs are multiplied with k[0:2s) and the outputs c .. c+s-1 take what they get from
/// them: the *tail* s .. 2s-1 of the product. Every pair (j, i), j < i, of different blocks is met at exactly
/// one boundary: the one in (j, i] that is divisible by the highest power of two. s is cut at the first level
/// that reaches over all taps. (Blocked online convolution: arXiv 2410.12982, 2410.03766.)
///
/// A tail is the imaginary part of x k modulo t^s - i, so it is one transform of s points a channel; with -i
/// times the kernel it is the real part. Sum of all tails: O(log^2 L) multiply-adds a position. No output
/// depends on a later input, bit for bit. (A NaN does reach later outputs beyond the taps: a tail mixes its
/// block.)
#pragma once

#include <bit>

#include <smx/backend/cpu/convolution/kernel.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// The schedule of at most `capacity` positions for kernels of `taps` taps. A value: no memory.
struct online_plan {
  static constexpr index_t block = 32;
  static constexpr int most_levels = 36;

  index_t capacity = 0, taps = 0;
  int levels = 0;

  /// Points of the tail products of a level.
  static constexpr index_t points(int level) { return block << level; }
  constexpr index_t largest() const { return levels > 0 ? points(levels - 1) : block; }
  /// The level of boundary c, a multiple of the block.
  constexpr int level(index_t c) const {
    int const l = std::countr_zero(static_cast<std::uint64_t>(c / block));
    return l < levels ? l : levels - 1;
  }
  /// Rows of a state: of each the past holds an input, the future what the past has given it so far.
  constexpr index_t rows() const { return std::min(capacity, 2 * largest()); }
  /// Whether the rows of outputs c .. c+s-1 still hold inputs, of a state that goes round: no smaller product
  /// reaches over such a c, and no prefill.
  constexpr bool fresh(index_t c) const { return rows() < capacity && c % largest() == 0; }
  friend bool operator==(online_plan const&, online_plan const&) = default;
};

/// Throws unless capacity >= 1 and taps >= 1.
inline online_plan make_online_plan(index_t capacity, index_t taps) {
  expects_value(capacity >= 1 && capacity <= index_t(1) << 40, "capacity", "between 1 and 2^40", capacity);
  expects_value(taps >= 1, "taps", "at least 1", taps);
  online_plan plan{capacity, taps, 0};
  while (online_plan::points(plan.levels) < capacity && (plan.levels == 0 || plan.largest() < taps - 1))
    ++plan.levels;
  return plan;
}

/// Numbers of a prepared kernel: for each level constants and spectra, then the first taps of each tile.
template <class T> index_t online_kernel_size(online_plan const& plan, index_t channels) {
  index_t size = tile_count<T>(channels) * online_plan::block * lanes<T>;
  for (int l = 0; l < plan.levels; ++l) {
    transform_plan const p = make_transform_plan(online_plan::points(l));
    size += (p.twiddles + lanes<T> - 1) / lanes<T> * lanes<T> + spectrum_size<T>(p, channels);
  }
  return size;
}
/// Numbers of scratch that one thread needs to prepare a kernel or to take a step.
template <class T> index_t online_scratch(online_plan const& plan) {
  return spectrum_scratch<T>(make_transform_plan(plan.largest()));
}

namespace detail {

/// The points of -i times a kernel modulo t^s - i, over s, for `width` channels from channel d on:
/// the real part of a product with it is the tail.
template <class T>
void place_tail(transform_plan const& plan, convolution_kernel<T const> const& k, index_t d, index_t width,
                T* tile) {
  constexpr index_t w = lanes<T>;
  index_t const s = plan.points;
  clear(tile, w, 0, 2 * s);
  sequence<T const> const low = k.causal.at(0, d);
  gather<T>(complex_rows(tile, 0, true), low, {}, std::min(k.taps, s), width);
  if (k.taps > s) {
    sequence<T const> high = low;
    high.ptr += s * high.time;
    gather<T>(complex_rows(tile, 0, false), high, {}, std::min(k.taps - s, s), width);
  }
  scale_points<T>(tile, s);
}

/// Where the parts of a prepared kernel lie.
template <class T> struct online_parts { T const *twiddles, *spectrum; };
template <class T> online_parts<T> online_level(T const* kernel, index_t channels, int level) {
  constexpr index_t w = lanes<T>;
  T const* at = kernel + tile_count<T>(channels) * online_plan::block * w;
  for (int l = 0;; ++l) {
    transform_plan const p = make_transform_plan(online_plan::points(l));
    T const* const spectrum = at + (p.twiddles + w - 1) / w * w;
    if (l == level) return {at, spectrum};
    at = spectrum + spectrum_size<T>(p, channels);
  }
}

}  // namespace detail

/// The constants of all levels; once, before online_kernel.
template <class T> void fill_online_twiddles(online_plan const& plan, index_t channels, T* kernel) {
  for (int l = 0; l < plan.levels; ++l) {
    auto const at = detail::online_level<T>(kernel, channels, l).twiddles - kernel;
    fill_twiddles<T>(make_transform_plan(online_plan::points(l)), kernel + at);
  }
}

/// Prepares tiles first .. first + count - 1. `taps` is causal, with an optional skip; `kernel` holds
/// online_kernel_size<T> numbers with their constants filled in, `scratch` online_scratch<T>, both on vector
/// boundaries.
template <class T>
void prepare_online_kernel(online_plan const& plan, convolution_kernel<T const> const& taps, index_t channels,
                           index_t first, index_t count, T* kernel, T* scratch) {
  constexpr index_t w = lanes<T>, block = online_plan::block;
  for (index_t t = first; t < first + count; ++t) {
    index_t const d = t * w, width = std::min(w, channels - d);
    T* const direct = kernel + t * block * w;
    index_t const some = std::min(taps.taps, block);
    gather<T>({direct, w, 0}, taps.causal.at(0, d), {}, some, width);
    clear(direct, w, some, block);
    if (taps.skip != nullptr)
      for (index_t c = 0; c < width; ++c) direct[c] += taps.skip[d + c];
  }
  for (int l = 0; l < plan.levels; ++l) {
    transform_plan const p = make_transform_plan(online_plan::points(l));
    auto const parts = detail::online_level<T>(kernel, channels, l);
    transform<T> walk(p, parts.twiddles, reinterpret_cast<cvec<T>*>(scratch));
    T* const tile = scratch + 2 * w * p.work;
    for (index_t t = first; t < first + count; ++t) {
      detail::place_tail<T>(p, taps, t * w, std::min(w, channels - t * w), tile);
      T* const spectrum = kernel + (parts.spectrum - kernel) + t * 2 * w * p.points;
      walk.analyse(reinterpret_cast<cvec<T> const*>(tile), reinterpret_cast<cvec<T>*>(spectrum));
    }
  }
}

namespace detail {

/// rows acc_0 .. acc_{R-1} += k[i - j] x_j over the rows j of a block from its first one to i itself, i = n
/// .. n+R-1. The order of the sum is that of j, however many rows are taken at once.
template <int R, class T, class Load>
SMX_INLINE void direct_rows(vec<T> (&acc)[R], T const* taps, index_t n, Load const& x) {
  constexpr index_t w = lanes<T>;
  for (index_t j = 0; j < n; ++j) {
    vec<T> const v = x(j);
    T const* const k = taps + (n - j) * w;
    SMX_UNROLL
    for (int r = 0; r < R; ++r) acc[r] += load<T>(k + r * w) * v;
  }
  SMX_UNROLL
  for (int j = 0; j < R; ++j) {
    vec<T> const v = x(n + j);
    SMX_UNROLL
    for (int r = j; r < R; ++r) acc[r] += load<T>(taps + (r - j) * w) * v;
  }
}

}  // namespace detail

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
