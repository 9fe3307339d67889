// SPDX-License-Identifier: Apache-2.0
/// \file  Two layers, one after the other: y = second(first(x)). Longer chains nest.
#pragma once

#include <smx/nn/prepared.hpp>
#include <smx/nn/seed.hpp>

namespace smx {

/// The state of two parts: of one that needs none there is nothing in it.
template <class A, class First, class Second> struct sequential_state {
  nn::part_state<First, A> first;
  nn::part_state<Second, A> second;
  index_t capacity = 0, position = 0;

  template <class F, class... S> static void for_each_array(F&& f, S&&... s) {
    nn::part_state<First, A>::for_each_array(detail::prefixed("first.", f), s.first...);
    nn::part_state<Second, A>::for_each_array(detail::prefixed("second.", f), s.second...);
  }
  template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
    nn::part_state<First, A>::for_each_counter(detail::prefixed("first.", f), s.first...);
    nn::part_state<Second, A>::for_each_counter(detail::prefixed("second.", f), s.second...);
    f("capacity", s.capacity...);
    f("position", s.position...);
  }
  index_t tokens() const { return position; }
  template <class S> void expect_counters(S const& read) const {
    expects_value(read.position >= 0 && read.position <= capacity, "state: position",
                  "no more than the capacity", read.position);
    nn::expect_part_counters(first, read.first, read.position);
    nn::expect_part_counters(second, read.second, read.position);
  }
};

/// The weights' names get "first." and "second." in front. Causal where both are, with the weaker promise;
/// streams where both run row by row and one has a state.
template <class First, class Second> struct sequential {
  using scalar = typename First::scalar;
  using T = scalar;
  static constexpr traits about = [] {
    constexpr traits a = First::about, b = Second::about;
    traits t{.name = "sequential"};
    t.causality = a.causality == causality::none || b.causality == causality::none ? causality::none
                  : a.causality == causality::rounding || b.causality == causality::rounding
                      ? causality::rounding
                      : causality::exact;
    t.data_dependent = a.data_dependent || b.data_dependent;
    t.pointwise = a.pointwise && b.pointwise;
    t.streaming = streams_by_rows<First> && streams_by_rows<Second> && !t.pointwise;
    t.flops_exponent = a.flops_exponent > b.flops_exponent ? a.flops_exponent : b.flops_exponent;
    return t;
  }();
  static constexpr int input_count = 1;

  First first = {};
  Second second = {};
  friend bool operator==(sequential const&, sequential const&) = default;

  template <class A> struct weights {
    typename First::template weights<A> first;
    typename Second::template weights<A> second;
  };
  template <class A> struct inputs { array<A, T, 4> x; };
  template <class A> struct tape {
    array<A, T, 4> h;  // first(x)
    typename First::template tape<A> first;
    typename Second::template tape<A> second;
  };
  template <class A> using state = sequential_state<A, First, Second>;
  /// Where there are no kernels of a length, matrices alone are not worth memory for each length.
  static constexpr bool prepares = nn::prepares<First>;
  template <class A> struct prepared {
    nn::prepared_part<First, A> first;
    nn::prepared_part<Second, A> second;
    std::size_t bytes() const { return first.bytes() + second.bytes(); }
  };

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    first.for_each_weight(nn::under("first.", f), w.first...);
    second.for_each_weight(nn::under("second.", f), w.second...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const {
    return second.output_extents(nn::input_of_extents{first.output_extents(x)});
  }
  void reseed(std::uint64_t seed) {
    nn::reseed(first, nn::part_seed(seed, 0));
    nn::reseed(second, nn::part_seed(seed, 1));
  }
  bool draws() const { return nn::draws(first) || nn::draws(second); }

  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    tape<writes<B>> t;
    t.h = be.template scratch<T>(first.output_extents(a));
    t.first = first.make_tape(be, {a.x});
    t.second = second.make_tape(be, {as_input(t.h)});
    return t;
  }
  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    check(a, w, y);
    auto frame = be.scope();
    auto const h = t.h.size() != 0 ? t.h : be.template scratch<T>(first.output_extents(a));
    first.forward(be, w.first, {a.x}, t.first, h);
    second.forward(be, w.second, {as_input(h)}, t.second, y);
  }
  template <class B> prepared<owns<B>> prepare(B& be, weights<reads<B>> const& w, index_t length) const {
    return {nn::prepare_part(be, first, w.first, length), nn::prepare_part(be, second, w.second, length)};
  }
  template <class B>
  void apply(B& be, weights<reads<B>> const& w, prepared<owns<B>> const& p, inputs<reads<B>> const& a,
             out<B, T, 4> y) const {
    check(a, w, y);
    auto frame = be.scope();
    auto const h = be.template scratch<T>(first.output_extents(a));
    nn::apply_part(be, first, w.first, p.first, {a.x}, h);
    nn::apply_part(be, second, w.second, p.second, {as_input(h)}, y);
  }
  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a, w);
    nn::check_weight_gradients(*this, dw);
    nn::check_gradients("sequential: dy", "sequential: dx", dy, dx.x, a.x, output_extents(a));
    expects_extents("sequential: tape", t.h.ext, first.output_extents(a));
    auto frame = be.scope();
    auto const dh = be.template scratch<T>(t.h.ext);
    second.backward(be, w.second, {as_input(t.h)}, t.second, dy, dw.second, {dh});
    first.backward(be, w.first, {a.x}, t.first, as_input(dh), dw.first, {dx.x});
  }

  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a,
                            index_t capacity) const requires(about.streaming) {
    extents<4> const e = first.output_extents(a);
    return {nn::make_part_state(be, first, w.first, {a.x}, capacity),
            nn::make_part_state(be, second, w.second, {in<B, T, 4>(nullptr, e)}, capacity), capacity, 0};
  }
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
               out<B, T, 4> y) const requires(about.streaming) {
    check(a, w, y);
    expects_value(s.position + a.x.ext[2] <= s.capacity, "sequential: state",
                  "room for the positions within its capacity; positions", s.position + a.x.ext[2]);
    auto frame = be.scope();
    auto const h = be.template scratch<T>(first.output_extents(a));
    nn::prefill_part(be, first, w.first, {a.x}, s.first, h);
    nn::prefill_part(be, second, w.second, {as_input(h)}, s.second, y);
    s.position += a.x.ext[2];
  }
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
            out<B, T, 4> y) const requires(about.streaming) {
    expects_value(a.x.ext[2] == 1, "sequential: x", "one position along L", a.x.ext[2]);
    prefill(be, w, a, s, y);
  }

 private:
  template <class X, class W> void check(X const& a, W const& w) const {
    nn::check_weights(*this, w);
    expects_extents("sequential: x", a.x.ext, {-1, -1, -1, -1});
  }
  template <class X, class W, class Y> void check(X const& a, W const& w, Y const& y) const {
    check(a, w);
    nn::check_output("sequential: y", a.x, y, output_extents(a));
  }
};

}  // namespace smx
