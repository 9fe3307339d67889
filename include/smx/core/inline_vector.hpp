// SPDX-License-Identifier: Apache-2.0
/// \file  A short list with its storage inside: regular, trivially copyable, no allocation.
#pragma once

#include <initializer_list>

#include <smx/core/check.hpp>

namespace smx {

/// Up to Capacity entries; one more throws.
template <class T, int Capacity> struct inline_vector {
  T items[Capacity] = {};
  int count = 0;

  constexpr inline_vector() = default;
  constexpr inline_vector(std::initializer_list<T> list) {
    for (T const& item : list) push_back(item);
  }
  constexpr void push_back(T const& item) {
    expects_value(count < Capacity, "inline_vector", "no more entries than its capacity", count + 1);
    items[count++] = item;
  }
  constexpr int size() const { return count; }
  constexpr bool empty() const { return count == 0; }
  constexpr T& operator[](int i) { return items[i]; }
  constexpr T const& operator[](int i) const { return items[i]; }
  constexpr T const* begin() const { return items; }
  constexpr T const* end() const { return items + count; }
  friend constexpr bool operator==(inline_vector const& a, inline_vector const& b) {
    if (a.count != b.count) return false;
    for (int i = 0; i < a.count; ++i)
      if (!(a.items[i] == b.items[i])) return false;
    return true;
  }
};

}  // namespace smx
