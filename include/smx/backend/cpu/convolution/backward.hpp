// SPDX-License-Identifier: Apache-2.0
/// \file  Gradients of y = post * c, c = conv(w), w = pre * u, for the upstream gradient dy. With dc = dy *
/// post:
///
///   dw = conv^T dc          (the conjugate spectrum)         du = dw * pre      dpre = dw * u
///   dk[l] = sum_i dc_i w_{i-l}   dk_rev[l-1] = sum_i dc_i w_{i+l}   dskip = dk[0]      dpost = dy * c
///
/// The correlation of dc and w, modulo t^M - i, holds the causal lags in its real part and minus the
/// anticausal ones, read backwards, in its imaginary part. It is summed over the batch on spectra, in order,
/// and transformed back once. c is computed again from the residues of w: one more way up the tree, which is
/// cheaper than a tape of c.
///
/// Cost against a forward (one way down, one up): two down, one up, one up for a batch's kernels, one up for
/// dpost.
#pragma once

#include <smx/backend/cpu/convolution/forward.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Where gradients go; what is null is not computed. Kernels and skip are added to, sequences assigned.
template <class T> struct convolution_gradients {
  sequence<T> u, pre, post;
  convolution_kernel<T> kernel = {};
};

/// Numbers of scratch that one thread needs: three transforms, the rows of two signals, and the lags or, for
/// more than one batch item, a sum of spectra.
template <class T> constexpr index_t backward_scratch(transform_plan const& plan, index_t batch) {
  index_t const sums = batch > 1 ? 2 * tiles_a_group : 0;
  return lanes<T> * (6 * plan.work + (2 * tiles_a_group + 2 + sums) * plan.points);
}

namespace detail {

/// Adds the lags in `tile`, M complex points times M, to the gradients of channels d .. d + width - 1.
template <class T>
void add_kernel_gradient(transform_plan const& plan, T* tile, convolution_kernel<T> const& dk, index_t d,
                         index_t width) {
  index_t const m = plan.points, length = plan.length;
  T const scale = T(1) / static_cast<T>(m);
  if (dk.skip != nullptr)
    for (index_t c = 0; c < width; ++c) dk.skip[d + c] += scale * tile[c];
  if (dk.causal)
    scatter<border::accumulate, T>(complex_rows(tile, 0, false), dk.causal.at(0, d), {},
                                   std::min(dk.taps, length), width, scale);
  if (dk.circular && dk.causal && dk.taps > 1) {
    sequence<T> from_one = dk.causal.at(0, d);
    from_one.ptr += from_one.time;
    scatter<border::accumulate, T>(complex_rows(tile, m - length + 1, true), from_one, {},
                                   std::min(dk.taps, length) - 1, width, -scale);
  } else if (dk.anticausal && length > 1) {
    scatter<border::accumulate, T>(complex_rows(tile, m - 1, true, true), dk.anticausal.at(0, d), {},
                                   std::min(dk.anticausal_taps, length - 1), width, -scale);
  }
}

}  // namespace detail

/// Gradients of tiles first .. first + count - 1, over all `batch` items. `spectrum` is the forward's;
/// `scratch` holds backward_scratch<T> numbers on a vector boundary, one per thread. Kernel gradients of a
/// tile belong to its thread: the same bits however the tiles are divided. No output may overlap an input.
template <class T>
void convolution_backward(transform_plan const& plan, T const* twiddles, T const* spectrum, index_t batch,
                          index_t channels, sequence<T const> u, sequence<T const> pre,
                          sequence<T const> post, sequence<T const> dy, convolution_gradients<T> const& d,
                          index_t first, index_t count, T* scratch) {
  constexpr index_t w = lanes<T>;
  index_t const m = plan.points, length = plan.length;
  bool const dw = d.u || d.pre, dc = static_cast<bool>(d.post);
  index_t const outputs = int(bool(d.u)) + int(bool(d.pre)) + int(dc);
  index_t const bytes = outputs * batch * length * channels * index_t(sizeof(T));
  bool const dk = d.kernel.causal || d.kernel.anticausal || d.kernel.skip != nullptr;
  transform<T> walk(plan, twiddles, reinterpret_cast<cvec<T>*>(scratch));
  staging<T> const signal = {scratch + 6 * w * plan.work, w, m * w};
  staging<T> const upstream = {signal.ptr + tiles_a_group * m * w, w, m * w};
  T* const lags = upstream.ptr + tiles_a_group * m * w;
  T* const sums = lags + 2 * m * w;
  auto const past_cache = [&](sequence<T> const& s) {
    return bytes >= past_cache_bytes && detail::on_boundaries(s, batch);
  };
  index_t const most = u.channel == 1 && dy.channel == 1 ? tiles_a_group : 1;
  for (index_t t = first, group = 0; t < first + count; t += group) {
    group = std::min(most, first + count - t);
    index_t const width = std::min(group * w, channels - t * w);
    for (index_t b = 0; b < batch; ++b) {
      auto const at = [&](auto const& s) { return s.at(b, t * w); };
      gather<T>(upstream, at(dy), at(post), length, width);
      if (dk || dc) gather<T>(signal, at(u), at(pre), length, width);
      for (index_t g = 0; g < group; ++g) {
        T *const c = upstream.ptr + g * upstream.tile, *const x = signal.ptr + g * signal.tile;
        auto const* const k = reinterpret_cast<cvec<T> const*>(spectrum + (t + g) * 2 * w * m);
        clear(c, w, length, m);
        if (!dk && !dc) {
          walk.convolve(reinterpret_cast<vec<T>*>(c), k, true);
          continue;
        }
        clear(x, w, length, m);
        walk.adjoint(reinterpret_cast<vec<T>*>(c), reinterpret_cast<vec<T>*>(x), k,
                     {dc, dk, b == 0, b == batch - 1}, reinterpret_cast<cvec<T>*>(sums + g * 2 * w * m),
                     reinterpret_cast<cvec<T>*>(lags));
        if (dk && b == batch - 1)
          detail::add_kernel_gradient<T>(plan, lags, d.kernel, (t + g) * w,
                                         std::min(w, channels - (t + g) * w));
      }
      if (d.u) detail::deliver<T>(past_cache(d.u), upstream, at(d.u), at(pre), length, width);
      if (d.pre) detail::deliver<T>(past_cache(d.pre), upstream, at(d.pre), at(u), length, width);
      if (dc) detail::deliver<T>(past_cache(d.post), signal, at(d.post), at(dy), length, width);
    }
  }
  if (dw || dc) settle_stores();
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
