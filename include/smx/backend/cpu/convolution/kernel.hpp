// SPDX-License-Identifier: Apache-2.0
/// \file  Kernels and their spectra. Everything linear is in the spectrum and costs nothing at run time:
///
/// causal        y_i = sum_{j<=i} k[i-j] v_j                                      + skip v_i
/// bidirectional y_i = sum_{j<=i} k[i-j] v_j + sum_{j>i} k_rev[j-i-1] v_j         + skip v_i
/// circular      y_i = sum_j k[(i-j) mod L] v_j                                   + skip v_i
///
/// skip is added to k[0]; lag -l is t^-l = -i t^(M-l) modulo t^M - i, so the anticausal kernel sits in the
/// imaginary part; a circular kernel of any L is a bidirectional one with k_rev[j] = k[L-1-j]; the scale 1/M
/// is in it too. A spectrum takes about as long as half a convolution of one batch item.
#pragma once

#include <smx/backend/cpu/convolution/borders.hpp>
#include <smx/backend/cpu/convolution/transform.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Kernels of D channels with at most L taps each, any strides; absent ones have a null pointer.
template <class T> struct convolution_kernel {
  sequence<T> causal;  ///< k: lags 0 .. taps-1
  index_t taps = 0;
  sequence<T> anticausal = {};  ///< k_rev: tap j is lag -(j+1)
  index_t anticausal_taps = 0;
  bool circular = false;  ///< k is periodic in L; k_rev must be absent
  T* skip = nullptr;      ///< D numbers, or null
};

/// Tiles of lanes<T> channels.
template <class T> constexpr index_t tile_count(index_t channels) {
  return (channels + lanes<T> - 1) / lanes<T>;
}
/// Numbers in the spectra of `channels` kernels: 2 M for each lane of each tile.
template <class T> constexpr index_t spectrum_size(transform_plan const& plan, index_t channels) {
  return tile_count<T>(channels) * plan.points * 2 * lanes<T>;
}
/// Numbers of scratch that one thread needs for spectra: work and one complex tile.
template <class T> constexpr index_t spectrum_scratch(transform_plan const& plan) {
  return 2 * lanes<T> * (plan.work + plan.points);
}

namespace detail {

/// Rows of a complex tile: n-th real part at ptr + n*row, imaginary one lanes<T> further.
template <class T>
SMX_INLINE staging<T> complex_rows(T* tile, index_t first, bool imaginary, bool backwards = false) {
  index_t const row = 2 * lanes<T>;
  return {tile + first * row + (imaginary ? lanes<T> : 0), backwards ? -row : row, 0};
}

/// re := re / m, im := -im / m.
template <class T> void scale_points(T* tile, index_t m) {
  constexpr index_t w = lanes<T>;
  T const scale = T(1) / static_cast<T>(m);
  for (T* z = tile; z < tile + 2 * w * m; z += 2 * w) {
    store<T>(z, load<T>(z) * scale);
    store<T>(z + w, load<T>(z + w) * -scale);
  }
}

/// The points of a kernel modulo t^M - i, times 1/M, for `width` channels from channel d on.
template <class T>
void place_kernel(transform_plan const& plan, convolution_kernel<T const> const& k, index_t d, index_t width,
                  T* tile) {
  constexpr index_t w = lanes<T>;
  index_t const m = plan.points, length = plan.length;
  clear(tile, w, 0, 2 * m);
  gather<T>(complex_rows(tile, 0, false), k.causal.at(0, d), {}, std::min(k.taps, length), width);
  if (k.circular && k.taps > 1) {
    sequence<T const> from_one = k.causal.at(0, d);
    from_one.ptr += from_one.time;
    gather<T>(complex_rows(tile, m - length + 1, true), from_one, {}, std::min(k.taps, length) - 1, width);
  } else if (k.anticausal && length > 1) {
    gather<T>(complex_rows(tile, m - 1, true, true), k.anticausal.at(0, d), {},
              std::min(k.anticausal_taps, length - 1), width);
  }
  if (k.skip != nullptr)
    for (index_t c = 0; c < width; ++c) tile[c] += k.skip[d + c];
  scale_points<T>(tile, m);
}

}  // namespace detail

/// Writes the spectra of tiles first .. first + count - 1 (of all tile_count<T>(channels)) to their places in
/// `spectrum`. `spectrum` and `scratch` (spectrum_scratch<T> numbers) lie on vector boundaries.
template <class T>
void kernel_spectrum(transform_plan const& plan, T const* twiddles, convolution_kernel<T const> const& kernel,
                     index_t channels, index_t first, index_t count, T* spectrum, T* scratch) {
  constexpr index_t w = lanes<T>;
  transform<T> walk(plan, twiddles, reinterpret_cast<cvec<T>*>(scratch));
  T* const tile = scratch + 2 * w * plan.work;
  for (index_t t = first; t < first + count; ++t) {
    detail::place_kernel<T>(plan, kernel, t * w, std::min(w, channels - t * w), tile);
    walk.analyse(reinterpret_cast<cvec<T> const*>(tile),
                 reinterpret_cast<cvec<T>*>(spectrum + t * 2 * w * plan.points));
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
