// SPDX-License-Identifier: Apache-2.0
/// \file  `depth` layers of one kind, one after the other, each with weights of its own.
#pragma once

#include <algorithm>
#include <initializer_list>

#include <smx/nn/layer.hpp>
#include <smx/nn/seed.hpp>

namespace smx {

/// The states of the layers of a stack. Of several states some may be new, without layers yet: all layers
/// that one of them has are visited.
template <class A, class L, int MaxDepth> struct stack_state {
  nn::part_state<L, A> layers[MaxDepth];
  index_t depth = 0, capacity = 0, position = 0;

  template <class F, class... S> static void for_each_array(F&& f, S&&... s) {
    index_t const n = visited(s.depth...);
    for (index_t i = 0; i < n; ++i)
      nn::part_state<L, A>::for_each_array(detail::prefixed((std::to_string(i) + ".").c_str(), f),
                                           s.layers[i]...);
  }
  template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
    f("depth", s.depth...);  // first: what reads counters learns here how many layers follow
    index_t const n = visited(s.depth...);
    for (index_t i = 0; i < n; ++i)
      nn::part_state<L, A>::for_each_counter(detail::prefixed((std::to_string(i) + ".").c_str(), f),
                                             s.layers[i]...);
    f("capacity", s.capacity...);
    f("position", s.position...);
  }
  index_t tokens() const { return position; }
  template <class S> void expect_counters(S const& read) const {
    expects_value(read.depth == depth, "state: depth", "that of the stack", read.depth);
    expects_value(read.position >= 0 && read.position <= capacity, "state: position",
                  "no more than the capacity", read.position);
    for (index_t i = 0; i < depth; ++i) nn::expect_part_counters(layers[i], read.layers[i], read.position);
  }

 private:
  /// A file may say any depth.
  template <class... N> static index_t visited(N... depths) {
    index_t most = 0;
    ((most = std::max(most, depths)), ...);
    return std::min(most, index_t{MaxDepth});
  }
};

/// Weights have the layers' names behind "0.", "1.", ... Shapes: x, y (B,H,L,D). It streams, and is causal,
/// as its layers are. Throws precondition_error for a depth outside 1 .. MaxDepth, for what the layers
/// refuse, and for overlaps.
template <class L, int MaxDepth = 48> struct stack {
  using scalar = typename L::scalar;
  using T = scalar;
  static constexpr traits about = [] {
    traits t = L::about;
    t.name = "stack";
    t.row_separable = t.normalised = t.truncates = t.evicts = false;
    t.same_source = true;
    return t;
  }();
  static constexpr int input_count = 1;

  L layer = {};
  index_t depth = 1;
  std::uint64_t seed = 0;  ///< of what the layers draw
  friend bool operator==(stack const&, stack const&) = default;

  template <class A> struct weights { typename L::template weights<A> layers[MaxDepth]; };
  template <class A> struct inputs { array<A, T, 4> x; };
  /// The inputs of all layers (the first is the caller's: extents alone), and the layers' tapes.
  template <class A> struct tape {
    array<A, T, 4> h[MaxDepth];
    typename L::template tape<A> layers[MaxDepth];
  };
  template <class A> using state = stack_state<A, L, MaxDepth>;

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    check_depth();
    for (index_t i = 0; i < depth; ++i) layer.for_each_weight(nn::under(i, f), w.layers[i]...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }
  /// Seeds for all layers, each another one.
  void reseed(std::uint64_t s) { seed = s; }
  bool draws() const { return nn::draws(layer); }

  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    check_depth();
    tape<writes<B>> t;
    for (index_t i = 0; i < depth; ++i) {
      t.h[i] = i == 0 ? out<B, T, 4>(nullptr, a.x.ext) : be.template scratch<T>(a.x.ext);
      t.layers[i] = seeded(i).make_tape(be, {i == 0 ? a.x : as_input(t.h[i])});
    }
    return t;
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    check(a.x, w, y);
    auto frame = be.scope();
    bool const record = t.h[0].size() != 0;
    out<B, T, 4> spare[2] = {};
    in<B, T, 4> from = a.x;
    for (index_t i = 0; i < depth; ++i) {
      auto to = y;
      if (i + 1 < depth && record) {
        to = t.h[i + 1];
      } else if (i + 1 < depth) {
        auto& free = spare[i % 2];
        if (free.size() == 0) free = be.template scratch<T>(a.x.ext);
        to = free;
      }
      seeded(i).forward(be, w.layers[i], {from}, t.layers[i], to);
      from = to;
    }
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x, w);
    nn::check_weight_gradients(*this, dw);
    nn::check_gradients("stack: dy", "stack: dx", dy, dx.x, a.x, a.x.ext);
    expects_extents("stack: tape", t.h[0].ext, a.x.ext);
    auto frame = be.scope();
    out<B, T, 4> spare[2] = {};
    in<B, T, 4> from = dy;
    for (index_t i = depth; i-- > 0;) {
      auto to = dx.x;
      if (i > 0) {
        auto& free = spare[i % 2];
        if (free.size() == 0) free = be.template scratch<T>(a.x.ext);
        to = free;
      }
      seeded(i).backward(be, w.layers[i], {i == 0 ? a.x : as_input(t.h[i])}, t.layers[i], from, dw.layers[i],
                         {to});
      from = to;
    }
  }

  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a,
                            index_t capacity) const requires(about.streaming) {
    check_depth();
    state<owns<B>> s;
    for (index_t i = 0; i < depth; ++i) s.layers[i] = layer.make_state(be, w.layers[i], {a.x}, capacity);
    s.depth = depth, s.capacity = capacity;
    return s;
  }
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
               out<B, T, 4> y) const requires(about.streaming) {
    check(a.x, w, y);
    expects_value(s.depth == depth, "stack: state", "one of as many layers; layers", s.depth);
    expects_value(s.position + a.x.ext[2] <= s.capacity, "stack: state",
                  "room for the positions within its capacity; positions", s.position + a.x.ext[2]);
    auto frame = be.scope();
    out<B, T, 4> spare[2] = {};
    in<B, T, 4> from = a.x;
    for (index_t i = 0; i < depth; ++i) {
      auto to = y;
      if (i + 1 < depth) {
        auto& free = spare[i % 2];
        if (free.size() == 0) free = be.template scratch<T>(a.x.ext);
        to = free;
      }
      layer.prefill(be, w.layers[i], {from}, s.layers[i], to);
      from = to;
    }
    s.position += a.x.ext[2];
  }
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
            out<B, T, 4> y) const requires(about.streaming) {
    expects_value(a.x.ext[2] == 1, "stack: x", "one position along L", a.x.ext[2]);
    prefill(be, w, a, s, y);
  }

 private:
  L seeded(index_t i) const {
    L one = layer;
    nn::reseed(one, nn::part_seed(seed, static_cast<std::uint64_t>(i)));
    return one;
  }
  void check_depth() const {
    expects_value(depth >= 1 && depth <= MaxDepth, "stack: depth", "1 to its MaxDepth", depth);
  }
  template <class X, class W> void check(X const& x, W const& w) const {
    check_depth();
    nn::check_weights(*this, w);
    expects_extents("stack: x", x.ext, {-1, -1, -1, -1});
    expects_contiguous_rows("stack: x", x);
    expects_extents("stack: layer", layer.output_extents(nn::input_of_extents{x.ext}), x.ext);
  }
  template <class X, class W, class Y> void check(X const& x, W const& w, Y const& y) const {
    check(x, w);
    nn::check_output("stack: y", x, y, x.ext);
  }
};

}  // namespace smx
