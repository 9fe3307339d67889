// SPDX-License-Identifier: Apache-2.0
/// \file  The states before the last calls of a stream: how a mixer that cannot truncate is taken back.
///
/// Exact, at the price of memory: a copy of the state for each call that can be taken back.
#pragma once

#include <deque>
#include <utility>
#include <vector>

#include <smx/mixers/state.hpp>

namespace smx {

namespace detail {

/// Row b becomes what row from[b] was, in a state for all rows or in one for each.
template <class B, class S>
void reorder_states(B& be, std::vector<S>& states, std::vector<index_t> const& from) {
  if (states.size() == 1) {
    auto frame = be.scope();
    return reorder_state(be, states[0], from);
  }
  expects_value(from.size() == states.size(), "reorder_state: from",
                "an index for each row of the batch; indices", static_cast<index_t>(from.size()));
  for (index_t i : from)
    expects_value(i >= 0 && i < static_cast<index_t>(states.size()), "reorder_state: from",
                  "indices of rows of the batch", i);
  std::vector<S> next;
  for (index_t i : from) next.push_back(clone_state(be, states[static_cast<std::size_t>(i)]));
  states = std::move(next);
}

}  // namespace detail

/// At most `most` entries, the oldest of which give way. An entry is one state for all rows of a batch, or
/// one for each row.
template <VisitableState S> class state_history {
 public:
  explicit state_history(index_t most = 0) : most_(static_cast<std::size_t>(most)) {}

  /// Copies the states as they are now, and holds the copy back until keep() says that a call went well.
  template <class B> void prepare(B& be, std::vector<S> const& states) {
    if (most_ == 0) return;
    next_.clear();
    for (S const& s : states) next_.push_back(clone_state(be, s));
  }
  void keep() {
    if (most_ == 0) return;
    if (entries_.size() == most_) entries_.pop_front();
    entries_.push_back(std::move(next_));
    next_.clear();
  }
  void clear() { entries_.clear(); }

  /// A copy of the state of `batch` rows that had `length` tokens each. Throws if there is none.
  template <class B> S whole(B& be, index_t length, index_t batch) const {
    for (auto const& entry : entries_)
      if (entry.size() == 1 && entry[0].tokens() == length && detail::batch_rows(entry[0]) == batch)
        return clone_state(be, entry[0]);
    refuse(length);
  }
  /// The same for row b.
  template <class B> S row(B& be, index_t length, index_t b) const {
    for (auto const& entry : entries_) {
      bool const together = entry.size() == 1;
      S const& s = entry[together ? 0 : static_cast<std::size_t>(b)];
      if (s.tokens() == length) return take_rows(be, s, together ? b : 0, 1);
    }
    refuse(length);
  }
  /// Drops the entries in which some row had more tokens than now.
  void forget_after(std::vector<index_t> const& lengths) {
    std::erase_if(entries_, [&](auto const& entry) {
      for (std::size_t b = 0; b < lengths.size(); ++b)
        if (entry[entry.size() == 1 ? 0 : b].tokens() > lengths[b]) return true;
      return false;
    });
  }
  template <class B> void reorder(B& be, std::vector<index_t> const& from) {
    for (auto& entry : entries_) detail::reorder_states(be, entry, from);
  }

 private:
  [[noreturn]] static void refuse(index_t length) {
    detail::fail_value(
        "stream: length",
        "the tokens before one of the last calls, of which as many are kept as `snapshots` says", length,
        location::here());
  }
  std::size_t most_;
  std::deque<std::vector<S>> entries_;
  std::vector<S> next_;
};

}  // namespace smx
