// SPDX-License-Identifier: Apache-2.0
/// \file  Masks for attention in the conformance suite, of about half the entries each.
#pragma once

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "tests/conformance/cases/attention.hpp"
#include "tests/conformance/cases/mask_memory.hpp"

namespace test {

using smx::index_t;

/// `count` numbers that live as long as the program: the same array for the same numbers.
template <class F> index_t const* kept(index_t count, F const& entry) {
  static auto& all = *new std::map<std::vector<index_t>, index_t const*>;  // never destroyed, as they are
  std::vector<index_t> one;
  for (index_t i = 0; i < count; ++i) one.push_back(entry(i));
  index_t const*& at = all[one];
  if (at == nullptr) {
    auto* const made = take_for_mask<index_t>(count);
    std::copy(one.begin(), one.end(), made);
    at = made;
  }
  return at;
}

template <> struct mask_maker<smx::window_mask> {
  static constexpr bool cross = false;
  static smx::window_mask make(index_t, index_t keys) { return {keys / 3 + 1}; }
};
template <> struct mask_maker<smx::band_mask> {
  static constexpr bool cross = true;
  static smx::band_mask make(index_t, index_t keys) { return {keys / 4, keys / 8, 1}; }
};
template <> struct mask_maker<smx::prefix_mask> {
  static constexpr bool cross = true;
  static smx::prefix_mask make(index_t, index_t keys) {
    return {kept(1, [=](index_t) { return keys / 2; }), 1};
  }
  static smx::prefix_mask first(smx::prefix_mask m, index_t, index_t keys) {
    index_t const length = m.lengths[0] < keys ? m.lengths[0] : keys;
    m.lengths = kept(1, [=](index_t) { return length; });
    return m;
  }
};
template <> struct mask_maker<smx::partial_causal_mask> {
  static constexpr bool cross = true;
  static smx::partial_causal_mask make(index_t, index_t keys) { return {keys / 3}; }
};
template <> struct mask_maker<smx::causal_then_full_mask> {
  static constexpr bool cross = true;
  static smx::causal_then_full_mask make(index_t, index_t keys) { return {keys / 2}; }
};
template <> struct mask_maker<smx::block_causal_mask> {
  static constexpr bool cross = true;
  static smx::block_causal_mask make(index_t, index_t keys) { return {7, keys > 100 ? keys / 14 : -1}; }
};
/// Five segments, one of them empty; the first rows and keys are cut unlike where their numbers differ.
template <> struct mask_maker<smx::packed_mask> {
  static constexpr bool cross = true;
  static index_t const* cut(index_t n) {
    return kept(6, [=](index_t s) {
      index_t const part[] = {0, n / 5, n / 5, n / 2, n / 2 + n / 7, n};
      return part[s];
    });
  }
  static smx::packed_mask make(index_t queries, index_t keys) { return {cut(keys), 5, cut(queries)}; }
  static smx::packed_mask first(smx::packed_mask m, index_t queries, index_t keys) {
    auto const before = [&](index_t const* starts, index_t n) {
      return kept(m.segments + 1, [=](index_t s) { return starts[s] < n ? starts[s] : n; });
    };
    return {before(m.starts, keys), m.segments, before(m.query_starts, queries)};
  }
};
template <> struct mask_maker<smx::padding_mask> {
  static constexpr bool cross = true;
  static smx::padding_mask make(index_t, index_t keys) {
    return {kept(1, [=](index_t) { return keys - keys / 3; }), 1};
  }
};
template <> struct mask_maker<smx::lookahead_mask> {
  static constexpr bool cross = true;
  static smx::lookahead_mask make(index_t queries, index_t) {
    return {smx::view<index_t const, 2, smx::host_space>(
        kept(queries, [](index_t i) { return i * i % 11 - 3; }), smx::extents<2>{1, queries})};
  }
};
/// A table of half the entries, in blocks and alone; of one row where it would be large.
template <> struct mask_maker<smx::boolean_mask> {
  static constexpr bool cross = true;
  static smx::boolean_mask make(index_t queries, index_t keys) {
    index_t const rows = queries > 1000 ? 1 : queries;
    static std::map<std::pair<index_t, index_t>, bool*> all;
    bool*& one = all[{rows, keys}];
    if (one == nullptr) {
      one = take_for_mask<bool>(rows * keys);
      for (index_t i = 0; i < rows; ++i)
        for (index_t j = 0; j < keys; ++j)
          one[static_cast<std::size_t>(i * keys + j)] =
              (i / 60 + j / 90) % 3 == 1 ? false : (i * 7 + j * 3 + i * j) % 5 < 3;
    }
    return {smx::view<bool const, 4, smx::host_space>(one, smx::extents<4>{1, 1, rows, keys})};
  }
};
template <class A, class B> struct mask_maker<smx::and_mask<A, B>> {
  static constexpr bool cross = !smx::and_mask<A, B>::causal;
  static smx::and_mask<A, B> make(index_t queries, index_t keys) {
    return mask_maker<A>::make(queries, keys) & mask_maker<B>::make(queries, keys);
  }
};
template <class A, class B> struct mask_maker<smx::or_mask<A, B>> {
  static constexpr bool cross = !smx::or_mask<A, B>::causal;
  static smx::or_mask<A, B> make(index_t queries, index_t keys) {
    return mask_maker<A>::make(queries, keys) | mask_maker<B>::make(queries, keys);
  }
};
template <> struct mask_maker<smx::dilated_mask> {
  static constexpr bool cross = true;
  static smx::dilated_mask make(index_t, index_t) { return {3, 1}; }
};

}  // namespace test
