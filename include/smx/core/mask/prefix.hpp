// SPDX-License-Identifier: Apache-2.0
/// \file  Masks that treat the first positions differently: a prompt that is seen whole and is followed
///        causally (prefix_mask per batch entry, partial_causal_mask for all), and causal rows that are
///        followed by rows that see everything (causal_then_full_mask).
///
/// C. Raffel et al., "Exploring the Limits of Transfer Learning", JMLR 2020 (prefix LM). Clean frames causal,
/// noisy frames full: K. Gao et al., "Ca2-VDM", ICML 2025.
#pragma once

#include <smx/core/mask/concept.hpp>

namespace smx {

/// Query i of batch entry b sees keys j < max(lengths[b], i + offset + 1): the prefix is seen by everybody,
/// the rest is causal. `lengths` has `count` entries, one for each batch entry or one for all; it is not
/// owned, and is read wherever the mask is asked.
struct prefix_mask {
  static constexpr bool causal = false;
  index_t const* lengths = nullptr;
  index_t count = 0;
  index_t offset = 0;  ///< keys before the first query
  friend constexpr bool operator==(prefix_mask const&, prefix_mask const&) = default;

  constexpr prefix_mask after(index_t rows) const { return {lengths, count, offset + rows}; }
  SMX_HD constexpr index_range row(index_t b, index_t, index_t i) const {
    index_t const prefix = lengths[count == 1 ? 0 : b], own = i + offset + 1;
    return {0, prefix < own ? own : prefix};
  }
  SMX_HD constexpr bool allow(index_t b, index_t h, index_t i, index_t j) const {
    return detail::ordered_allow(*this, b, h, i, j);
  }
  SMX_HD constexpr tile_class tile(index_t b, index_t h, index_range rows, index_range keys) const {
    return detail::ordered_tile(*this, b, h, rows, keys);
  }
  SMX_HD constexpr index_range keys(index_t b, index_t h, index_range rows, index_t n) const {
    return detail::ordered_keys(*this, b, h, rows, n);
  }
  void expect_fits(extents<4> const& scores) const {
    expects(lengths != nullptr, "mask: prefix lengths: expected an array, got none");
    expects_value(count == 1 || count == scores[0], "mask: prefix lengths",
                  "one for each batch entry, or one for all; entries", count);
    for (index_t b = 0; b < count; ++b)
      expects_value(0 <= lengths[b] && lengths[b] <= scores[3], "mask: prefix length",
                    "0 to the number of keys", lengths[b]);
  }
};

/// Queries of the prompt see the whole prompt, later ones every key up to their own: query i sees j <
/// max(prompt, i + offset + 1).
struct partial_causal_mask {
  static constexpr bool causal = false;
  index_t prompt = 0;
  index_t offset = 0;  ///< keys before the first query
  friend constexpr bool operator==(partial_causal_mask const&, partial_causal_mask const&) = default;

  constexpr partial_causal_mask after(index_t rows) const { return {prompt, offset + rows}; }
  SMX_HD constexpr index_range row(index_t, index_t, index_t i) const {
    return {0, prompt < i + offset + 1 ? i + offset + 1 : prompt};
  }
  SMX_HD constexpr bool allow(index_t b, index_t h, index_t i, index_t j) const {
    return detail::ordered_allow(*this, b, h, i, j);
  }
  SMX_HD constexpr tile_class tile(index_t b, index_t h, index_range rows, index_range keys) const {
    return detail::ordered_tile(*this, b, h, rows, keys);
  }
  SMX_HD constexpr index_range keys(index_t b, index_t h, index_range rows, index_t count) const {
    return detail::ordered_keys(*this, b, h, rows, count);
  }
  void expect_fits(extents<4> const& scores) const {
    expects_value(0 <= prompt && prompt <= scores[3], "mask: prompt", "0 to the number of keys", prompt);
  }
};

/// Positions before `causal_rows` see what is up to them, those from there on every key.
struct causal_then_full_mask {
  static constexpr bool causal = false;
  index_t causal_rows = 0;
  index_t offset = 0;  ///< keys before the first query
  friend constexpr bool operator==(causal_then_full_mask const&, causal_then_full_mask const&) = default;

  constexpr causal_then_full_mask after(index_t rows) const { return {causal_rows, offset + rows}; }
  SMX_HD constexpr index_range row(index_t, index_t, index_t i) const {
    return {0, i + offset < causal_rows ? i + offset + 1 : detail::beyond_every_key};
  }
  SMX_HD constexpr bool allow(index_t b, index_t h, index_t i, index_t j) const {
    return detail::ordered_allow(*this, b, h, i, j);
  }
  SMX_HD constexpr tile_class tile(index_t b, index_t h, index_range rows, index_range keys) const {
    return detail::ordered_tile(*this, b, h, rows, keys);
  }
  SMX_HD constexpr index_range keys(index_t b, index_t h, index_range rows, index_t count) const {
    return detail::ordered_keys(*this, b, h, rows, count);
  }
  void expect_fits(extents<4> const&) const {
    expects_value(causal_rows >= 0, "mask: causal rows", "at least 0", causal_rows);
  }
};

static_assert(IntervalMask<prefix_mask> && ShiftableMask<prefix_mask>);
static_assert(IntervalMask<partial_causal_mask> && ShiftableMask<partial_causal_mask>);
static_assert(IntervalMask<causal_then_full_mask> && ShiftableMask<causal_then_full_mask>);

}  // namespace smx
