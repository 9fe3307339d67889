// SPDX-License-Identifier: Apache-2.0
/// \file  y = post * conv(pre * u): the convolution of every channel through one transform of M points.
///
/// Cost: 10 M log2 M flops a channel; memory traffic u, gates, y once, and 8 M bytes of spectrum a channel
/// and batch item that finds it out of cache.
///
/// Rounding. v = pre * u of a channel, k all its taps (both directions, skip), s = log2 M, unit roundoff e:
///
///     |error_i|                       <= 20 s e ||k||_1 ||v||_2
///     sqrt(sum_i |error_i|^2 / M)     <= 20 s e ||k||_2 ||v||_2
///
/// (times |post_i|). A level of the tree is a unitary matrix times sqrt(R). In the 2-norm it costs a rounded
/// constant (e in float, 4 e in double), a complex product (sqrt(5) e), and e for each of its log2 R
/// additions and for what multiplies inside: 12.3 e for radix 8, 8.3 for 4, 7.3 for 2, 10.5 for 3, 12.3
/// for 5. Radix 2 and an odd one occur at most once, so a transform errs by at most f = (4.2 s + 8) e of its
/// result's 2-norm. At every i, by Cauchy-Schwarz, the two transforms and the products cost
/// (2 f + 5 e) ||k||_2 ||v||_2; the way back costs f times the 2-norm of the product of spectra over sqrt(M),
/// which is at most ||k||_1 ||v||_2 (in the mean over i, ||k||_2 ||v||_2); the gates cost 2 e.
/// 3 f + 7 e = (12.6 s + 31) e <= 20 s e from M = 24 on; M = 16 has 66 e of its 80 e.
///
/// The same bounds what the future leaves in the past of a causal kernel: the transform mixes all positions.
/// A NaN or an infinity reaches every position of its channel, and never another channel: a lane is a
/// channel.
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

/// Of the bound above: |error_i| <= rounding_factor<T>(plan) * ||k||_1 * ||v||_2.
template <class T> inline double rounding_factor(transform_plan const& plan) {
  return 20 * std::log2(static_cast<double>(plan.points)) * (sizeof(T) == 4 ? 0x1p-24 : 0x1p-53);
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
