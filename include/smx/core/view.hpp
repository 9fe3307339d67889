// SPDX-License-Identifier: Apache-2.0
/// \file  Non-owning strided views that know, in their type, where their memory lives.
///
/// A permutation is a view with swapped strides, never a kernel; splitting, slicing and broadcasting axes
/// are arithmetic on the view.
#pragma once

#include <concepts>
#include <type_traits>

#include <smx/core/extents.hpp>
#include <smx/core/space.hpp>

namespace smx {

/// A pointer, R extents and R strides (in elements; 0 broadcasts). Trivially copyable, so that it passes by
/// value to functions and to CUDA kernels alike. Rank is static; sizes are dynamic; strides are arbitrary.
template <class T, int R, class Space> struct view {
  using element_type = T;
  using value_type = std::remove_const_t<T>;
  using space_type = Space;
  static constexpr int rank = R;

  T* ptr = nullptr;
  smx::extents<R> ext = {};
  smx::extents<R> str = {};

  view() = default;
  SMX_HD constexpr view(T* p, smx::extents<R> const& e, smx::extents<R> const& s) : ptr(p), ext(e), str(s) {}

  /// Row-major over contiguous memory.
  SMX_HD constexpr view(T* p, smx::extents<R> const& e) : ptr(p), ext(e) {
    index_t stride = 1;
    for (int r = R - 1; r >= 0; --r) {
      str[r] = stride;
      stride *= e[r];
    }
  }

  /// view<T> to view<T const> is the only implicit conversion: a host view never becomes a device view.
  /// (A constructor, not a conversion operator: nvcc warns #554-D about the latter.)
  template <class U>
  requires std::same_as<T, U const> SMX_HD constexpr view(view<U, R, Space> const& v)
      : ptr(v.ptr), ext(v.ext), str(v.str) {}

  SMX_HD constexpr smx::extents<R> const& extents() const { return ext; }
  SMX_HD constexpr index_t size() const {
    index_t n = 1;
    for (int r = 0; r < R; ++r) n *= ext[r];
    return n;
  }
  SMX_HD constexpr bool empty() const { return ptr == nullptr && size() == 0; }

  template <std::convertible_to<index_t>... I>
  requires(sizeof...(I) == R) SMX_INLINE SMX_HD constexpr T& operator()(I... i) const {
    index_t const at[R] = {static_cast<index_t>(i)...};
    index_t offset = 0;
    for (int r = 0; r < R; ++r) offset += at[r] * str[r];
    return ptr[offset];
  }
};

namespace detail {
/// Null stays null: arithmetic on the pointer of a meta view would be undefined.
template <class T> SMX_HD constexpr T* advance(T* p, index_t offset) { return p == nullptr ? p : p + offset; }
}  // namespace detail

/// Swaps two axes.
template <class T, int R, class S> SMX_HD constexpr view<T, R, S> swap_axes(view<T, R, S> v, int a, int b) {
  index_t const e = v.ext[a], s = v.str[a];
  v.ext[a] = v.ext[b], v.str[a] = v.str[b];
  v.ext[b] = e, v.str[b] = s;
  return v;
}

/// Indices first .. first + count - 1 of axis `a`.
template <class T, int R, class S>
SMX_HD constexpr view<T, R, S> slice(view<T, R, S> v, int a, index_t first, index_t count) {
  v.ptr = detail::advance(v.ptr, first * v.str[a]);
  v.ext[a] = count;
  return v;
}

/// Splits axis `a`, whose length is m * n, into (m, n).
template <class T, int R, class S>
SMX_HD constexpr view<T, R + 1, S> split_axis(view<T, R, S> const& v, int a, index_t m, index_t n) {
  view<T, R + 1, S> w;
  w.ptr = v.ptr;
  for (int r = 0, q = 0; r < R; ++r) {
    if (r == a) {
      w.ext[q] = m, w.str[q++] = v.str[r] * n;
      w.ext[q] = n, w.str[q++] = v.str[r];
    } else {
      w.ext[q] = v.ext[r], w.str[q++] = v.str[r];
    }
  }
  return w;
}

/// Inserts an axis of `n` entries that all are the same (stride 0) at position `a`.
template <class T, int R, class S>
SMX_HD constexpr view<T, R + 1, S> broadcast_axis(view<T, R, S> const& v, int a, index_t n) {
  view<T, R + 1, S> w;
  w.ptr = v.ptr;
  for (int r = 0, q = 0; q <= R; ++q) {
    if (q == a) {
      w.ext[q] = n, w.str[q] = 0;
    } else {
      w.ext[q] = v.ext[r], w.str[q] = v.str[r];
      ++r;
    }
  }
  return w;
}

/// Removes axis `a` by fixing its index.
template <class T, int R, class S>
SMX_HD constexpr view<T, R - 1, S> fix_axis(view<T, R, S> const& v, int a, index_t i) {
  view<T, R - 1, S> w;
  w.ptr = detail::advance(v.ptr, i * v.str[a]);
  for (int r = 0, q = 0; r < R; ++r)
    if (r != a) w.ext[q] = v.ext[r], w.str[q++] = v.str[r];
  return w;
}

/// Whether the elements lie row-major without gaps.
template <class T, int R, class S> constexpr bool is_contiguous(view<T, R, S> const& v) {
  index_t stride = 1;
  for (int r = R - 1; r >= 0; --r) {
    if (v.ext[r] != 1 && v.str[r] != stride) return false;
    stride *= v.ext[r];
  }
  return true;
}

/// Whether the address ranges of two views of one space meet. Conservative: interleaved views count as
/// overlapping.
template <class T, int R, class U, int Q, class S>
constexpr bool overlaps(view<T, R, S> const& a, view<U, Q, S> const& b) {
  auto const range = [](auto const& v, auto const*& first, auto const*& last) {
    first = last = reinterpret_cast<char const*>(v.ptr);
    for (int r = 0; r < std::remove_cvref_t<decltype(v)>::rank; ++r) {
      index_t const reach = (v.ext[r] - 1) * v.str[r] * static_cast<index_t>(sizeof(*v.ptr));
      (reach < 0 ? first : last) += reach;
    }
    last += sizeof(*v.ptr);
  };
  if (a.ptr == nullptr || b.ptr == nullptr || a.size() == 0 || b.size() == 0) return false;
  char const *a0 = nullptr, *a1 = nullptr, *b0 = nullptr, *b1 = nullptr;
  range(a, a0, a1);
  range(b, b0, b1);
  return a0 < b1 && b0 < a1;
}

}  // namespace smx
