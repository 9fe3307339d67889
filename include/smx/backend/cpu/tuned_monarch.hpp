// SPDX-License-Identifier: Apache-2.0
/// \file  The CPU's way of running Monarch matrices of order 2: both stages fused over panels of columns.
#pragma once

#include <smx/backend/cpu/backend.hpp>
#include <smx/backend/cpu/monarch_backward_kernel.hpp>
#include <smx/backend/cpu/monarch_channels_kernel.hpp>
#include <smx/backend/tuned.hpp>

namespace smx {
inline namespace SMX_CPU_ABI {

namespace tuned_monarch {

template <class W>
cpu_kernels::monarch_sizes sizes(W const& w1, W const& w2, index_t in_length, index_t out_length) {
  return {w1.ext[0], w1.ext[1], w1.ext[2], w2.ext[0], w2.ext[1], w2.ext[2], in_length, out_length};
}

/// Rows and columns of every (batch, head) of x as the kernels see them.
template <class V> bool rows_contiguous(V const& v) { return v.str[3] == 1; }

/// Runs f(sub, batch, head, first column, last column) over panels of `width` columns of every (batch, head).
template <class B, class F>
void each_panel(B& be, extents<4> const& e, index_t columns, index_t width, F const& f) {
  index_t const panels = (columns + width - 1) / width;
  be.tiles(e[0] * e[1] * panels, 0, [&](auto& sub, index_t first, index_t count) {
    index_t const last = first + count;
    while (first < last) {  // neighbouring panels of one (batch, head) in one call
      index_t const item = first / panels, p = first % panels,
                    n = panels - p < last - first ? panels - p : last - first;
      f(sub, item / e[1], item % e[1], p * width, (p + n) * width < columns ? (p + n) * width : columns);
      first += n;
    }
  });
}

template <class V> auto at(V const& v, index_t b, index_t h) {
  return detail::advance(v.ptr, b * v.str[0] + h * v.str[1]);
}

}  // namespace tuned_monarch

template <class B, class T, class S>
requires OnCpu<B>
bool smx_tuned(B& be, monarch_forward_call<T, S> const& c) {
  using namespace tuned_monarch;
  if (!rows_contiguous(c.x) || !rows_contiguous(c.y) || !is_contiguous(c.w1) || !is_contiguous(c.w2))
    return false;
  int const mixed = c.channels ? 3 : 2;
  auto const z = sizes(c.w1, c.w2, c.x.ext[mixed], c.y.ext[mixed]);
  index_t const columns = c.x.ext[5 - mixed];
  index_t const width = cpu_kernels::monarch_tile_columns<T>(z);
  index_t const scratch =
      c.channels ? cpu_kernels::monarch_channels_scratch<T>(z) : cpu_kernels::monarch_scratch<T>(z);
  each_panel(be, c.x.ext, columns, width, [&](auto& sub, index_t b, index_t h, index_t d0, index_t d1) {
    auto frame = sub.scope();
    auto s = sub.template scratch<T>(extents<1>{scratch});
    double const n = static_cast<double>(d1 - d0), size = sizeof(T);
    double const moved =
        static_cast<double>(z.in_length + z.out_length + (c.u.size() != 0 ? z.middle() : 0)) * n * size;
    sub.kernel(
        "monarch",
        {2 * n * static_cast<double>(z.parameters()), moved + static_cast<double>(z.parameters()) * size},
        [&] {
          auto const run =
              c.channels ? cpu_kernels::monarch_channels_forward<T> : cpu_kernels::monarch_forward<T>;
          run(z, d0, d1, c.w1.ptr, c.w2.ptr, at(c.x, b, h), c.x.str[2], at(c.y, b, h), c.y.str[2],
              c.u.size() == 0 ? nullptr : at(c.u, b, h), c.u.str[2], s.ptr);
        });
  });
  return true;
}

template <class B, class T, class S>
requires OnCpu<B>
bool smx_tuned(B& be, monarch_backward_call<T, S> const& c) {
  using namespace tuned_monarch;
  using namespace cpu_kernels;
  if (!rows_contiguous(c.x) || !rows_contiguous(c.dy) || !rows_contiguous(c.dx)) return false;
  if (!is_contiguous(c.w1) || !is_contiguous(c.w2) || !is_contiguous(c.dw1) || !is_contiguous(c.dw2))
    return false;
  int const mixed = c.channels ? 3 : 2;
  auto const z = sizes(c.w1, c.w2, c.x.ext[mixed], c.dy.ext[mixed]);
  index_t const columns = c.x.ext[5 - mixed], width = cpu_kernels::monarch_tile_columns<T>(z);
  index_t const scratch = c.channels ? monarch_channels_scratch<T>(z) : monarch_scratch<T>(z);
  double const size = sizeof(T), n = static_cast<double>(columns),
               work = 2 * n * static_cast<double>(z.parameters());
  auto const moved = [&](double share, index_t rows) { return share * n * static_cast<double>(rows) * size; };
  for (index_t b = 0; b < c.x.ext[0]; ++b)
    for (index_t h = 0; h < c.x.ext[1]; ++h) {
      auto frame = be.scope();
      auto const du = be.template scratch<T>(extents<2>{z.middle(), columns});  // (KQ,C)
      // along the channels the weight gradients read dy with features as rows
      auto turned = view<T, 2, S>{};  // (D',L)
      if (c.channels) turned = be.template scratch<T>(extents<2>{z.out_length, columns});
      T* const dx = at(c.dx, b, h);
      T const *const x = at(c.x, b, h), *const dy = at(c.dy, b, h), *const u = at(c.u, b, h);
      each_panel(be, {1, 1, 1, 1}, columns, width, [&](auto& sub, index_t, index_t, index_t d0, index_t d1) {
        auto inner = sub.scope();
        auto s = sub.template scratch<T>(extents<1>{scratch});
        double const share = static_cast<double>(d1 - d0) / n;
        sub.kernel("monarch_backward_input",
                   {share * work, moved(share, z.in_length + z.out_length + z.middle())}, [&] {
                     if (c.channels)
                       monarch_channels_backward_input<T>(z, d0, d1, c.w1.ptr, c.w2.ptr, dy, c.dy.str[2], dx,
                                                          c.dx.str[2], turned.ptr, turned.str[0], du.ptr,
                                                          du.str[0], s.ptr);
                     else
                       monarch_backward_input<T>(z, d0, d1, c.w1.ptr, c.w2.ptr, dy, c.dy.str[2], dx,
                                                 c.dx.str[2], du.ptr, du.str[0], s.ptr);
                   });
      });
      // every block of the weights is one thread's, batch after batch: a fixed order of the sums
      auto const each_block = [&](index_t blocks, char const* name, index_t rows, auto const& run) {
        be.tiles(blocks, 0, [&](auto& sub, index_t first, index_t count) {
          auto s = sub.template scratch<T>(extents<1>{monarch_weights_scratch<T>(columns)});
          double const share = static_cast<double>(count) / static_cast<double>(blocks);
          sub.kernel(name, {share * work / 2, moved(share, rows)}, [&] { run(first, first + count, s.ptr); });
        });
      };
      each_block(z.k, "monarch_backward_w1", z.in_length + z.middle(), [&](index_t k0, index_t k1, T* s) {
        auto const run = c.channels ? monarch_channels_backward_w1<T> : monarch_backward_w1<T>;
        run(z, k0, k1, columns, x, c.x.str[2], du.ptr, du.str[0], c.dw1.ptr, s);
      });
      each_block(z.l, "monarch_backward_w2", z.out_length + z.middle(), [&](index_t l0, index_t l1, T* s) {
        monarch_backward_w2<T>(z, l0, l1, columns, u, c.u.str[2], c.channels ? turned.ptr : dy,
                               c.channels ? turned.str[0] : c.dy.str[2], c.dw2.ptr, s);
      });
    }
  return true;
}

}  // namespace SMX_CPU_ABI
}  // namespace smx
