// SPDX-License-Identifier: Apache-2.0
/// \file  The shape checks of the primitives, written once for every backend.
#pragma once

#include <type_traits>

#include <smx/backend/concept.hpp>

namespace smx {

/// view<T> to view<T const>, where deduction keeps the implicit conversion from applying.
template <class T, int R, class S>
constexpr view<std::add_const_t<T>, R, S> as_input(view<T, R, S> const& v) {
  return {v.ptr, v.ext, v.str};
}

/// How many of n items with scratch of their own are taken at once by backends that take all they can: slabs
/// of 64 MiB at most, one item at least.
constexpr index_t slab_items(index_t n, std::size_t bytes_per_item) {
  constexpr std::size_t slab = std::size_t{64} << 20;
  std::size_t const fit = bytes_per_item == 0 ? static_cast<std::size_t>(n) : slab / bytes_per_item;
  return fit < 1 ? 1 : fit < static_cast<std::size_t>(n) ? static_cast<index_t>(fit) : n < 1 ? 1 : n;
}

}  // namespace smx

namespace smx::detail {

/// Extents of op(A) on the last two axes.
template <class V> constexpr extents<4> op_extents(op t, V const& v) {
  extents<4> e = v.ext;
  if (t == op::transpose) e[2] = v.ext[3], e[3] = v.ext[2];
  return e;
}

template <class A, class B, class C>
void check_gemm(op ta, op tb, A const& a, B const& b, C const& c, location at = location::here()) {
  extents<4> const ea = op_extents(ta, a), eb = op_extents(tb, b);
  for (int r = 0; r < 2; ++r) {
    expects_value(ea[r] == c.ext[r] || ea[r] == 1, "gemm: a", "a batch extent of 1 or that of c", ea[r], at);
    expects_value(eb[r] == c.ext[r] || eb[r] == 1, "gemm: b", "a batch extent of 1 or that of c", eb[r], at);
  }
  expects_extents("gemm: op(a)", ea, {ea[0], ea[1], c.ext[2], ea[3]}, at);
  expects_extents("gemm: op(b)", eb, {eb[0], eb[1], ea[3], c.ext[3]}, at);
  expects_value(a.str[3] == 1 || a.ext[3] == 1, "gemm: a", "a contiguous last axis; stride", a.str[3], at);
  expects_value(b.str[3] == 1 || b.ext[3] == 1, "gemm: b", "a contiguous last axis; stride", b.str[3], at);
  expects_value(c.str[3] == 1 || c.ext[3] == 1, "gemm: c", "a contiguous last axis; stride", c.str[3], at);
}

/// A view of extent 1 along an axis stands for every index of it.
template <class T, class S> constexpr view<T, 4, S> broadcast_batch(view<T, 4, S> v, index_t n0, index_t n1) {
  if (v.ext[0] == 1) v.ext[0] = n0, v.str[0] = 0;
  if (v.ext[1] == 1) v.ext[1] = n1, v.str[1] = 0;
  return v;
}

template <class Y, class... X> void check_map(Y const& y, X const&... x) {
  (expects_extents("map: x", x.ext, y.ext), ...);
}

template <class X, class Y> void check_reduce(X const& x, Y const& y) {
  expects_extents("reduce: y", y.ext, {x.ext[0], x.ext[1], x.ext[2], 1});
}

template <class X, class Y, class Z> void check_softmax(X const& x, Y const& y, Z const& lse) {
  expects_extents("softmax: y", y.ext, x.ext);
  expects_extents("softmax: lse", lse.ext, {x.ext[0], x.ext[1], x.ext[2], 1});
}

}  // namespace smx::detail
