// SPDX-License-Identifier: Apache-2.0
/// \file  The CPU's way of multiplying by matrices that stay: turned into panels once.
#pragma once

#include <algorithm>

#include <smx/backend/cpu/backend.hpp>
#include <smx/backend/cpu/panel_product.hpp>
#include <smx/backend/tuned.hpp>

namespace smx {
inline namespace SMX_CPU_ABI {

/// Not where the program has a BLAS, which is then what products are to run on.
template <class T, class B>
requires OnCpu<B>
bool smx_tuned(B&, product_storage_call<T> const& c) {
#if defined(SMX_WITH_BLAS)
  static_cast<void>(c);
  return false;
#else
  *c.size = c.ext[0] * cpu_kernels::panels_size<T>(c.ext[1], c.ext[2]);
  return true;
#endif
}

template <class B, class T, class S>
requires OnCpu<B>
bool smx_tuned(B& be, product_prepare_call<T, S> const& c) {
  index_t const n = c.w.ext[1], k = c.w.ext[2], size = cpu_kernels::panels_size<T>(n, k);
  be.tiles(c.w.ext[0], 0, [&](auto& sub, index_t first, index_t count) {
    sub.kernel("product_panels", {0, 2 * static_cast<double>(count * size) * sizeof(T)}, [&] {
      for (index_t g = first; g < first + count; ++g)
        cpu_kernels::make_panels(n, k, c.w.ptr + g * c.w.str[0], c.w.str[1], c.storage.ptr + g * size);
    });
  });
  return true;
}

template <class B, class T, class S>
requires OnCpu<B>
bool smx_tuned(B& be, product_forward_call<T, S> const& c) {
  constexpr index_t high = cpu_kernels::panel_rows, wide = 16 * cpu_kernels::panel_columns<T>;
  index_t const n = c.ext[1], k = c.ext[2], length = c.y.ext[2], heads = c.y.ext[1],
                size = cpu_kernels::panels_size<T>(n, k), across = (n + wide - 1) / wide,
                down = (length + high - 1) / high;
  be.tiles(c.y.ext[0] * heads * down * across, 0, [&](auto& sub, index_t first, index_t count) {
    for (index_t block = first; block < first + count; ++block) {
      index_t const j = block % across * wide, i = block / across % down * high,
                    h = block / across / down % heads, b = block / across / down / heads,
                    g = c.ext[0] == 1 ? 0 : h, rows = std::min(high, length - i),
                    cols = std::min(wide, n - j);
      auto const count_of = [](index_t x, index_t y) { return static_cast<double>(x * y); };
      sub.kernel("product",
                 {2 * count_of(rows, cols) * static_cast<double>(k),
                  (count_of(rows, k) + count_of(cols, k) + count_of(rows, cols)) * sizeof(T)},
                 [&] {
                   cpu_kernels::panel_product<T>(
                       rows, cols, k, c.x.ptr + b * c.x.str[0] + h * c.x.str[1] + i * c.x.str[2], c.x.str[2],
                       c.storage.ptr + g * size + j * k,
                       c.bias.size() == 0 ? nullptr : c.bias.ptr + g * c.bias.str[0] + j,
                       c.y.ptr + b * c.y.str[0] + h * c.y.str[1] + i * c.y.str[2] + j, c.y.str[2]);
                 });
    }
  });
  return true;
}

}  // namespace SMX_CPU_ABI
}  // namespace smx
