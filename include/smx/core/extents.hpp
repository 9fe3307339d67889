// SPDX-License-Identifier: Apache-2.0
/// \file  A small fixed array of sizes or strides, usable on host and device.
#pragma once

#include <cstddef>
#include <cstdint>

#include <smx/core/config.hpp>

namespace smx {

using index_t = std::int64_t;

/// R sizes (or strides, in elements), outermost first. An aggregate: `extents<4>{batch, heads, length, dim}`.
template <int R> struct extents {
  static_assert(R >= 1, "extents: rank must be at least 1");
  index_t n[R];

  SMX_INLINE SMX_HD constexpr index_t& operator[](int r) { return n[r]; }
  SMX_INLINE SMX_HD constexpr index_t operator[](int r) const { return n[r]; }
  static constexpr int rank() { return R; }
  friend constexpr bool operator==(extents const&, extents const&) = default;
};

template <class... N> extents(N...) -> extents<static_cast<int>(sizeof...(N))>;

/// The extents of a braced list: `make_extents({2, 1, 4096, 768})`.
template <std::size_t R> constexpr extents<static_cast<int>(R)> make_extents(index_t const (&n)[R]) {
  extents<static_cast<int>(R)> e{};
  for (std::size_t r = 0; r < R; ++r) e.n[r] = n[r];
  return e;
}

}  // namespace smx
