// SPDX-License-Identifier: Apache-2.0
/// \file  A causal mixer token by token, by value: keeps the state, returns tensors.
///
/// Rows of the batch may differ in their numbers of tokens: then each has a state of its own, and a call runs
/// the mixer once for each row.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include <smx/mixers/run.hpp>
#include <smx/mixers/state_history.hpp>

namespace smx {

struct stream_options {
  index_t capacity = 0;   ///< tokens at most, or those that a ring keeps
  index_t snapshots = 0;  ///< calls that truncate can go back by, where the mixer itself cannot truncate
  bool ring = false;      ///< attention under a window: any number of tokens in a cache of `capacity`
};

/// `stream s(be, mix, w, capacity);`, then `auto y = s.prefill(x...);` and `auto y1 = s.step(x1...);` as
/// often as tokens come: together the rows of forward over all of them. The weights may be {} where a mixer
/// has none. What else it can do: peek and commit, truncate, evict_front, reorder, clone.
///
/// The state is made by the first call, which gives batch, heads and dim. Backend and weights must outlive
/// the stream; the mixer is copied. Throws precondition_error for a capacity below 1, for tokens beyond
/// the capacity, and for whatever a verb cannot do; such a call changes nothing.
template <class M, class B>
requires HasState<M, B>
class stream {
 public:
  using scalar = typename M::scalar;
  using output = tensor<scalar, 4, space_t<B>>;
  using state_type = state_of<M, B>;

  stream(B& be, M const& m, std::type_identity_t<weights_in<M, B>> const& w, stream_options const& options)
      : be_(&be), m_(m), w_(w), options_(options), history_(options.snapshots) {
    expects_value(options.capacity >= 1, "stream: capacity", "at least 1", options.capacity);
    expects_value(options.snapshots >= 0, "stream: snapshots", "at least 0", options.snapshots);
    if constexpr (!requires(inputs_in<M, B> x) { m.make_ring(be, w, x, index_t{}); })
      expects(!options.ring,
              "stream: ring: expected attention under a mask with a window, got another mixer");
  }
  stream(B& be, M const& m, std::type_identity_t<weights_in<M, B>> const& w, index_t capacity)
      : stream(be, m, w, stream_options{.capacity = capacity}) {}

  /// Goes on from a state, such as one that load_state read.
  template <std::same_as<state_of<M, B>> S>
  stream(B& be, M const& m, std::type_identity_t<weights_in<M, B>> const& w, S s)
      : stream(be, m, w, stream_options{.capacity = s.capacity}) {
    states_.push_back(std::move(s));
  }

  /// The outputs of any number of tokens that follow those so far: x (B,H,n,D), y (B,H,n,E).
  template <ArrayOf<B, scalar>... X> output prefill(X const&... x) {
    return advance([&](auto&&... a) { m_.prefill(*be_, w_, a...); }, x...);
  }
  /// The same for rows of different lengths, filled up at the end: row b takes the first lengths[b] tokens of
  /// x (none: 0). Outputs of what is left out are 0.
  template <ArrayOf<B, scalar>... X> output prefill(std::vector<index_t> const& lengths, X const&... x) {
    auto const in = detail::collect_inputs<M, reads<B>>(x...);
    output y(be_->memory(), m_.output_extents(in));  // (B,H,n,E)
    take(lengths, in, "stream: lengths", [&](index_t row, index_t rows, index_t count, state_type& s) {
      auto const to = slice(slice(y.view(), 0, row, rows), 2, 0, count);
      m_.prefill(*be_, w_, first(in, row, rows, count), s, to);
    });
    be_->synchronize();
    return y;
  }
  /// The output of one token: x (B,H,1,D), y (B,H,1,E).
  template <ArrayOf<B, scalar>... X> output step(X const&... x) {
    return advance([&](auto&&... a) { m_.step(*be_, w_, a...); }, x...);
  }

  /// What prefill would return; the state stays as it is. The tokens are remembered, for commit, until
  /// another call changes the state.
  template <ArrayOf<B, scalar>... X> output peek(X const&... x) {
    auto const in = detail::collect_inputs<M, reads<B>>(x...);
    output y = run(
        in, [&](auto const& part, state_type& s, auto const& to) { smx::peek(*be_, m_, w_, part, s, to); });
    M::for_each_input(
        [&](char const*, auto const& from, auto& to) {
          to = {};
          if (from.size() == 0) return;
          to = output(be_->memory(), from.ext);
          be_->copy(from, to.view());
        },
        in, peeked_);
    be_->synchronize();
    peeked_tokens_ = y.extents()[2];
    return y;
  }
  /// Accepts the first n of the tokens that were peeked at, of each row or of all of them.
  void commit(std::vector<index_t> const& n) {
    inputs_in<M, B> in;
    M::for_each_input(
        [](char const*, auto const& from, auto& to) {
          if (from.size() != 0) to = from.cview();
        },
        peeked_, in);
    expects(peeked_tokens_ > 0, "stream: commit: expected a peek just before, got none");
    take(n, in, "stream: commit", [&](index_t row, index_t rows, index_t count, state_type& s) {
      smx::commit(*be_, m_, w_, first(in, row, rows, count), s);
    });
    be_->synchronize();
  }
  void commit(index_t n) { commit(std::vector<index_t>(static_cast<std::size_t>(batch()), n)); }

  /// Forgets all but the first tokens of each row, or of all of them. Mixers that cannot (see traits) go back
  /// to the start of one of the last `snapshots` calls, and throw for any other length.
  void truncate(std::vector<index_t> const& lengths) {
    expects_value(static_cast<index_t>(lengths.size()) == batch(), "stream: length",
                  "one for each row of the batch; lengths", static_cast<index_t>(lengths.size()));
    for (index_t b = 0; b < batch(); ++b)
      expects_value(lengths[at(b)] >= 0 && lengths[at(b)] <= position(b), "stream: length",
                    "0 to the tokens so far", lengths[at(b)]);
    if (states_.size() == 1 && !equal(lengths)) {
      std::vector<state_type> rows;
      for (index_t b = 0; b < batch(); ++b) rows.push_back(take_rows(*be_, states_[0], b, 1));
      take_back(rows, lengths);
      states_ = std::move(rows);
    } else if (!states_.empty()) {
      take_back(states_, lengths);
    }
    history_.forget_after(lengths);
    peeked_tokens_ = 0;
  }
  void truncate(index_t length) {
    expects_value(length >= 0 && (!states_.empty() || length == 0), "stream: length",
                  "0 to the tokens so far", length);
    truncate(std::vector<index_t>(static_cast<std::size_t>(batch()), length));
  }

  /// Drops the n oldest tokens of every row; positions keep counting.
  void evict_front(index_t n) requires EvictingMixer<M, B> {
    for (state_type const& s : states_)
      expects_value(n >= 0 && n <= s.kept(), "stream: n", "0 to the tokens that are kept", n);
    expects_value(!states_.empty() || n == 0, "stream: n", "0 to the tokens that are kept", n);
    for (state_type& s : states_) m_.evict_front(s, n);
    history_.clear();
    peeked_tokens_ = 0;
  }

  /// Row b becomes what row from[b] was, snapshots included: beam search.
  void reorder(std::vector<index_t> const& from) {
    expects(!states_.empty(), "stream: reorder: expected a prefill or a step before, got none");
    detail::reorder_states(*be_, states_, from);
    history_.reorder(*be_, from);
    peeked_tokens_ = 0;
  }

  /// A second stream that goes on from here on its own: to try tokens, and to come back to. Mixer and weights
  /// are shared; snapshots stay here.
  stream clone() const {
    stream other(*be_, m_, w_, options_);
    for (state_type const& s : states_) other.states_.push_back(clone_state(*be_, s));
    return other;
  }

  /// What save_state writes. Throws before the first call, which makes it, and where rows differ in length.
  state_type const& state() const {
    expects(!states_.empty(), "stream: state: expected a prefill or a step before, got none");
    expects(states_.size() == 1,
            "stream: state: expected rows of one length, got a state for each row (ask for state(row))");
    return states_[0];
  }
  /// The state of one row, where rows have one each.
  state_type const& state(index_t row) const {
    expects_value(row >= 0 && row < static_cast<index_t>(states_.size()), "stream: state",
                  "one of the states; row", row);
    return states_[at(row)];
  }

  /// Tokens so far; of one row where they differ.
  index_t position() const {
    if (states_.empty()) return 0;
    for (state_type const& s : states_)
      expects(s.tokens() == states_[0].tokens(),
              "stream: position: expected rows of one length, got several (ask for position(row))");
    return states_[0].tokens();
  }
  index_t position(index_t row) const {
    expects_value(row >= 0 && row < batch(), "stream: position", "a row of the batch", row);
    return part(row).tokens();
  }
  /// Rows of the batch; 0 before the first call.
  index_t batch() const {
    if (states_.size() > 1) return static_cast<index_t>(states_.size());
    return states_.empty() ? 0 : detail::batch_rows(states_[0]);
  }
  index_t capacity() const { return options_.capacity; }
  /// Memory of the state, without snapshots; 0 before the first call.
  std::size_t bytes() const {
    std::size_t sum = 0;
    for (state_type const& s : states_)
      state_type::for_each_array([&](char const*, auto const& a) { sum += a.bytes(); }, s);
    return sum;
  }

 private:
  static std::size_t at(index_t row) { return static_cast<std::size_t>(row); }
  static bool equal(std::vector<index_t> const& n) {
    for (index_t one : n)
      if (one != n[0]) return false;
    return true;
  }
  /// The state that row b is in, and where.
  state_type const& part(index_t b) const { return states_[states_.size() > 1 ? at(b) : 0]; }
  index_t part_row(index_t b) const { return states_.size() > 1 ? 0 : b; }

  /// Tokens 0 .. count - 1 of some rows of the batch.
  static inputs_in<M, B> first(inputs_in<M, B> const& in, index_t row, index_t rows, index_t count) {
    inputs_in<M, B> part;
    M::for_each_input(
        [&](char const*, auto const& from, auto& to) {
          if (from.size() != 0) to = slice(slice(from, 0, row, rows), 2, 0, count);
        },
        in, part);
    return part;
  }
  /// Rows of the batch, whole: also of inputs that are no rows of tokens.
  static inputs_in<M, B> some_rows(inputs_in<M, B> const& in, index_t row, index_t rows) {
    inputs_in<M, B> part;
    M::for_each_input(
        [&](char const*, auto const& from, auto& to) {
          if (from.size() != 0) to = slice(from, 0, row, rows);
        },
        in, part);
    return part;
  }

  state_type made(inputs_in<M, B> const& in) const {
    if constexpr (requires { m_.make_ring(*be_, w_, in, options_.capacity); })
      if (options_.ring) return m_.make_ring(*be_, w_, in, options_.capacity);
    return m_.make_state(*be_, w_, in, options_.capacity);
  }
  /// Makes the state, if there is none; a call that is refused then takes it back.
  class first_call {
   public:
    first_call(stream& s, inputs_in<M, B> const& in) : states_(s.states_), armed_(s.states_.empty()) {
      if (armed_) states_.push_back(s.made(in));
    }
    first_call(first_call const&) = delete;
    first_call& operator=(first_call const&) = delete;
    ~first_call() {
      if (armed_) states_.clear();
    }
    void went_well() { armed_ = false; }

   private:
    std::vector<state_type>& states_;
    bool armed_;
  };
  /// Throws where a state would refuse n tokens: no row goes on where another one cannot.
  void expect_tokens(state_type const& s, index_t n) const {
    expects_value(n <= detail::room(s), "stream: capacity", "room for the tokens; tokens", s.tokens() + n);
    if constexpr (requires { m_.expect_tokens(s, n); }) m_.expect_tokens(s, n);
  }

  /// call(inputs, state, outputs) for the states of all rows.
  template <class F> output run(inputs_in<M, B> const& in, F const& call) {
    extents<4> const e = m_.output_extents(in);
    output y(be_->memory(), e);  // (B,H,n,E)
    first_call start(*this, in);
    for (state_type const& s : states_) expect_tokens(s, e[2]);
    auto const parts = static_cast<index_t>(states_.size());
    expects_value(parts == 1 || e[0] == parts, "stream: inputs", "the rows of the batch; rows", e[0]);
    for (index_t i = 0; i < parts; ++i) {
      index_t const row = parts == 1 ? 0 : i, rows = parts == 1 ? e[0] : 1;
      auto frame = be_->scope();
      call(parts == 1 ? in : some_rows(in, row, rows), states_[at(i)], slice(y.view(), 0, row, rows));
    }
    be_->synchronize();
    start.went_well();
    return y;
  }
  template <class F, class... X> output advance(F const& call, X const&... x) {
    auto const in = detail::collect_inputs<M, reads<B>>(x...);
    first_call start(*this, in);
    history_.prepare(*be_, states_);
    output y = run(in, [&](auto const& part, state_type& s, auto const& to) { call(part, s, to); });
    start.went_well();
    history_.keep();
    peeked_tokens_ = 0;
    return y;
  }
  /// call(first row, rows, tokens, state) for rows that take the first counts[b] tokens of `in`.
  template <class F>
  void take(std::vector<index_t> const& counts, inputs_in<M, B> const& in, char const* name, F const& call) {
    extents<4> const e = m_.output_extents(in);
    expects_value(static_cast<index_t>(counts.size()) == e[0], name, "one for each row of the batch; numbers",
                  static_cast<index_t>(counts.size()));
    expects_value(states_.empty() || e[0] == batch(), "stream: inputs", "the rows of the batch; rows", e[0]);
    for (index_t b = 0; b < e[0]; ++b) {
      expects_value(counts[at(b)] >= 0 && counts[at(b)] <= e[2], name, "0 to the tokens of x", counts[at(b)]);
    }
    first_call start(*this, in);
    for (index_t b = 0; b < e[0]; ++b) expect_tokens(part(b), counts[at(b)]);
    history_.prepare(*be_, states_);
    bool const together = states_.size() == 1 && equal(counts);
    std::vector<state_type> rows;
    for (index_t b = 0; !together && states_.size() == 1 && b < e[0]; ++b)
      rows.push_back(take_rows(*be_, states_[0], b, 1));
    auto const run_on = [&](index_t row, index_t n, state_type& s) {
      auto frame = be_->scope();
      if (counts[at(row)] > 0) call(row, n, counts[at(row)], s);
    };
    if (together) {
      run_on(0, e[0], states_[0]);
    } else {
      std::vector<state_type>& all = rows.empty() ? states_ : rows;
      for (index_t b = 0; b < e[0]; ++b) run_on(b, 1, all[at(b)]);
      if (!rows.empty()) states_ = std::move(rows);
    }
    start.went_well();
    history_.keep();
    peeked_tokens_ = 0;
  }

  /// One state for all rows, or one for each, taken back; all of them or none.
  void take_back(std::vector<state_type>& states, std::vector<index_t> const& lengths) {
    if constexpr (TruncatingMixer<M, B>) {
      for (std::size_t i = 0; i < states.size(); ++i) {  // on counters alone, to see whether it is refused
        state_type probe;
        detail::copy_counters(states[i], probe);
        m_.truncate(probe, lengths[i]);
      }
      for (std::size_t i = 0; i < states.size(); ++i) m_.truncate(states[i], lengths[i]);
    } else {
      std::vector<state_type> next(states.size());
      for (std::size_t i = 0; i < states.size(); ++i)
        if (states[i].tokens() != lengths[i])
          next[i] = states.size() == 1 ? history_.whole(*be_, lengths[i], batch())
                                       : history_.row(*be_, lengths[i], static_cast<index_t>(i));
      for (std::size_t i = 0; i < states.size(); ++i)
        if (states[i].tokens() != lengths[i]) states[i] = std::move(next[i]);
    }
  }

  B* be_;
  M m_;
  weights_in<M, B> w_;
  stream_options options_;
  std::vector<state_type> states_;  ///< one for the whole batch, or one for each row
  state_history<state_type> history_;
  typename M::template inputs<owns<B>> peeked_;
  index_t peeked_tokens_ = 0;
};

}  // namespace smx
