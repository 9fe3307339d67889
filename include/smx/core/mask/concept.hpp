// SPDX-License-Identifier: Apache-2.0
/// \file  Attention masks: run-time values of a compile-time type. Nothing is materialised.
///
/// A mask answers three questions about query rows i and keys j of batch entry b and query head h, and the
/// answers must agree: `allow` for one entry, `tile` for a rectangle of entries, `keys` for the range outside
/// which rows see nothing. Kernels skip empty tiles, run full tiles without tests, and never read a masked
/// entry.
///
/// Query i stands at position i + offset among the keys; offset = number of keys that precede the first query
/// (0 without a cache), never guessed from the lengths.
#pragma once

#include <concepts>
#include <limits>

#include <smx/core/check.hpp>
#include <smx/core/config.hpp>
#include <smx/core/extents.hpp>

namespace smx {

/// `empty` and `full` are promises; `partial` may also be said of a rectangle that is neither looked through
/// nor known.
enum class tile_class : char { empty, partial, full };

/// Half-open: first <= n < last.
struct index_range {
  index_t first, last;
  friend constexpr bool operator==(index_range const&, index_range const&) = default;
};

template <class M>
concept Mask = std::regular<M> && requires(M const m, index_t n, index_range r) {
  {
    M::causal
    }
    -> std::convertible_to<bool>;  // no query sees a key after its own position, whatever the value's members
  { m.allow(n, n, n, n) } -> std::same_as<bool>;        // (b, h, i, j)
  { m.tile(n, n, r, r) } -> std::same_as<tile_class>;   // (b, h, rows, keys), neither of them without entries
  { m.keys(n, n, r, n) } -> std::same_as<index_range>;  // (b, h, rows, number of keys): within 0 and that
};

/// The keys that a query sees are one range: row(b, h, i), which may reach below 0 and beyond the last key,
/// and sees nothing where last <= first. Partial tiles then need no test of each entry.
template <class M>
concept IntervalMask = Mask<M> && requires(M const m, index_t n) {
  { m.row(n, n, n) } -> std::same_as<index_range>;  // (b, h, i)
};

/// The same mask for queries numbered from n on: what runs token by token needs it.
template <class M>
concept ShiftableMask = Mask<M> && requires(M const m, index_t n) {
  { m.after(n) } -> std::same_as<M>;
};

/// A shiftable mask under which rows can be answered as they come: a causal one, or one that says by
/// closed(n) how many of n positions see nothing after themselves (blocks).
template <class M>
concept StreamableMask = ShiftableMask<M> &&(M::causal || requires(M const m, index_t n) {
  { m.closed(n) } -> std::same_as<index_t>;
});

/// Looks back over a bounded number of keys: queries from position i on see none before oldest(i), and a ring
/// of reach() keys is enough (0: this value has no bound).
template <class M>
concept WindowedMask = StreamableMask<M> && requires(M const m, index_t n) {
  { m.oldest(n) } -> std::same_as<index_t>;
  { m.reach() } -> std::same_as<index_t>;
};

/// Throws precondition_error where a mask cannot be that of a (B,Hq,L,M) score array: lengths beyond the
/// keys, segments that do not add up. Masks say so by a member expect_fits(scores); without it everything
/// fits.
template <Mask M> void expect_mask_fits(M const& mask, extents<4> const& scores) {
  if constexpr (requires { mask.expect_fits(scores); }) mask.expect_fits(scores);
}

namespace detail {

/// A key that no array has.
inline constexpr index_t beyond_every_key = std::numeric_limits<index_t>::max() / 2;

SMX_HD constexpr bool contains(index_range const& r, index_t n) { return r.first <= n && n < r.last; }

/// The part of a range within 0 .. count - 1.
SMX_HD constexpr index_range within_count(index_range r, index_t count) {
  index_t const last = r.last < 0 ? 0 : r.last < count ? r.last : count;
  index_t const first = r.first < 0 ? 0 : r.first < last ? r.first : last;
  return {first, last};
}

/// The answers of an interval mask whose ranges move to later keys from row to row, neither end ever back. A
/// gap between the ranges of two rows is not known to be empty.
template <class M>
SMX_HD constexpr bool ordered_allow(M const& m, index_t b, index_t h, index_t i, index_t j) {
  return contains(m.row(b, h, i), j);
}
template <class M>
SMX_HD constexpr tile_class ordered_tile(M const& m, index_t b, index_t h, index_range rows,
                                         index_range keys) {
  index_range const front = m.row(b, h, rows.first), back = m.row(b, h, rows.last - 1);
  if (back.first <= keys.first && keys.last <= front.last) return tile_class::full;
  index_t const first = keys.first < front.first ? front.first : keys.first,
                last = keys.last < back.last ? keys.last : back.last;
  return first < last ? tile_class::partial : tile_class::empty;
}
template <class M>
SMX_HD constexpr index_range ordered_keys(M const& m, index_t b, index_t h, index_range rows, index_t count) {
  return within_count({m.row(b, h, rows.first).first, m.row(b, h, rows.last - 1).last}, count);
}

}  // namespace detail
}  // namespace smx
