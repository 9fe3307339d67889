// SPDX-License-Identifier: Apache-2.0
/// \file  What each primitive costs, written once for everything that counts (plan, traced).
///
/// flops: a product of n terms counts 2 n, an entry of any other primitive 1 for each input, more where the
/// formula says so. bytes: what a primitive reads and writes, broadcast axes once, caches ignored. The sums
/// are exact: whole numbers below 2^53.
#pragma once

#include <smx/backend/shapes.hpp>

namespace smx::counting {

/// Entries of a view, broadcast ones each time.
template <class V> constexpr double entries(V const& v) {
  double n = 1;
  for (int r = 0; r < V::rank; ++r) n *= static_cast<double>(v.ext[r]);
  return n;
}

/// Bytes of the memory behind a view.
template <class V> constexpr double touched(V const& v) {
  double n = sizeof(typename V::value_type);
  for (int r = 0; r < V::rank; ++r) n *= v.str[r] == 0 && v.ext[r] > 1 ? 1.0 : static_cast<double>(v.ext[r]);
  return n;
}

template <class A, class B, class S, class C>
constexpr kernel_cost gemm(op ta, A const& a, B const& b, S beta, C const& c) {
  double const k = static_cast<double>(detail::op_extents(ta, a)[3]);
  return {2 * entries(c) * k, touched(a) + touched(b) + touched(c) * (beta == S(0) ? 1 : 2)};
}
template <class Y, class... X> constexpr kernel_cost map(Y const& y, X const&... x) {
  return {entries(y) * static_cast<double>(sizeof...(X)), (touched(y) + ... + touched(x))};
}
template <class Y> constexpr kernel_cost generate(Y const& y) { return {0, touched(y)}; }
template <class X, class Y> constexpr kernel_cost copy(X const& x, Y const& y) {
  return {0, touched(x) + touched(y)};
}
template <class X, class Y> constexpr kernel_cost reduce(X const& x, Y const& y) {
  return {entries(x), touched(x) + touched(y)};
}
template <class X, class Y, class Z> constexpr kernel_cost softmax(X const& x, Y const& y, Z const& lse) {
  return {4 * entries(x), touched(x) + touched(y) + touched(lse)};
}
template <class X, class Y> constexpr kernel_cost softmax_backward(X const& y, X const& dy, Y const& dx) {
  return {4 * entries(y), touched(y) + touched(dy) + touched(dx)};
}
/// a...: every other view that is passed.
template <class X, class... A> constexpr kernel_cost norm(X const& x, A const&... a) {
  return {6 * entries(x), (touched(x) + ... + touched(a))};
}
template <class X, class... A> constexpr kernel_cost norm_backward(X const& x, A const&... a) {
  return {10 * entries(x), (touched(x) + ... + touched(a))};
}
template <class X, class Y> constexpr kernel_cost cumulative_sum(X const& x, Y const& y) {
  return {entries(x), touched(x) + touched(y)};
}
template <class A, class X, class Y> constexpr kernel_cost decayed_scan(A const& a, X const& x, Y const& y) {
  return {2 * entries(x), touched(a) + touched(x) + touched(y)};
}
/// Half of the triangle's square is read; X is read and written.
template <class A, class X> constexpr kernel_cost solve_unit_lower(A const& a, X const& x) {
  return {entries(x) * static_cast<double>(x.ext[2]), touched(a) / 2 + 2 * touched(x)};
}
/// The rows that are looked up, not the table.
template <class I, class Y> constexpr kernel_cost gather(I const& rows, Y const& y) {
  return {0, touched(rows) + 2 * touched(y)};
}
template <class I, class X> constexpr kernel_cost scatter_add(I const& rows, X const& dy) {
  return {entries(dy), touched(rows) + 3 * touched(dy)};
}

}  // namespace smx::counting
