// SPDX-License-Identifier: Apache-2.0
/// \file  y = post * conv(pre * u), causal bit for bit: no finite or other change of u at j > i changes a bit
/// of y_i.
///
/// The online schedule over rows that are all there: about log2(L / 32) / 2 transforms of L points instead of
/// one. Its gradients are those of the transform: exactness is a promise about y alone.
///
/// Rounding, with s = log2 of the largest tail's points and forward.hpp's letters:
///
///     |error_i| <= (20 s sqrt(levels) + 32) e ||k||_1 ||v||_2
///
/// The blocks that reach an output are disjoint: the sum of their 2-norms is at most sqrt(levels) ||v||_2.
#pragma once

#include <smx/backend/cpu/convolution/forward.hpp>
#include <smx/backend/cpu/convolution/online.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// Numbers of scratch that one thread needs for `length` positions.
template <class T> index_t exact_scratch(online_plan const& plan, index_t length) {
  transform_plan const p = make_transform_plan(plan.largest());
  return lanes<T> * (2 * p.work + p.points + 2 * length);
}

/// Tiles first .. first + count - 1 of `batch` items of `length` <= plan.capacity positions. `kernel` is
/// prepare_online_kernel's, `scratch` exact_scratch<T> numbers on a vector boundary, one per thread. y may be
/// u itself.
template <class T>
void convolution_forward_exact(online_plan const& plan, T const* kernel, index_t length, index_t batch,
                               index_t channels, sequence<T const> u, sequence<T const> pre,
                               sequence<T const> post, sequence<T> y, index_t first, index_t count,
                               T* scratch) {
  constexpr index_t w = lanes<T>, block = online_plan::block;
  constexpr int rows_at_once = 4;
  struct level {
    transform_plan plan;
    detail::online_parts<T> parts;
  };
  level tails[online_plan::most_levels];
  for (int l = 0; l < plan.levels; ++l)
    tails[l] = {make_transform_plan(online_plan::points(l)), detail::online_level<T>(kernel, channels, l)};
  transform_plan const top = make_transform_plan(plan.largest());
  T* const product = scratch + 2 * w * top.work;
  T* const in = product + w * top.points;
  T* const out = in + w * length;
  for (index_t t = first; t < first + count; ++t) {
    index_t const d = t * w, width = std::min(w, channels - d);
    T const* const taps = kernel + t * block * w;
    for (index_t b = 0; b < batch; ++b) {
      gather<T>({in, w, 0}, u.at(b, d), pre.at(b, d), length, width);
      clear(out, w, 0, length);
      for (index_t c = 0; c < length; c += block) {
        if (c > 0) {
          level const& at = tails[plan.level(c)];
          transform_plan const& p = at.plan;
          index_t const s = p.points, reach = std::min(s, length - c);
          std::copy_n(in + (c - s) * w, s * w, product);
          transform<T>(p, at.parts.twiddles, reinterpret_cast<cvec<T>*>(scratch))
              .convolve(reinterpret_cast<vec<T>*>(product),
                        reinterpret_cast<cvec<T> const*>(at.parts.spectrum + t * 2 * w * s));
          sequence<T> const to = {out + c * w, 0, w, 1};
          if (plan.fresh(c))
            scatter<border::assign, T>({product, w, 0}, to, {}, reach, w);
          else
            scatter<border::accumulate, T>({product, w, 0}, to, {}, reach, w);
        }
        index_t const last = std::min(block, length - c);
        auto const x = [row = in + c * w](index_t j) { return load<T>(row + j * w); };
        index_t n = 0;
        for (; n + rows_at_once <= last; n += rows_at_once) {
          vec<T> acc[rows_at_once];
          T* const o = out + (c + n) * w;
          SMX_UNROLL
          for (int r = 0; r < rows_at_once; ++r) acc[r] = load<T>(o + r * w);
          detail::direct_rows<rows_at_once, T>(acc, taps, n, x);
          SMX_UNROLL
          for (int r = 0; r < rows_at_once; ++r) store<T>(o + r * w, acc[r]);
        }
        for (; n < last; ++n) {
          vec<T> acc[1] = {load<T>(out + (c + n) * w)};
          detail::direct_rows<1, T>(acc, taps, n, x);
          store<T>(out + (c + n) * w, acc[0]);
        }
      }
      scatter<border::assign, T>({out, w, 0}, y.at(b, d), post.at(b, d), length, width);
    }
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
