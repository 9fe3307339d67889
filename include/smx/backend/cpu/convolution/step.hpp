// SPDX-License-Identifier: Apache-2.0
/// \file  Streaming causal convolution, one position at a time, for B x D channels.
///
/// A state is plan.rows() rows of D for each item of the batch: rows of past positions hold their input, rows
/// of future ones what the past has given them so far. One array serves both, because an input arrives when
/// its row's output leaves: min(capacity, 2 s) numbers a channel, s being the first 32 * 2^l >= taps - 1.
/// After a prefill of P positions the state holds what those give to the next ones, and not the positions
/// themselves.
///
/// The same bits as convolution_forward_exact when there was no prefill.
/// Cost: 16 multiply-adds a channel and position in the block, and the tails: at position c = 32 * odd * 2^l
/// one transform of 32 * 2^l points; O(log^2 L) amortised.
#pragma once

#include <smx/backend/cpu/convolution/online.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// The rows of a state, item by item: item b starts at ptr + b pitch, pitch >= plan.rows() D.
template <class T> struct online_state {
  T* ptr;
  index_t pitch;

  /// Row n of item b, from channel d on.
  SMX_INLINE sequence<T> row(online_plan const& plan, index_t channels, index_t n, index_t b,
                             index_t d) const {
    return {ptr + b * pitch + (n % plan.rows()) * channels + d, 0, channels, 1};
  }
};

/// A state before its first position; tiles first .. first + count - 1.
template <class T>
void online_reset(online_plan const& plan, index_t batch, index_t channels, index_t first, index_t count,
                  online_state<T> state) {
  index_t const begin = first * lanes<T>, end = std::min(channels, (first + count) * lanes<T>);
  for (index_t b = 0; b < batch; ++b)
    for (index_t r = 0; r < plan.rows(); ++r) {
      T* const row = state.row(plan, channels, r, b, 0).ptr;
      std::fill(row + begin, row + end, T(0));
    }
}

/// Numbers of scratch that one thread needs for a prefill of `length` positions.
template <class T> index_t prefill_scratch(online_plan const& plan, index_t length) {
  index_t const reach = std::max<index_t>(1, plan.taps - 1);
  transform_plan const p =
      make_transform_plan(std::max(std::min(length, reach), std::min(plan.capacity, reach)));
  return 2 * lanes<T> * (p.work + 2 * p.points) + (p.twiddles + lanes<T> - 1) / lanes<T> * lanes<T>;
}

/// A state after `length` positions u (times pre, if given): what they give to the plan.capacity positions
/// that follow, which count from 0 again. One transform of max(min(length, taps-1), min(capacity, taps-1))
/// points a channel, and one for the kernel. `scratch`: prefill_scratch<T> numbers on a vector boundary.
template <class T>
void online_prefill(online_plan const& plan, convolution_kernel<T const> const& taps, index_t length,
                    index_t batch, index_t channels, sequence<T const> u, sequence<T const> pre,
                    index_t first, index_t count, online_state<T> state, T* scratch) {
  constexpr index_t w = lanes<T>;
  online_reset(plan, batch, channels, first, count, state);
  index_t const inputs = std::min(length, plan.taps - 1), outputs = std::min(plan.capacity, plan.taps - 1);
  if (inputs < 1 || outputs < 1) return;
  transform_plan const p = make_transform_plan(std::max(inputs, outputs));
  index_t const s = p.points;
  T* const tile = scratch + 2 * w * p.work;
  T* const spectrum = tile + 2 * w * s;
  T* const twiddles = spectrum + 2 * w * s;
  fill_twiddles(p, twiddles);
  transform<T> walk(p, twiddles, reinterpret_cast<cvec<T>*>(scratch));
  u.ptr += (length - inputs) * u.time;
  if (pre) pre.ptr += (length - inputs) * pre.time;
  for (index_t t = first; t < first + count; ++t) {
    index_t const d = t * w, width = std::min(w, channels - d);
    detail::place_tail<T>(p, taps, d, width, tile);
    walk.analyse(reinterpret_cast<cvec<T> const*>(tile), reinterpret_cast<cvec<T>*>(spectrum));
    for (index_t b = 0; b < batch; ++b) {
      clear(tile, w, 0, s - inputs);
      gather<T>({tile + (s - inputs) * w, w, 0}, u.at(b, d), pre.at(b, d), inputs, width);
      walk.convolve(reinterpret_cast<vec<T>*>(tile), reinterpret_cast<cvec<T> const*>(spectrum));
      scatter<border::assign, T>({tile, w, 0}, state.row(plan, channels, 0, b, d), {}, outputs, width);
    }
  }
}

/// Position n < plan.capacity (0, 1, 2, ... in order): y = post * conv(pre * u) for one row of each item; the
/// time strides of u, pre, post, y are not used. `kernel` is prepare_online_kernel's, `scratch`
/// online_scratch<T> numbers on a vector boundary. y may be u itself.
template <class T>
void online_step(online_plan const& plan, T const* kernel, index_t n, index_t batch, index_t channels,
                 sequence<T const> u, sequence<T const> pre, sequence<T const> post, sequence<T> y,
                 index_t first, index_t count, online_state<T> state, T* scratch) {
  constexpr index_t w = lanes<T>, block = online_plan::block;
  index_t const begin = n / block * block;
  if (n > 0 && n == begin) {
    int const l = plan.level(n);
    transform_plan const p = make_transform_plan(online_plan::points(l));
    auto const parts = detail::online_level<T>(kernel, channels, l);
    index_t const s = p.points, reach = std::min(s, plan.capacity - n);
    transform<T> walk(p, parts.twiddles, reinterpret_cast<cvec<T>*>(scratch));
    staging<T> const rows = {scratch + 2 * w * p.work, w, 0};
    for (index_t t = first; t < first + count; ++t)
      for (index_t b = 0, d = t * w, width = std::min(w, channels - d); b < batch; ++b) {
        gather<T>(rows, state.row(plan, channels, n - s, b, d), {}, s, width);
        walk.convolve(reinterpret_cast<vec<T>*>(rows.ptr),
                      reinterpret_cast<cvec<T> const*>(parts.spectrum + t * 2 * w * s));
        sequence<T> const to = state.row(plan, channels, n, b, d);
        if (plan.fresh(n))
          scatter<border::assign, T>(rows, to, {}, reach, width);
        else
          scatter<border::accumulate, T>(rows, to, {}, reach, width);
      }
  }
  for (index_t t = first; t < first + count; ++t)
    for (index_t b = 0, d = t * w, width = std::min(w, channels - d); b < batch; ++b) {
      T* const row = state.row(plan, channels, n, b, d).ptr;
      T const* const past = state.row(plan, channels, begin, b, d).ptr;
      T const* const taps = kernel + t * block * w;
      staging<T> const one = {scratch, w, 0};
      gather<T>(one, u.at(b, d), pre.at(b, d), 1, width);
      vec<T> const now = load<T>(scratch);
      vec<T> acc[1];
      if (width == w) {
        acc[0] = load<T>(row);
        store<T>(row, now);
        detail::direct_rows<1, T>(acc, taps, n - begin,
                                  [&](index_t j) { return load<T>(past + j * channels); });
      } else {
        part<T> const some(width);
        acc[0] = load<T>(row, some);
        store<T>(row, now, some);
        detail::direct_rows<1, T>(acc, taps, n - begin,
                                  [&](index_t j) { return load<T>(past + j * channels, some); });
      }
      store<T>(scratch, acc[0]);
      scatter<border::assign, T>(one, y.at(b, d), post.at(b, d), 1, width);
    }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
