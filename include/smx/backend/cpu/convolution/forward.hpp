// SPDX-License-Identifier: Apache-2.0
/// \file  y = post * conv(pre * u): the convolution of every channel through one transform of M points.
///
/// Cost: 10 M log2 M flops a channel; memory traffic u, gates, y once, and 8 M bytes of spectrum a channel
/// and batch item that finds it out of cache.
///
/// Rounding. Let v = pre * u, u the unit roundoff (2^-24, 2^-53), s = log2 M. A butterfly of radix R <= 8
/// with its constants perturbs its vector by at most c log2(R) u in the 2-norm, c = 3 (a complex product with
/// a rounded constant costs 2 sqrt(2) u and one addition of vectors u a level); there and back 2 s levels, s
/// of the kernel, one product:
///     |error_i| <= (9 s + 6) u ||K||_2 ||v||_2,   ||K||_2^2 = sum of the squares of all taps (skip
///     included),
/// because each root is unitary up to the scale, and sum_l |K_l v_{i-l}| is bounded by the same product.
/// The same bound holds for what the future leaves in the past of a causal kernel: the transform mixes all
/// positions, and a NaN or an infinity reaches every position of its channel (never another channel: a lane
/// is a channel).
#pragma once

#include <cstdint>

#include <smx/backend/cpu/convolution/kernel.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Time-major rows are moved this many tiles at a time: 256 bytes with AVX-512.
inline constexpr index_t tiles_a_group = 4;

/// Outputs of this many bytes or more are written past the caches.
inline constexpr index_t past_cache_bytes = index_t(8) << 20;

/// Numbers of scratch that one thread needs.
template <class T> constexpr index_t forward_scratch(transform_plan const& plan) {
  return lanes<T> * (2 * plan.work + tiles_a_group * plan.points);
}

namespace detail {

/// Whether every whole vector of y lies on a vector boundary.
template <class T> SMX_INLINE bool on_boundaries(sequence<T> const& y, index_t batch) {
  index_t const pitch = y.channel == 1 ? y.time : y.channel;
  return (y.channel == 1 || y.time == 1) && reinterpret_cast<std::uintptr_t>(y.ptr) % vector_bytes == 0 &&
         pitch % lanes<T> == 0 && (batch == 1 || y.batch % lanes<T> == 0);
}

template <class T>
SMX_INLINE void deliver(bool past_cache, staging<T> const& rows, sequence<T> const& y,
                        sequence<T const> const& gate, index_t count, index_t width) {
  if (past_cache)
    scatter<border::past_cache, T>(rows, y, gate, count, width);
  else
    scatter<border::assign, T>(rows, y, gate, count, width);
}

}  // namespace detail

/// Tiles first .. first + count - 1 of all `batch` items. Absent gates have null pointers; y may be u itself.
/// `spectrum`: kernel_spectrum's; `scratch`: forward_scratch<T> numbers on a vector boundary, one per thread.
/// The result does not depend on how the tiles are divided over calls.
template <class T>
void convolution_forward(transform_plan const& plan, T const* twiddles, T const* spectrum, index_t batch,
                         index_t channels, sequence<T const> u, sequence<T const> pre, sequence<T const> post,
                         sequence<T> y, index_t first, index_t count, T* scratch) {
  constexpr index_t w = lanes<T>;
  index_t const m = plan.points, length = plan.length;
  transform<T> walk(plan, twiddles, reinterpret_cast<cvec<T>*>(scratch));
  staging<T> const stage = {scratch + 2 * w * plan.work, w, m * w};
  index_t const most = u.channel == 1 && y.channel == 1 ? tiles_a_group : 1;
  bool const past_cache =
      batch * length * channels * index_t(sizeof(T)) >= past_cache_bytes && detail::on_boundaries(y, batch);
  for (index_t t = first, group = 0; t < first + count; t += group) {
    group = std::min(most, first + count - t);
    index_t const width = std::min(group * w, channels - t * w);
    for (index_t b = 0; b < batch; ++b) {  // innermost, so that a batch shares the spectra in cache
      gather<T>(stage, u.at(b, t * w), pre.at(b, t * w), length, width);
      for (index_t g = 0; g < group; ++g) {
        T* const rows = stage.ptr + g * stage.tile;
        clear(rows, w, length, m);
        walk.convolve(reinterpret_cast<vec<T>*>(rows),
                      reinterpret_cast<cvec<T> const*>(spectrum + (t + g) * 2 * w * m));
      }
      detail::deliver<T>(past_cache, stage, y.at(b, t * w), post.at(b, t * w), length, width);
    }
  }
  if (past_cache) settle_stores();
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
