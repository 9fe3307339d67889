// SPDX-License-Identifier: Apache-2.0
/// \file  Attention masks: run-time values of a compile-time type. Nothing is materialised.
///
/// A mask answers three questions about query rows i and keys j of batch entry b and query head h, and the
/// answers must agree: `allow` for one entry, `tile` for a rectangle of entries, `keys` for the range outside
/// which rows see nothing. Kernels skip empty tiles, run full tiles without tests, and never read a masked
/// entry.
#pragma once

#include <concepts>

#include <smx/core/config.hpp>
#include <smx/core/extents.hpp>

namespace smx {

enum class tile_class : char { empty, partial, full };

/// Half-open: first <= n < last.
struct index_range {
  index_t first, last;
  friend constexpr bool operator==(index_range const&, index_range const&) = default;
};

/// Every query sees every key.
struct full_mask {
  static constexpr bool causal = false;
  friend constexpr bool operator==(full_mask const&, full_mask const&) = default;

  SMX_HD constexpr bool allow(index_t, index_t, index_t, index_t) const { return true; }
  SMX_HD constexpr tile_class tile(index_t, index_t, index_range, index_range) const {
    return tile_class::full;
  }
  SMX_HD constexpr index_range keys(index_t, index_t, index_range, index_t count) const { return {0, count}; }
};

/// Query i sees keys j <= i + offset. offset = number of keys that precede the first query (0 without a
/// cache).
struct causal_mask {
  static constexpr bool causal = true;
  index_t offset = 0;
  friend constexpr bool operator==(causal_mask const&, causal_mask const&) = default;

  /// The same mask for queries that are numbered from `rows` on.
  constexpr causal_mask after(index_t rows) const { return {offset + rows}; }
  SMX_HD constexpr bool allow(index_t, index_t, index_t i, index_t j) const { return j <= i + offset; }
  SMX_HD constexpr tile_class tile(index_t, index_t, index_range rows, index_range keys) const {
    if (keys.last - 1 <= rows.first + offset) return tile_class::full;
    return keys.first <= rows.last - 1 + offset ? tile_class::partial : tile_class::empty;
  }
  SMX_HD constexpr index_range keys(index_t, index_t, index_range rows, index_t count) const {
    index_t const last = rows.last + offset;
    return {0, last < 0 ? 0 : last < count ? last : count};
  }
};

template <class M>
concept Mask = std::regular<M> && requires(M const m, index_t n, index_range r) {
  {
    M::causal
    } -> std::convertible_to<bool>;  // row i sees no key beyond i + constant: a prefix is self-contained
  { m.allow(n, n, n, n) } -> std::same_as<bool>;        // (b, h, i, j)
  { m.tile(n, n, r, r) } -> std::same_as<tile_class>;   // (b, h, rows, keys)
  { m.keys(n, n, r, n) } -> std::same_as<index_range>;  // (b, h, rows, number of keys)
};

static_assert(Mask<full_mask> && Mask<causal_mask>);

}  // namespace smx
