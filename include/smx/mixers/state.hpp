// SPDX-License-Identifier: Apache-2.0
/// \file  What every streaming state can do, whatever it holds: be copied, so that a stream can branch or be
/// taken back.
///
/// A state is an aggregate of arrays and counters. It names them by two static members,
/// `for_each_array(f, states...)` and `for_each_counter(f, states...)`, which call f(name, member of each
/// state...).
#pragma once

#include <string>
#include <type_traits>

#include <smx/mixers/concept.hpp>

namespace smx {

namespace detail {
/// f with `prefix` before each name: for states inside of states.
template <class F> auto prefixed(char const* prefix, F& f) {
  return [prefix, &f](char const* name, auto&... one) { f((std::string(prefix) + name).c_str(), one...); };
}
}  // namespace detail

template <class S>
concept VisitableState = requires(S s) {
  S::for_each_array([](char const*, auto&) {}, s);
  S::for_each_counter([](char const*, index_t&) {}, s);
  { s.tokens() } -> std::same_as<index_t>;
};

/// A copy with memory of its own: what happens to one of them does not reach the other.
template <class B, VisitableState S> S clone_state(B& be, S const& from) {
  S to;
  S::for_each_array(
      [&](char const*, auto const& given, auto& made) {
        if (given.size() == 0) return;
        made = std::remove_reference_t<decltype(made)>(be.memory(), given.extents());
        be.copy(given.cview(), made.view());
      },
      from, to);
  S::for_each_counter([](char const*, index_t const& given, index_t& made) { made = given; }, from, to);
  be.synchronize();
  return to;
}

}  // namespace smx
