// SPDX-License-Identifier: Apache-2.0
/// \file  The contract that every sequence mixer meets, on every backend.
///
/// A mixer is a regular value: sizes and options, no memory. Its weights, inputs and saved activations
/// ("tape") are aggregates of arrays whose kind is a parameter: reads<B> (views to read), writes<B> (views to
/// write), owns<B> (tensors).
///
/// * forward equals the dense mixing matrix times the input; a default-made tape records nothing.
/// * backward is its adjoint. Gradients of weights are added to (+=), gradients of inputs are written (=). No
/// atomics,
///   a fixed order of every sum: the same bits on each run and for any number of threads.
/// * prefill and step equal forward row by row, and peek changes nothing (HasState, below).
///
/// Parameter order: backend, weights, inputs, tape or state, outputs. Arrays are (B,H,L,D): batch, heads,
/// length, dim; mixers without heads take H = 1; the physical order is the strides' business, the last axis
/// contiguous unless said.
#pragma once

#include <concepts>

#include <smx/backend/concept.hpp>
#include <smx/core/tensor.hpp>
#include <smx/mixers/traits.hpp>

namespace smx {

/// Kinds of array, by memory space.
template <class S> struct reads_in { template <class T, int R> using array = view<T const, R, S>; };
template <class S> struct writes_in { template <class T, int R> using array = view<T, R, S>; };
template <class S> struct owns_in { template <class T, int R> using array = tensor<T, R, S>; };
/// The kinds of a backend's space: backends of one space share them.
template <class B> using reads = reads_in<space_t<B>>;
template <class B> using writes = writes_in<space_t<B>>;
template <class B> using owns = owns_in<space_t<B>>;

/// An array of kind A (reads<B>, writes<B> or owns<B>).
template <class A, class T, int R> using array = typename A::template array<T, R>;

template <class M, class B> using weights_in = typename M::template weights<reads<B>>;
template <class M, class B> using weights_out = typename M::template weights<writes<B>>;
template <class M, class B> using inputs_in = typename M::template inputs<reads<B>>;
template <class M, class B> using inputs_out = typename M::template inputs<writes<B>>;
template <class M, class B> using tape_of = typename M::template tape<writes<B>>;
template <class M, class B> using state_of = typename M::template state<owns<B>>;

/// How a weight starts: a constant, uniform in +-scale, or normal with standard deviation scale.
struct initializer {
  enum class law : char { constant, uniform, normal } how = law::constant;
  double scale = 0;
};

/// What for_each_weight says of one weight.
template <int R> struct weight_info {
  char const* name;
  smx::extents<R> ext;
  initializer init;
  bool trained = true;  ///< false: a table of the model, which has no gradient and no optimizer changes
};

namespace detail {
struct visitor {
  template <class... A> constexpr void operator()(A&&...) const {}
};
}  // namespace detail

template <class M>
concept MixerValue = std::regular<M> && requires(M const m) {
  typename M::scalar;
  { M::about } -> std::convertible_to<traits>;
  m.for_each_weight(detail::visitor{});  // f(weight_info, member of each struct...)
};

template <class M, class B>
concept HasForward = requires(M const m, B& be, weights_in<M, B> w, inputs_in<M, B> x, tape_of<M, B> tape,
                              out<B, typename M::scalar, 4> y) {
  { m.output_extents(x) } -> std::same_as<extents<4>>;
  { m.make_tape(be, x) } -> std::same_as<tape_of<M, B>>;
  { m.forward(be, w, x, tape, y) } -> std::same_as<void>;
};

template <class M, class B>
concept HasBackward = requires(M const m, B& be, weights_in<M, B> w, inputs_in<M, B> x, tape_of<M, B> tape,
                               in<B, typename M::scalar, 4> dy, weights_out<M, B> dw, inputs_out<M, B> dx) {
  { m.backward(be, w, x, tape, dy, dw, dx) } -> std::same_as<void>;
};

template <class M, class B>
concept Mixer = MixerValue<M> && Backend<B, typename M::scalar> && HasForward<M, B> && HasBackward<M, B>;

/// A state names its parts: `for_each_array(f, s...)` and `for_each_counter(f, s...)` call f(name, member of
/// each state...). Arrays of rank 4 are (B,.,.,.), a part for each row of the batch; others are what
/// make_state prepared from the weights, and stay as they are. Counters are host data, the same for all rows.
template <class S>
concept VisitableState = requires(S s, S const c) {
  S::for_each_array(detail::visitor{}, s);
  S::for_each_counter(detail::visitor{}, s);
  { c.tokens() } -> std::same_as<index_t>;  // so far
  { c.capacity } -> std::convertible_to<index_t>;
};

/// A mixer with a state. `make_state(be, w, x, capacity)` owns its memory; x gives batch, heads and dim.
/// prefill takes any number of tokens that follow those so far, step one (extent 1 along L). Neither
/// allocates. A call that is refused (other extents, no room) throws and leaves every bit of the state.
///
/// From these follow peek, commit, clone_state, copy_state, reorder_state, take_rows (mixers/state.hpp),
/// save_state and load_state (state_file.hpp) for every state, and the by-value stream (mixers/stream.hpp).
template <class M, class B>
concept HasState = Mixer<M, B> &&
    requires(M const m, B& be, weights_in<M, B> w, inputs_in<M, B> x, state_of<M, B> s,
             out<B, typename M::scalar, 4> y, index_t capacity) {
  { m.make_state(be, w, x, capacity) } -> std::same_as<state_of<M, B>>;
  { m.prefill(be, w, x, s, y) } -> std::same_as<void>;
  { m.step(be, w, x, s, y) } -> std::same_as<void>;
} && VisitableState<state_of<M, B>>;

/// A causal mixer that runs token by token, under any split of the tokens into calls.
template <class M, class B>
concept StreamingMixer =
    Mixer<M, B> && M::about.streaming&& M::about.causality != causality::none&& HasState<M, B>;

/// truncate(s, n): forgets all but the first n tokens, by the counters alone.
template <class M, class B>
concept TruncatingMixer = M::about.truncates&& HasState<M, B>&& requires(M const m, state_of<M, B> s) {
  { m.truncate(s, index_t{}) } -> std::same_as<void>;
};

/// evict_front(s, n): drops the n oldest of the s.kept() tokens, by the counters alone; positions keep
/// counting.
template <class M, class B>
concept EvictingMixer = M::about.evicts&& HasState<M, B>&& requires(M const m, state_of<M, B> s) {
  { m.evict_front(s, index_t{}) } -> std::same_as<void>;
  { s.kept() } -> std::same_as<index_t>;
};

}  // namespace smx
