// SPDX-License-Identifier: Apache-2.0
/// \file  The verbs of the streaming protocol that every state has, whatever it holds: peek, commit, copy,
/// reorder, and states of some rows of a batch.
///
/// All but clone_state and take_rows, whose results own memory, allocate nothing: what they put aside lies in
/// scratch. Nothing here reads an array on the host.
#pragma once

#include <cstdio>
#include <span>
#include <type_traits>

#include <smx/mixers/concept.hpp>

namespace smx {

namespace detail {

/// f with `prefix` before each name: for states inside of states. No string: this runs in every peek.
template <class F> auto prefixed(char const* prefix, F& f) {
  return [prefix, &f](char const* name, auto&... one) {
    char whole[128];
    std::snprintf(whole, sizeof whole, "%s%s", prefix, name);
    f(static_cast<char const*>(whole), one...);
  };
}

/// f(name, array of each state...) for the arrays that have a part for each row of the batch.
template <class S, class F, class... A> void for_each_row_array(F const& f, A&... states) {
  S::for_each_array(
      [&](char const* name, auto& first, auto&... others) {
        if constexpr (std::remove_cvref_t<decltype(first)>::rank == 4)
          if (first.size() != 0) f(name, first, others...);
      },
      states...);
}

/// The counters of one state into another.
template <class S> void copy_counters(S const& from, S& to) {
  S::for_each_counter([](char const*, index_t const& given, index_t& made) { made = given; }, from, to);
}

/// Rows of the batch; 0 for a state without arrays.
template <class S> index_t batch_rows(S const& s) {
  index_t rows = 0;
  for_each_row_array<S>([&](char const*, auto const& a) { rows = a.extents()[0]; }, s);
  return rows;
}

/// Whether x fits after the tokens so far; states that make room by themselves say so by a member room().
template <class S> index_t room(S const& s) {
  if constexpr (requires { s.room(); })
    return s.room();
  else
    return s.capacity - s.tokens();
}

template <class B, class S> S copied(B& be, S const& from, index_t first, index_t count) {
  S to;
  S::for_each_array(
      [&](char const*, auto const& given, auto& made) {
        if (given.size() == 0) return;
        auto part = given.cview();
        if constexpr (std::remove_cvref_t<decltype(given)>::rank == 4) part = slice(part, 0, first, count);
        made = std::remove_reference_t<decltype(made)>(be.memory(), part.ext);
        be.copy(part, made.view());
      },
      from, to);
  copy_counters(from, to);
  be.synchronize();
  return to;
}

}  // namespace detail

/// `to` becomes what `from` is; both were made alike (other extents throw, and change nothing).
template <class B, VisitableState S> void copy_state(B& be, S const& from, S& to) {
  S::for_each_array([](char const* name, auto const& given,
                       auto const& made) { expects_extents(name, made.extents(), given.extents()); },
                    from, to);
  S::for_each_array(
      [&](char const*, auto const& given, auto& made) {
        if (given.size() != 0) be.copy(given.cview(), made.view());
      },
      from, to);
  detail::copy_counters(from, to);
}

/// A copy with memory of its own: what happens to one of them does not reach the other.
template <class B, VisitableState S> S clone_state(B& be, S const& from) {
  return detail::copied(be, from, 0, detail::batch_rows(from));
}

/// Rows first .. first + count - 1 of a batch, as a state of their own: it goes on as they would.
template <class B, VisitableState S> S take_rows(B& be, S const& from, index_t first, index_t count) {
  index_t const batch = detail::batch_rows(from);
  expects_value(first >= 0 && first < batch, "take_rows: first", "a row of the batch", first);
  expects_value(count >= 1 && count <= batch - first, "take_rows: count",
                "at least 1, and no more rows than there are", count);
  return detail::copied(be, from, first, count);
}

/// Row b becomes what row from[b] was, as beam search asks for. Throws for an index outside the batch, and
/// changes nothing then. Scratch: the largest array.
template <class B, VisitableState S> void reorder_state(B& be, S& s, std::span<index_t const> from) {
  auto const batch = static_cast<std::size_t>(detail::batch_rows(s));
  expects_value(from.size() == batch, "reorder_state: from", "an index for each row of the batch; indices",
                static_cast<index_t>(from.size()));
  bool same = true;
  for (std::size_t b = 0; b < batch; ++b) {
    expects_value(from[b] >= 0 && from[b] < static_cast<index_t>(batch), "reorder_state: from",
                  "indices of rows of the batch", from[b]);
    same = same && from[b] == static_cast<index_t>(b);
  }
  if (same) return;
  detail::for_each_row_array<S>(
      [&](char const*, auto& a) {
        using T = typename std::remove_reference_t<decltype(a)>::value_type;
        auto frame = be.scope();
        auto const old = be.template scratch<T>(a.extents());
        be.copy(a.cview(), old);
        for (std::size_t b = 0; b < batch; ++b)
          if (from[b] != static_cast<index_t>(b))
            be.copy(as_input(slice(old, 0, from[b], 1)), slice(a.view(), 0, static_cast<index_t>(b), 1));
      },
      s);
}

/// The outputs that prefill would give for x, bit for bit; every bit of the state is as it was. A mixer that
/// has a cheaper way than to put its state aside (two copies of it) has a member peek.
template <class M, class B>
requires HasState<M, B>
void peek(B& be, M const& m, std::type_identity_t<weights_in<M, B>> const& w,
          std::type_identity_t<inputs_in<M, B>> const& x, state_of<M, B>& s,
          std::type_identity_t<out<B, typename M::scalar, 4>> y) {
  if constexpr (requires { m.peek(be, w, x, s, y); }) {
    m.peek(be, w, x, s, y);
  } else {
    using state = state_of<M, B>;
    auto frame = be.scope();
    typename M::template state<writes<B>> aside;
    detail::for_each_row_array<state>(
        [&](char const*, auto const& a, auto& to) {
          to = be.template scratch<typename std::remove_cvref_t<decltype(a)>::value_type>(a.extents());
          be.copy(a.cview(), to);
        },
        s, aside);
    state::for_each_counter([](char const*, index_t const& n, index_t& to) { to = n; }, s, aside);
    m.prefill(be, w, x, s, y);
    detail::for_each_row_array<state>(
        [&](char const*, auto& a, auto const& from) { be.copy(as_input(from), a.view()); }, s, aside);
    state::for_each_counter([](char const*, index_t& n, index_t const& from) { n = from; }, s, aside);
  }
}

/// Accepts tokens, such as the first of those that were peeked at: the state becomes what a prefill of x
/// would make it. A mixer that need not compute outputs for that has a member commit.
template <class M, class B>
requires HasState<M, B>
void commit(B& be, M const& m, std::type_identity_t<weights_in<M, B>> const& w,
            std::type_identity_t<inputs_in<M, B>> const& x, state_of<M, B>& s) {
  if constexpr (requires { m.commit(be, w, x, s); }) {
    m.commit(be, w, x, s);
  } else {
    auto frame = be.scope();
    m.prefill(be, w, x, s, be.template scratch<typename M::scalar>(m.output_extents(x)));
  }
}

}  // namespace smx
