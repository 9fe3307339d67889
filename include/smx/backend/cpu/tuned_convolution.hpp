// SPDX-License-Identifier: Apache-2.0
/// \file  The CPU's way of running long convolutions: transforms across channels, tile by tile; online
/// streams.
#pragma once

#include <algorithm>

#include <smx/backend/cpu/backend.hpp>
#include <smx/backend/cpu/convolution/backward.hpp>
#include <smx/backend/cpu/convolution/exact.hpp>
#include <smx/backend/cpu/convolution/forward.hpp>
#include <smx/backend/cpu/convolution/step.hpp>
#include <smx/backend/tuned.hpp>

namespace smx {
inline namespace SMX_CPU_ABI {

namespace tuned_convolution {

namespace kernels = cpu_kernels;

/// One head of (B,H,L,D) as a batch of (L,D); null when empty.
template <class T, class S> kernels::sequence<T> head(view<T, 4, S> const& v, index_t h) {
  if (v.ext[3] == 0) return {};
  return {detail::advance(v.ptr, h * v.str[1]), v.str[0], v.str[2], v.str[3]};
}
/// (D,taps) as a sequence over taps.
template <class T, class S> kernels::sequence<T> taps(view<T, 2, S> const& k) {
  if (k.ext[0] == 0) return {};
  return {k.ptr, 0, k.str[1], k.str[0]};
}
template <class T, class S>
kernels::convolution_kernel<T> kernel(convolution_shape const& s, view<T, 2, S> const& k,
                                      view<T, 2, S> const& k_rev, T* skip) {
  return {taps(k), s.taps, taps(k_rev), s.taps, s.kind == convolution_kind::circular, skip};
}

/// Constants rounded up to whole lines, so that what follows them lies on a boundary.
inline index_t aligned(index_t n) { return (n + 63) / 64 * 64; }

template <class T> index_t storage_size(convolution_shape const& s) {
  if (s.exact) return kernels::online_kernel_size<T>(kernels::make_online_plan(s.length, s.taps), s.channels);
  auto const plan = kernels::make_transform_plan(s.length);
  return aligned(plan.twiddles) + kernels::spectrum_size<T>(plan, s.channels);
}

/// flops of one transform there and back, by the operation counts of the tree
inline double transform_flops(kernels::transform_plan const& plan) {
  double const m = static_cast<double>(plan.points);
  return 10 * m * std::log2(m);
}

/// flops of a channel at position n of a stream: the terms in its block, and the tail at a boundary.
inline double step_flops(kernels::online_plan const& plan, index_t n) {
  index_t const in_block = n % kernels::online_plan::block;
  double const direct = 2 * static_cast<double>(in_block + 1);
  if (n == 0 || in_block != 0) return direct;
  return direct + transform_flops(kernels::make_transform_plan(kernels::online_plan::points(plan.level(n))));
}

/// body(sub, first tile, tiles) over the channel tiles.
template <class T, class B, class F> void each_tile(B& be, index_t channels, F const& body) {
  be.tiles(kernels::tile_count<T>(channels), 0, body);
}

}  // namespace tuned_convolution

template <class T, class B>
requires OnCpu<B>
bool smx_tuned(B&, convolution_storage_call<T> const& c) {
  *c.size = tuned_convolution::storage_size<T>(c.shape);
  return true;
}

template <class B, class T, class S>
requires OnCpu<B>
bool smx_tuned(B& be, convolution_prepare_call<T, S> const& c) {
  using namespace tuned_convolution;
  double const size = static_cast<double>(storage_size<T>(c.shape)) * sizeof(T);
  auto const share = [&](index_t count) {
    return static_cast<double>(count) / static_cast<double>(kernels::tile_count<T>(c.shape.channels));
  };
  double const all = static_cast<double>(c.shape.channels) / 2;
  if (c.shape.exact) {
    auto const plan = kernels::make_online_plan(c.shape.length, c.shape.taps);
    double const flops = all * plan.levels * transform_flops(kernels::make_transform_plan(plan.largest()));
    be.kernel("convolution_constants", {0, 0},
              [&] { kernels::fill_online_twiddles<T>(plan, c.shape.channels, c.storage.ptr); });
    each_tile<T>(be, c.shape.channels, [&](auto& sub, index_t first, index_t count) {
      auto s = sub.template scratch<T>(extents<1>{kernels::online_scratch<T>(plan)});
      sub.kernel("convolution_spectrum", {share(count) * flops, share(count) * size}, [&] {
        kernels::prepare_online_kernel<T>(plan, kernel<T const>(c.shape, c.k, c.k_rev, c.skip.ptr),
                                          c.shape.channels, first, count, c.storage.ptr, s.ptr);
      });
    });
    return true;
  }
  auto const plan = kernels::make_transform_plan(c.shape.length);
  be.kernel("convolution_constants", {0, static_cast<double>(plan.twiddles) * sizeof(T)},
            [&] { kernels::fill_twiddles<T>(plan, c.storage.ptr); });
  each_tile<T>(be, c.shape.channels, [&](auto& sub, index_t first, index_t count) {
    auto s = sub.template scratch<T>(extents<1>{kernels::spectrum_scratch<T>(plan)});
    sub.kernel(
        "convolution_spectrum", {share(count) * all * transform_flops(plan), share(count) * size}, [&] {
          kernels::kernel_spectrum<T>(plan, c.storage.ptr, kernel<T const>(c.shape, c.k, c.k_rev, c.skip.ptr),
                                      c.shape.channels, first, count, c.storage.ptr + aligned(plan.twiddles),
                                      s.ptr);
        });
  });
  return true;
}

template <class B, class T, class S>
requires OnCpu<B>
bool smx_tuned(B& be, convolution_forward_call<T, S> const& c) {
  using namespace tuned_convolution;
  index_t const d = c.shape.channels, batch = c.x.ext[0], heads = c.x.ext[1], length = c.shape.length;
  double const entries =
      static_cast<double>(batch * length) * (2 + (c.pre.size() != 0 ? 1 : 0) + (c.post.size() != 0 ? 1 : 0));
  auto const plan = kernels::make_transform_plan(length);
  auto const online = kernels::make_online_plan(length, c.shape.taps);
  index_t const scratch =
      c.shape.exact ? kernels::exact_scratch<T>(online, length) : kernels::forward_scratch<T>(plan);
  double flops = transform_flops(plan);
  if (c.shape.exact) {
    flops = static_cast<double>(length) * kernels::online_plan::block;  // 2 flops for each of 16 terms
    for (index_t at = kernels::online_plan::block; at < length; at += kernels::online_plan::block)
      flops += transform_flops(kernels::make_transform_plan(kernels::online_plan::points(online.level(at))));
  }
  each_tile<T>(be, d, [&](auto& sub, index_t first, index_t count) {
    auto s = sub.template scratch<T>(extents<1>{scratch});
    double const channels =
        static_cast<double>(std::min(count * kernels::lanes<T>, d - first * kernels::lanes<T>));
    for (index_t h = 0; h < heads; ++h)
      sub.kernel("convolution",
                 {static_cast<double>(batch) * channels * flops,
                  channels * (entries + 2 * static_cast<double>(plan.points)) * sizeof(T)},
                 [&] {
                   if (c.shape.exact)
                     kernels::convolution_forward_exact<T>(online, c.storage.ptr, length, batch, d,
                                                           head(c.x, h), head(c.pre, h), head(c.post, h),
                                                           head(c.y, h), first, count, s.ptr);
                   else
                     kernels::convolution_forward<T>(
                         plan, c.storage.ptr, c.storage.ptr + aligned(plan.twiddles), batch, d, head(c.x, h),
                         head(c.pre, h), head(c.post, h), head(c.y, h), first, count, s.ptr);
                 });
  });
  return true;
}

template <class B, class T, class S>
requires OnCpu<B>
bool smx_tuned(B& be, convolution_backward_call<T, S> const& c) {
  using namespace tuned_convolution;
  index_t const d = c.shape.channels, batch = c.x.ext[0], heads = c.x.ext[1];
  auto const plan = kernels::make_transform_plan(c.shape.length);
  double const entries = static_cast<double>(batch * c.shape.length) *
                         (3 + (c.pre.size() != 0 ? 3 : 0) + (c.post.size() != 0 ? 3 : 0));
  double const walks = 2 + (c.post.size() != 0 ? 0.5 : 0);
  each_tile<T>(be, d, [&](auto& sub, index_t first, index_t count) {
    auto s = sub.template scratch<T>(extents<1>{kernels::backward_scratch<T>(plan, batch)});
    double const channels =
        static_cast<double>(std::min(count * kernels::lanes<T>, d - first * kernels::lanes<T>));
    for (index_t h = 0; h < heads; ++h)
      sub.kernel(
          "convolution_backward",
          {static_cast<double>(batch) * channels * walks * transform_flops(plan),
           channels * (entries + 2 * static_cast<double>(plan.points)) * sizeof(T)},
          [&] {
            kernels::convolution_gradients<T> const to{head(c.dx, h), head(c.dpre, h), head(c.dpost, h),
                                                       kernel<T>(c.shape, c.dk, c.dk_rev, c.dskip.ptr)};
            kernels::convolution_backward<T>(plan, c.storage.ptr, c.storage.ptr + aligned(plan.twiddles),
                                             batch, d, head(c.x, h), head(c.pre, h), head(c.post, h),
                                             head(c.dy, h), to, first, count, s.ptr);
          });
  });
  return true;
}

template <class T, class B>
requires OnCpu<B>
bool smx_tuned(B&, convolution_stream_storage_call<T> const& c) {
  auto const plan = cpu_kernels::make_online_plan(c.shape.length, c.shape.taps);
  *c.kernel = cpu_kernels::online_kernel_size<T>(plan, c.shape.channels);
  *c.rows = plan.rows();
  *c.layout = cpu_kernels::vector_bytes;
  return true;
}

template <class B, class T, class S>
requires OnCpu<B>
bool smx_tuned(B& be, convolution_stream_prepare_call<T, S> const& c) {
  using namespace tuned_convolution;
  index_t const d = c.shape.channels;
  auto const plan = kernels::make_online_plan(c.shape.length, c.shape.taps);
  auto const k = kernel<T const>(c.shape, c.k, view<T const, 2, S>{}, c.skip.ptr);
  be.kernel("convolution_constants", {0, 0},
            [&] { kernels::fill_online_twiddles<T>(plan, d, c.kernel.ptr); });
  each_tile<T>(be, d, [&](auto& sub, index_t first, index_t count) {
    auto s = sub.template scratch<T>(extents<1>{kernels::online_scratch<T>(plan)});
    sub.kernel("convolution_stream_prepare", {0, 0},
               [&] { kernels::prepare_online_kernel<T>(plan, k, d, first, count, c.kernel.ptr, s.ptr); });
  });
  return true;
}

namespace tuned_convolution {
/// The rows of head h of a state (B,H,R,D).
template <class T, class S> kernels::online_state<T> state_rows(view<T, 4, S> const& rows, index_t h) {
  return {rows.ptr + h * rows.str[1], rows.str[0]};
}
}  // namespace tuned_convolution

template <class B, class T, class S>
requires OnCpu<B>
bool smx_tuned(B& be, convolution_stream_begin_call<T, S> const& c) {
  using namespace tuned_convolution;
  index_t const d = c.shape.channels, batch = c.x.ext[0], heads = c.x.ext[1], length = c.x.ext[2];
  auto const plan = kernels::make_online_plan(c.shape.length, c.shape.taps);
  auto const k = kernel<T const>(c.shape, c.k, view<T const, 2, S>{}, c.skip.ptr);
  each_tile<T>(be, d, [&](auto& sub, index_t first, index_t count) {
    auto s =
        sub.template scratch<T>(extents<1>{kernels::prefill_scratch<T>(plan, std::max(index_t{1}, length))});
    sub.kernel("convolution_stream_begin", {0, 0}, [&] {
      for (index_t h = 0; h < heads; ++h) {
        auto const rows = state_rows(c.rows, h);
        if (length > 0)
          kernels::online_prefill<T>(plan, k, length, batch, d, head(c.x, h), head(c.pre, h), first, count,
                                     rows, s.ptr);
        else
          kernels::online_reset<T>(plan, batch, d, first, count, rows);
      }
    });
  });
  return true;
}

template <class B, class T, class S>
requires OnCpu<B>
bool smx_tuned(B& be, convolution_stream_step_call<T, S> const& c) {
  using namespace tuned_convolution;
  index_t const d = c.shape.channels, batch = c.x.ext[0], heads = c.x.ext[1];
  auto const plan = kernels::make_online_plan(c.shape.length, c.shape.taps);
  each_tile<T>(be, d, [&](auto& sub, index_t first, index_t count) {
    auto s = sub.template scratch<T>(extents<1>{kernels::online_scratch<T>(plan)});
    index_t const channels = std::min(count * kernels::lanes<T>, d - first * kernels::lanes<T>);
    for (index_t h = 0; h < heads; ++h)
      sub.kernel("convolution_step", {static_cast<double>(batch * channels) * step_flops(plan, c.n), 0}, [&] {
        kernels::online_step<T>(plan, c.kernel.ptr, c.n, batch, d, head(c.x, h), head(c.pre, h),
                                head(c.post, h), head(c.y, h), first, count, state_rows(c.rows, h), s.ptr);
      });
  });
  return true;
}

}  // namespace SMX_CPU_ABI
}  // namespace smx
