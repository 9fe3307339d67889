// SPDX-License-Identifier: Apache-2.0
/// \file  What the mixers on chunk_scan share: the streaming state, the checks, the prefill with snapshots.
#pragma once

#include <cstddef>
#include <string>

#include <smx/mixers/concept.hpp>
#include <smx/structured/chunk_scan.hpp>

namespace smx {

/// The matrix state after `length` tokens, of at most `capacity`. Its size does not depend on either.
template <class A, class T> struct scan_state {
  array<A, T, 4> s;  // (B,H,N,P)
  index_t length = 0, capacity = 0;

  template <class F, class... S> static void for_each_array(F&& f, S&&... s) { f("s", s.s...); }
  template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
    f("length", s.length...);
    f("capacity", s.capacity...);
  }
  index_t tokens() const { return length; }
  std::size_t bytes() const { return s.bytes(); }
};

}  // namespace smx

namespace smx::detail {

/// A log-decay within what exp can tell from 0: below, each weight that contains it is 0 in any case, and
/// sums would lose digits (or -inf - -inf give NaN). NaN stays NaN.
template <class T> SMX_HD constexpr T usable_log_decay(T a) {
  constexpr T lowest = sizeof(T) == 4 ? T(-112) : T(-768);
  return a < lowest ? lowest : a;
}

/// A number for each head as an array of extents `e` (B,H,...) that repeats it.
template <class T, class S> view<T, 4, S> by_head(view<T, 1, S> const& v, extents<4> const& e) {
  view<T, 4, S> to(v.ptr, e);
  to.str = {0, v.str[0], 0, 0};
  return to;
}

/// to_h += sum over batch entries and rows of v (B,H,L,1), in order.
template <class B, class T>
void add_row_sums(B& be, view<T const, 4, space_t<B>> v, view<T, 1, space_t<B>> to) {
  auto const sums = be.template scratch<T>(extents<4>{v.ext[0], v.ext[1], 1, 1});
  be.reduce(reduction::sum, swap_axes(v, 2, 3), T(0), sums);
  for (index_t b = 0; b < v.ext[0]; ++b)
    be.map(add{}, to, as_input(to), as_input(fix_axis(fix_axis(fix_axis(sums, 3, 0), 2, 0), 0, b)));
}

/// "ssd: dt", built when it is needed: an error is rare.
struct scan_argument {
  char const *mixer, *prefix, *name;

  [[noreturn, gnu::cold, gnu::noinline]] void refuse(std::string const& why) const {
    fail((std::string(mixer) + ": " + prefix + name + ": expected " + why).c_str(), location::here());
  }
  [[noreturn, gnu::cold, gnu::noinline]] void refuse(char const* why, index_t got) const {
    refuse(std::string(why) + ", got " + std::to_string(got));
  }
  void is_apart(bool ok) const {
    if (!ok) refuse("memory apart from the arguments, got an overlap");
  }
  template <class V> void has(V const& v, extents<4> const& e) const {
    bool good = v.str[3] == 1 || v.ext[3] == 1;
    for (int r = 0; r < 4; ++r) good = good && v.ext[r] == e[r];
    if (good) return;
    std::string const text = std::string(mixer) + ": " + prefix + name;
    expects_extents(text.c_str(), v.ext, e);
    expects_contiguous_rows(text.c_str(), v);
  }
};

template <class V> bool given(V const& v) { return v.ext != extents<4>{}; }

/// Chunk, packing, initial states.
template <class X>
void check_scan(char const* mixer, index_t chunk, packed_sequences const& packing, X const& x,
                extents<4> const& v, extents<4> const& state) {
  if (chunk < 1) scan_argument{mixer, "", "chunk"}.refuse("at least 1 row", chunk);
  check_packing(packing, v[0], v[2]);
  if (given(x.initial)) scan_argument{mixer, "", "initial"}.has(x.initial, state);
}

/// Whether v is the initial states among the inputs x, which not every mixer has.
template <class X, class V> bool is_initial(X const& x, V const& v) {
  if constexpr (requires { x.initial; })
    return &v == &x.initial;
  else
    return false;
}

/// y and the final states: extents, layout, and memory apart from the inputs (final may be the initial
/// states).
template <class M, class X, class Y>
void check_scan_outputs(char const* mixer, X const& x, Y const& y, Y const& final, extents<4> const& expected,
                        extents<4> const& state) {
  scan_argument const out{mixer, "", "y"}, last{mixer, "", "final"};
  out.has(y, expected);
  bool const keep = given(final);
  if (keep) {
    last.has(final, state);
    last.is_apart(!overlaps(final, y));
  }
  M::for_each_input(
      [&](char const*, auto const& v) {
        out.is_apart(!overlaps(v, y));
        bool const same = is_initial(x, v) && v.ptr == final.ptr && v.str == final.str;
        last.is_apart(!keep || same || !overlaps(v, final));
      },
      x);
}

/// dy, dfinal and the gradients of the inputs.
template <class M, class X, class V, class D>
void check_scan_gradients(char const* mixer, X const& x, V const& dy, V const& dfinal, D const& dx,
                          extents<4> const& expected, extents<4> const& state) {
  scan_argument{mixer, "", "dy"}.has(dy, expected);
  if (given(dfinal)) scan_argument{mixer, "", "dfinal"}.has(dfinal, state);
  M::for_each_input(
      [&](char const* name, auto const& from, auto const& d) {
        scan_argument const gradient{mixer, "d", name};
        if (given(from) || given(d)) gradient.has(d, from.ext);
        gradient.is_apart(!overlaps(dy, d) && !overlaps(dfinal, d));
        M::for_each_input([&](char const*, auto const& v) { gradient.is_apart(!overlaps(v, d)); }, x);
      },
      x, dx);
}

template <class B, class V>
auto make_scan_state(char const* mixer, B& be, packed_sequences const& packing, V const& initial,
                     extents<4> const& state, index_t capacity) {
  using T = typename V::value_type;
  if (capacity < 1) scan_argument{mixer, "", "capacity"}.refuse("at least 1", capacity);
  if (packing.count != 0)
    scan_argument{mixer, "", "packing"}.refuse("no packed sequences in a stream", packing.count);
  scan_state<owns<B>, T> s{tensor<T, 4, space_t<B>>(be.memory(), state), 0, capacity};
  if (given(initial)) be.copy(initial, s.s.view());
  return s;
}

/// What may refuse rows of x after those that the state has seen.
template <class M, class X, class State, class Y>
void check_scan_rows(M const& m, char const* mixer, X const& x, State const& s, Y const& y, index_t count,
                     extents<4> const& state) {
  if (given(x.initial)) scan_argument{mixer, "", "initial"}.refuse("none, since the state has it; got one");
  check_scan_outputs<M>(mixer, x, y, Y{}, m.output_extents(x), state);
  scan_argument const own{mixer, "", "state"};
  own.has(s.s.cview(), state);
  own.is_apart(!overlaps(s.s.cview(), y));
  if (s.length + count > s.capacity) own.refuse("room for the tokens within its capacity", s.length + count);
}

/// Rows of x after those that the state has seen; the last K states into snapshots (K,...), if there are any.
template <class M, class B, class W, class X, class State, class Y, class Z>
void scan_prefill(M const& m, char const* mixer, B& be, W const& w, X const& x, State& s, Y const& y,
                  Z const& snapshots, extents<4> const& v, extents<4> const& state) {
  index_t const count = v[2], kept = snapshots.ext[0];
  check_scan_rows(m, mixer, x, s, y, count, state);
  if (kept != 0 &&
      (kept > count || snapshots.ext != extents<5>{kept, state[0], state[1], state[2], state[3]}))
    scan_argument{mixer, "", "snapshots"}.refuse("(K,B,H,N,P) with K at most the tokens of x; K", kept);
  auto const run = [&](index_t first, index_t rows) {
    X part;
    M::for_each_input(
        [&](char const*, auto const& from, auto& to) {
          if (given(from)) to = slice(from, 2, first, rows);
        },
        x, part);
    part.initial = s.s.cview();
    m.forward(be, w, part, {}, slice(y, 2, first, rows), s.s.view());
  };
  index_t const alone = kept > 0 ? kept - 1 : 0;
  run(0, count - alone);
  for (index_t i = alone; i >= 0 && kept > 0; --i) {
    be.copy(s.s.cview(), fix_axis(snapshots, 0, i));
    if (i > 0) run(count - i, 1);
  }
  s.length += count;
}

/// The same rows into a state in scratch: the state itself is only read.
template <class M, class B, class W, class X, class State, class Y>
void scan_peek(M const& m, char const* mixer, B& be, W const& w, X x, State const& s, Y const& y,
               index_t count, extents<4> const& state) {
  check_scan_rows(m, mixer, x, s, y, count, state);
  auto frame = be.scope();
  auto const next = be.template scratch<typename Y::value_type>(state);
  x.initial = s.s.cview();
  m.forward(be, w, x, {}, y, next);
}

}  // namespace smx::detail
