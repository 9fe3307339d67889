// SPDX-License-Identifier: Apache-2.0
/// \file  Laws of what a stream's state can do besides going on: peek, commit, copies, rows, truncate,
/// evict_front; and that what is refused leaves every bit of it.
#pragma once

#include <smx/testing/problem.hpp>

namespace smx::testing {

/// Every array and counter of a state in host memory.
template <class S> numbers state_bits(S const& s) {
  numbers all;
  S::for_each_array(
      [&](char const*, auto const& a) {
        numbers const part = values(a.cview());
        all.insert(all.end(), part.begin(), part.end());
      },
      s);
  S::for_each_counter([&](char const*, index_t n) { all.push_back(static_cast<double>(n)); }, s);
  return all;
}

/// A problem as a stream: its tokens, and states with some of them in.
template <class M> class token_run {
 public:
  using T = typename M::scalar;
  using state = typename runner<M>::state;

  token_run(runner<M> const& be, problem<M> const& p) : be_(be), p_(p) {}

  /// Whether there is one: every input has a row for each token, and there are some.
  bool exists() const {
    for (extents<4> const& e : p_.ext)
      if (e[2] != length()) return false;
    return streams(p_.mixer) && length() >= 2;
  }
  index_t length() const { return p_.output[2]; }
  index_t batch() const { return p_.output[0]; }
  state empty(index_t capacity) const { return be_.make_state(p_.mixer, p_.w(), p_.x(), capacity); }
  state after(index_t tokens) const {
    state s = empty(length());
    if (tokens > 0) feed(s, 0, tokens);
    return s;
  }

  /// Tokens first .. first + count - 1 of the batch.
  host_inputs<M> tokens(index_t first, index_t count) const { return cut(p_.x(), 2, first, count); }
  static host_inputs<M> cut(host_inputs<M> const& x, int axis, index_t first, index_t count) {
    host_inputs<M> part;
    M::for_each_input(
        [&](char const*, auto const& from, auto& to) {
          if (from.size() > 0) to = slice(from, axis, first, count);
        },
        x, part);
    return part;
  }

  numbers feed(state& s, index_t first, index_t count) const { return feed(s, tokens(first, count)); }
  numbers feed(state& s, host_inputs<M> const& x) const {
    return outputs(x, [&](auto const& y) { be_.prefill(p_.mixer, p_.w(), x, s, y); });
  }
  numbers peek(state& s, index_t first, index_t count) const {
    auto const x = tokens(first, count);
    return outputs(x, [&](auto const& y) { be_.peek(p_.mixer, p_.w(), x, s, y); });
  }
  void commit(state& s, index_t first, index_t count) const {
    be_.commit(p_.mixer, p_.w(), tokens(first, count), s);
  }

  /// `call` is refused with a precondition_error, and the state has the bits that it had.
  template <class F> verdict refused(char const* what, state& s, F const& call) const {
    numbers const before = state_bits(s);
    try {
      call(s);
    } catch (precondition_error const&) {
      return identical(text("the state after %s was refused", what).c_str(), state_bits(s), before);
    }
    return text("%s did not throw", what);
  }

 private:
  template <class F> numbers outputs(host_inputs<M> const& x, F const& run) const {
    tensor<T, 4> y(p_.mixer.output_extents(x));
    fill(y.view(), quiet_nan<T>);
    run(y.view());
    return values(y.cview());
  }

  runner<M> const& be_;
  problem<M> const& p_;
};

}  // namespace smx::testing

namespace smx::testing::laws {

/// peek gives the bits of prefill and leaves those of the state; commit of the first of these tokens leaves
/// the bits that a prefill of them leaves.
template <HasCases M> verdict peek_leaves_the_state(runner<M> const& be, problem<M> const& p) {
  token_run<M> const run(be, p);
  if (!run.exists()) return holds;
  for (index_t const at : {index_t{0}, index_t{1}, run.length() / 2, run.length() - 1})
    for (index_t const count : {index_t{1}, run.length() - at}) {
      auto const where =
          text("%lld tokens after %lld", static_cast<long long>(count), static_cast<long long>(at));
      auto s = run.after(at);
      numbers const before = state_bits(s), seen = run.peek(s, at, count);
      if (auto bad = identical("the state after a peek", state_bits(s), before))
        return in_context(where, bad);
      auto fed = be.clone(s);
      if (auto bad = identical("y of a peek", seen, run.feed(fed, at, count))) return in_context(where, bad);
      for (index_t const taken : {index_t{1}, count / 2, count}) {
        if (taken == 0) continue;
        auto want = run.after(at);
        run.feed(want, at, taken);
        auto got = be.clone(s);
        run.peek(got, at, count);
        run.commit(got, at, taken);
        if (auto bad = identical("the state after a commit", state_bits(got), state_bits(want)))
          return in_context(where, bad);
      }
    }
  return holds;
}

/// A clone is apart from its original. The state of one row goes on as that row of the batch. After reorder,
/// row b is row from[b].
template <HasCases M> verdict rows_move_as_they_are(runner<M> const& be, problem<M> const& p) {
  token_run<M> const run(be, p);
  if (!run.exists()) return holds;
  index_t const half = (run.length() + 1) / 2, rest = run.length() - half, batch = run.batch();
  auto const s = run.after(half);
  numbers const before = state_bits(s);
  auto whole = be.clone(s);
  if (auto bad = identical("a clone", state_bits(whole), before)) return bad;
  numbers const y = run.feed(whole, half, rest);
  if (auto bad = identical("a state whose clone went on", state_bits(s), before)) return bad;

  numbers const tolerance = scaled(expected(p).tolerance, 2);
  std::size_t const row_size = y.size() / static_cast<std::size_t>(batch);
  // the entries of row b from those of all rows; tolerances have the tokens of the first half as well
  auto const of_row = [&](numbers const& all, index_t b) {
    auto const at = all.begin() + static_cast<std::ptrdiff_t>(row_size) * b;
    return numbers(at, at + static_cast<std::ptrdiff_t>(row_size));
  };
  extents<4> const e = p.output;
  numbers allowed;
  for (index_t i = 0; i < e[0] * e[1]; ++i)
    allowed.insert(allowed.end(), tolerance.begin() + (i * e[2] + half) * e[3],
                   tolerance.begin() + (i + 1) * e[2] * e[3]);
  auto const alone = [&](char const* what, auto const& state, index_t b, index_t source) {
    auto row = be.rows(state, b, 1);
    numbers const got = run.feed(row, run.cut(run.tokens(half, rest), 0, source, 1));
    return in_context(text("%s, row %lld", what, static_cast<long long>(b)),
                      within("y", got, of_row(y, source), of_row(allowed, source)));
  };
  for (index_t b = 0; b < batch; ++b)
    if (auto bad = alone("a state of one row", s, b, b)) return bad;

  std::vector<index_t> from;
  for (index_t b = 0; b < batch; ++b) from.push_back(b == 0 ? batch - 1 : b / 2);
  auto moved = be.clone(s);
  be.reorder(moved, from);
  for (index_t b = 0; b < batch; ++b) {
    index_t const source = from[static_cast<std::size_t>(b)];
    if (auto bad = identical("a row after reorder", state_bits(be.rows(moved, b, 1)),
                             state_bits(be.rows(s, source, 1))))
      return bad;
    if (auto bad = alone("after reorder", moved, b, source)) return bad;
  }
  for (index_t const wrong : {index_t{-1}, batch}) {
    from.back() = wrong;
    if (auto bad =
            run.refused("an index outside the batch", moved, [&](auto& one) { be.reorder(one, from); }))
      return bad;
  }
  from.back() = 0;
  from.push_back(0);
  return run.refused("an index too many", moved, [&](auto& one) { be.reorder(one, from); });
}

/// truncate, then feed: the bits of what was never fed. Refused outside 0 .. tokens.
template <HasCases M> verdict truncate_forgets(runner<M> const& be, problem<M> const& p) {
  token_run<M> const run(be, p);
  if (!run.exists()) return holds;
  if (be.truncates() != M::about.truncates) return text("traits::truncates and the member disagree");
  if (!be.truncates()) return holds;
  for (index_t const kept : {index_t{0}, index_t{1}, run.length() / 2, run.length()}) {
    auto s = run.after(kept);
    numbers const want = kept < run.length() ? run.feed(s, kept, run.length() - kept) : numbers{};
    for (int round = 0; round < 2; ++round) {
      be.truncate(p.mixer, s, kept);
      if (s.tokens() != kept) return text("truncate: %lld tokens", static_cast<long long>(s.tokens()));
      if (round == 0 && kept < run.length()) run.feed(s, 0, run.length() - kept);  // other tokens
    }
    if (kept < run.length())
      if (auto bad = identical("y after truncate", run.feed(s, kept, run.length() - kept), want)) return bad;
  }
  auto s = run.after(1);
  if (auto bad = run.refused("truncate below 0", s, [&](auto& one) { be.truncate(p.mixer, one, -1); }))
    return bad;
  return run.refused("truncate beyond the tokens", s, [&](auto& one) { be.truncate(p.mixer, one, 2); });
}

/// What evict_front dropped is not read again, its room is free, and positions keep counting.
template <HasCases M> verdict evicted_tokens_are_gone(runner<M> const& be, problem<M> const& p) {
  token_run<M> const run(be, p);
  if (!run.exists()) return holds;
  if (be.evicts() != M::about.evicts) return text("traits::evicts and the member disagree");
  if (!be.evicts() || !goes_on(p.mixer)) return holds;
  index_t const length = run.length();
  for (index_t const gone : {index_t{1}, length / 2, length}) {
    // the same state but for the tokens that go: NaN in one of them
    auto s = run.after(length), other = run.empty(length);
    arguments<M> a = p.given.clone(p.mixer);
    M::for_each_input(
        [&](char const*, auto& one) {
          if (one.size() > 0) fill(slice(one.view(), 2, 0, gone), quiet_nan<typename M::scalar>);
        },
        a.inputs);
    run.feed(other, a.x());
    be.evict_front(p.mixer, s, gone);
    be.evict_front(p.mixer, other, gone);
    if (s.tokens() != length) return text("evict_front: %lld tokens", static_cast<long long>(s.tokens()));
    for (index_t t = 0; t < gone; ++t)  // the freed room
      if (auto bad = identical("y after evict_front, with other tokens gone", run.feed(s, t, 1),
                               run.feed(other, t, 1)))
        return bad;
    if (auto bad = run.refused("a token beyond the capacity", s, [&](auto& one) { run.feed(one, 0, 1); }))
      return bad;
  }
  auto s = run.after(1);
  if (auto bad = run.refused("evict_front below 0", s, [&](auto& one) { be.evict_front(p.mixer, one, -1); }))
    return bad;
  return run.refused("evict_front beyond the tokens", s, [&](auto& one) { be.evict_front(p.mixer, one, 2); });
}

/// Tokens beyond the capacity, tokens of another batch, outputs of another length: prefill, peek and commit
/// throw, and every bit of the state is as it was.
template <HasCases M> verdict refusals_leave_the_state(runner<M> const& be, problem<M> const& p) {
  token_run<M> const run(be, p);
  if (!run.exists()) return holds;
  using T = typename M::scalar;
  for (index_t const at : {index_t{0}, run.length() - 1}) {
    auto s = run.empty(run.length());
    if (at > 0) run.feed(s, 0, at);
    auto const each = [&](char const* what, host_inputs<M> const& x, extents<4> const& output) -> verdict {
      tensor<T, 4> y(output);
      auto const refused = [&](char const* verb, auto const& call) {
        return run.refused(text("%s of %s", verb, what).c_str(), s, call);
      };
      if (auto bad = refused("prefill", [&](auto& one) { be.prefill(p.mixer, p.w(), x, one, y.view()); }))
        return bad;
      if (auto bad = refused("peek", [&](auto& one) { be.peek(p.mixer, p.w(), x, one, y.view()); }))
        return bad;
      if (output != p.mixer.output_extents(x)) return holds;  // commit has no outputs
      return refused("commit", [&](auto& one) { be.commit(p.mixer, p.w(), x, one); });
    };
    auto const all = run.tokens(0, run.length());
    if (at > 0)
      if (auto bad = each("tokens beyond the capacity", all, p.output)) return bad;
    auto const one = run.tokens(at, 1);
    extents<4> output = p.mixer.output_extents(one);
    output[2] = 2;
    if (auto bad = each("one token into two outputs", one, output)) return bad;
    if (run.batch() > 1) {
      auto const fewer = run.cut(one, 0, 0, run.batch() - 1);
      if (auto bad = each("a smaller batch", fewer, p.mixer.output_extents(fewer))) return bad;
    }
  }
  return holds;
}

}  // namespace smx::testing::laws
