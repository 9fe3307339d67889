// SPDX-License-Identifier: Apache-2.0
/// \file  The keys and values that attention keeps: position p in row p modulo the capacity, so that dropping
/// the oldest makes room without moving anything.
#pragma once

#include <limits>

#include <smx/mixers/concept.hpp>

namespace smx {

/// Keys and values of the positions first .. length - 1. A linear cache refuses what does not fit; a ring
/// drops what its mask no longer shows. The numbers below are the same for every row of the batch.
template <class A, class T> struct attention_cache {
  array<A, T, 4> k, v;   // (B,Hkv,capacity,D or E)
  index_t length = 0;    ///< positions so far, dropped ones included
  index_t first = 0;     ///< the oldest that is kept
  index_t capacity = 0;  ///< positions kept at most
  index_t reach = 0;     ///< of a ring: keys that its mask shows at most; 0: a linear cache

  template <class F, class... S> static void for_each_array(F&& f, S&&... s) {
    f("k", s.k...);
    f("v", s.v...);
  }
  template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
    f("length", s.length...);
    f("first", s.first...);
    f("capacity", s.capacity...);
    f("reach", s.reach...);
  }
  index_t tokens() const { return length; }
  index_t kept() const { return length - first; }
  bool is_ring() const { return reach > 0; }
  /// Tokens that fit without an error.
  index_t room() const {
    return is_ring() ? std::numeric_limits<index_t>::max() - length : capacity - kept();
  }
  std::size_t bytes() const { return k.bytes() + v.bytes(); }

  /// Whether position p still lies in row p: nothing was dropped and nothing has gone round.
  bool is_plain() const { return first == 0 && length <= capacity; }
  /// Rows that hold, or held, a position.
  index_t rows() const { return length < capacity ? length : capacity; }

  /// Appends the last rows of keys and values (B,Hkv,n,.), as many as there is room for; the oldest give way.
  template <class B> void append(B& be, in<B, T, 4> keys, in<B, T, 4> values) {
    index_t const count = keys.ext[2], left_out = count > capacity ? count - capacity : 0;
    each_run(length + left_out, count - left_out, [&](index_t row, index_t from, index_t n) {
      be.copy(slice(keys, 2, left_out + from, n), slice(k.view(), 2, row, n));
      be.copy(slice(values, 2, left_out + from, n), slice(v.view(), 2, row, n));
    });
    length += count;
    if (first < length - capacity) first = length - capacity;
  }

  /// f(row, i, n): the runs of rows that hold positions from + i .. from + i + n - 1, of `count` <= capacity.
  template <class F> void each_run(index_t from, index_t count, F const& f) const {
    index_t const row = from % capacity, n = count < capacity - row ? count : capacity - row;
    if (n > 0) f(row, index_t{0}, n);
    if (count > n) f(index_t{0}, n, count - n);
  }

  /// Throws unless these counters (from a file) can be those of a cache that was made like this one.
  template <class S> void expect_counters(S const& read) const {
    expects_value(read.first <= read.length, "state: first", "no more than length", read.first);
    expects_value(read.length - read.first <= capacity, "state: length",
                  "no more positions after first than the capacity", read.length);
    expects_value(read.reach <= capacity, "state: reach", "no more than the capacity", read.reach);
  }
};

}  // namespace smx
