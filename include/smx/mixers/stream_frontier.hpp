// SPDX-License-Identifier: Apache-2.0
/// \file  When the rows of a stack of layers that look ahead become computable:
///
///     F_0(t) = t,   F_l(t) = max(F_{l-1}(t), max of F_{l-1}(j) over 0 <= j <= min(t + a_l(t), L - 1))
///
/// Output row t of layer l needs the input rows up to F_l(t) and none after it; F_l(t) - t is its latency. It
/// is not the sum of the lookaheads, and may be more or less than it. O(L) a layer. Layers with a lookahead
/// for each row: G. Strimel et al., "Lookahead When It Matters", ICML 2023.
#pragma once

#include <algorithm>
#include <vector>

#include <smx/core/check.hpp>
#include <smx/core/space.hpp>
#include <smx/core/view.hpp>

namespace smx {

/// `stream_frontier last(length); last.add_layer(ahead); ...`, the lowest layer first; then `last(t)` is the
/// input row with which output row t becomes computable. Without layers that is t.
class stream_frontier {
 public:
  explicit stream_frontier(index_t length) {
    expects_value(length >= 1, "stream_frontier: length", "at least 1", length);
    last_.resize(static_cast<std::size_t>(length));
    up_to_ = last_;
    for (index_t t = 0; t < length; ++t) last_[static_cast<std::size_t>(t)] = t;
  }

  /// Puts a layer on top: row t reads itself and the rows j <= t + ahead(t) of the layer below. Negative
  /// lookaheads leave out rows before t, 0 is causal.
  void add_layer(view<index_t const, 1, host_space> ahead) {
    expects_extents("stream_frontier: ahead", ahead.ext, {length()});
    index_t greatest = 0;
    for (std::size_t t = 0; t < last_.size(); ++t) up_to_[t] = greatest = std::max(greatest, last_[t]);
    for (index_t t = 0; t < length(); ++t) {
      index_t const end = ahead(t) < length() - t ? t + 1 + ahead(t) : length();
      if (end < 1) continue;
      index_t& own = last_[static_cast<std::size_t>(t)];
      own = std::max(own, up_to_[static_cast<std::size_t>(std::min(end, length()) - 1)]);
    }
    ++layers_;
  }

  index_t length() const { return static_cast<index_t>(last_.size()); }
  index_t layers() const { return layers_; }
  /// The last input row that output row t depends on.
  index_t operator()(index_t t) const {
    expects_value(0 <= t && t < length(), "stream_frontier: row", "one of the sequence", t);
    return last_[static_cast<std::size_t>(t)];
  }
  /// How many rows after row t must come before output row t is computable.
  index_t latency(index_t t) const { return (*this)(t)-t; }

 private:
  index_t layers_ = 0;
  std::vector<index_t> last_, up_to_;  // F_l(t), and its maximum over the rows up to t
};

}  // namespace smx
