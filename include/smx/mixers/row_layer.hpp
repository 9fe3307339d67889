// SPDX-License-Identifier: Apache-2.0
/// \file  What a layer must be able to do to run row by row, in a streaming_session: it may look ahead, by as
/// many rows as it decides for each row when it sees it.
#pragma once

#include <smx/core/mask/lookahead.hpp>
#include <smx/mixers/concept.hpp>

namespace smx {

/// Neighbouring rows of a layer that are computed together. Input rows 0 .. known - 1 have come, and none of
/// the rows reads beyond them.
struct row_block {
  index_t first;                             ///< the position of the first of them
  index_t known;                             ///< input rows that may be read
  view<index_t const, 2, host_space> ahead;  // (1,n)

  /// What the rows see of the known ones.
  lookahead_mask mask() const { return {ahead, first}; }
};

/// A layer maps rows (B,H,L,D) to rows (B,H',L,D'). Output row t is a function of input row t, of the rows
/// j <= t + ahead(t), and of nothing else; all sequences of a batch look equally far.
///
/// * output_extents(x): those of the output for an input of extents x, the same along B and L.
/// * begin(be, x): a sequence starts, of at most x[2] rows.
/// * take(be, first, x, ahead): rows first, first + 1, ... of the input have come; writes how far ahead each
///   looks (0: causal; negative: not even up to itself). Rows come once, in any order.
/// * run(be, rows, x, y): writes output rows, from their own input rows x. Each once, in any order: causal
///   layers, which say 0 to every row, see them in ascending order.
///
/// take and run find a scope open for their scratch.
template <class L, class B>
concept RowLayer = requires(L& layer, B& be, extents<4> const& e, index_t first,
                            in<B, typename L::scalar, 4> x, out<B, typename L::scalar, 4> y,
                            view<index_t, 1, host_space> ahead, row_block const& rows) {
  { layer.output_extents(e) } -> std::same_as<extents<4>>;
  { layer.begin(be, e) } -> std::same_as<void>;
  { layer.take(be, first, x, ahead) } -> std::same_as<void>;
  { layer.run(be, rows, x, y) } -> std::same_as<void>;
};

}  // namespace smx
