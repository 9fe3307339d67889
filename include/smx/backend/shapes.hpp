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

/// Throws unless the last axis is contiguous, which is what gemm takes.
template <class V>
void expects_contiguous_rows(char const* argument, V const& v, location at = location::here()) {
  constexpr int last = V::rank - 1;
  expects_value(v.str[last] == 1 || v.ext[last] == 1, argument, "a contiguous last axis; stride", v.str[last],
                at);
}

inline constexpr std::size_t default_slab_bytes = std::size_t{64} << 20;

/// How many of n items with scratch of their own are taken at once by backends that take all they can: slabs
/// of `slab` bytes at most, one item at least.
constexpr index_t slab_items(index_t n, std::size_t bytes_per_item, std::size_t slab = default_slab_bytes) {
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
  expects_contiguous_rows("gemm: a", a, at);
  expects_contiguous_rows("gemm: b", b, at);
  expects_contiguous_rows("gemm: c", c, at);
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
  expects_value(x.ext[3] >= 1, "reduce: x", "at least one entry along the last axis", x.ext[3]);
}

template <class X, class Y, class Z> void check_softmax(X const& x, Y const& y, Z const& lse) {
  expects_extents("softmax: y", y.ext, x.ext);
  expects_extents("softmax: lse", lse.ext, {x.ext[0], x.ext[1], x.ext[2], 1});
}

template <class X, class Y> void check_softmax_backward(X const& y, X const& dy, Y const& dx) {
  expects_extents("softmax_backward: dy", dy.ext, y.ext);
  expects_extents("softmax_backward: dx", dx.ext, y.ext);
}

/// The last axis alone: what gain, bias and their gradients have.
template <class X> constexpr extents<4> channels_of(X const& x) { return {1, 1, 1, x.ext[3]}; }
/// All axes but the last: what a mean or a scale of each row has.
template <class X> constexpr extents<4> rows_of(X const& x) { return {x.ext[0], x.ext[1], x.ext[2], 1}; }

template <class X, class Y>
void check_norm(X const& x, X const& gain, X const& bias, Y const& y, Y const& mean, Y const& scale) {
  expects_extents("norm: gain", gain.ext, channels_of(x));
  if (bias.size() != 0) expects_extents("norm: bias", bias.ext, channels_of(x));
  expects_extents("norm: y", y.ext, x.ext);
  expects_extents("norm: mean", mean.ext, rows_of(x));
  expects_extents("norm: scale", scale.ext, rows_of(x));
}

template <class X, class Y>
void check_norm_backward(X const& x, X const& gain, X const& mean, X const& scale, X const& dy, Y const& dx,
                         Y const& dgain, Y const& dbias) {
  expects_extents("norm_backward: gain", gain.ext, channels_of(x));
  expects_extents("norm_backward: mean", mean.ext, rows_of(x));
  expects_extents("norm_backward: scale", scale.ext, rows_of(x));
  expects_extents("norm_backward: dy", dy.ext, x.ext);
  expects_extents("norm_backward: dx", dx.ext, x.ext);
  expects_extents("norm_backward: dgain", dgain.ext, channels_of(x));
  if (dbias.size() != 0) expects_extents("norm_backward: dbias", dbias.ext, channels_of(x));
}

template <class X, class Y> void check_cumulative_sum(X const& x, Y const& y) {
  expects_extents("cumulative_sum: y", y.ext, x.ext);
}

template <class X, class Y> void check_decayed_scan(X const& a, X const& x, Y const& y) {
  expects_extents("decayed_scan: y", y.ext, x.ext);
  expects_extents("decayed_scan: a", a.ext, {x.ext[0], x.ext[1], x.ext[2], a.ext[3] == 1 ? 1 : x.ext[3]});
}

template <class A, class X> void check_solve_unit_lower(A const& a, X const& x) {
  expects_extents("solve_unit_lower: a", a.ext, {x.ext[0], x.ext[1], x.ext[2], x.ext[2]});
}

template <class A, class I, class Y> void check_gather(A const& table, I const& rows, Y const& y) {
  expects_extents("gather: y", y.ext, {rows.ext[0], table.ext[1]});
}

template <class I, class X, class Y> void check_scatter_add(I const& rows, X const& dy, Y const& dtable) {
  expects_extents("scatter_add: dy", dy.ext, {rows.ext[0], dtable.ext[1]});
}

}  // namespace smx::detail
