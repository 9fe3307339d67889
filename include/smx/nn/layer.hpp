// SPDX-License-Identifier: Apache-2.0
/// \file  What a layer of a model is: a mixer with one input. Layers made of layers are layers.
///
/// There is no second concept: what holds for mixers holds for layers. `initialize`, `forward`, `gradients`,
/// `plan`, `stream`, files of states and the conformance suite take both. A layer maps x (B,H,L,D) to y
/// (B,H,L,D'); models use H = 1.
///
/// This header has what composite layers need: names of nested weights, rows as one matrix, and running a
/// part as a stream whether or not it has a state.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <smx/backend/shapes.hpp>
#include <smx/mixers/concept.hpp>
#include <smx/mixers/state.hpp>

namespace smx {

template <class L, class B>
concept Layer = Mixer<L, B> && L::input_count == 1;

/// A layer that runs token by token: it has a state, or works on each row alone and needs none.
template <class L>
inline constexpr bool streams_by_rows =
    (L::about.streaming && L::about.causality != causality::none) || L::about.pointwise;

namespace nn {

/// A visitor that reads no names: none are made for it, and nothing is allocated.
template <class F>
concept Nameless = requires {
  requires std::remove_cvref_t<F>::nameless;
};

namespace detail {
template <class F> struct prefixed {
  std::string prefix;
  F& f;
  template <class I, class... V> void operator()(I info, V&... one) const {
    std::string const whole = prefix + info.name;
    info.name = whole.c_str();
    f(info, one...);
  }
  /// For a part of a part: one longer prefix, not a visitor around a visitor. However deep a weight lies, its
  /// layer is walked by visitors of the same few types, which compile once.
  prefixed under(std::string const& more) const { return {prefix + more, f}; }
};

template <class F> auto with_prefix(std::string const& prefix, F& f) {
  if constexpr (requires { f.under(prefix); })
    return f.under(prefix);
  else
    return prefixed<F>{prefix, f};
}
}  // namespace detail

/// A visitor for the weights of a part: names get `prefix` in front, or a number and a point.
template <class F> auto under(char const* prefix, F& f) {
  if constexpr (Nameless<F>)
    return f;
  else
    return detail::with_prefix(prefix, f);
}
template <class F> auto under(index_t number, F& f) {
  if constexpr (Nameless<F>)
    return f;
  else
    return detail::with_prefix(std::to_string(number) + ".", f);
}

// The visitors below depend on no layer, so that a part's walk compiles once for all layers that hold it.
namespace detail {
/// Whether all weights are as the layer says.
struct weight_check {
  static constexpr bool nameless = true;
  bool gradients;
  bool* fits;
  template <class I, class V> void operator()(I const& info, V const& one) const {
    constexpr int last = V::rank - 1;
    if (gradients && !info.trained) return;
    *fits = *fits && one.ext == info.ext && (last == 0 || one.str[last] == 1 || one.ext[last] == 1);
  }
};
/// Throws for the first that is not.
struct weight_expectation {
  bool gradients;
  std::string_view layer;
  template <class I, class V> void operator()(I const& info, V const& one) const {
    if (gradients && !info.trained) return;
    std::string const name = std::string(layer) + ": " + (gradients ? "d" : "") + info.name;
    expects_extents(name.c_str(), one.ext, info.ext);
    if constexpr (V::rank > 1) expects_contiguous_rows(name.c_str(), one);
  }
};

template <class L, class W> void expect_weights(L const& layer, W const& w, bool gradients) {
  bool fits = true;
  layer.for_each_weight(weight_check{gradients, &fits}, w);
  if (!fits) layer.for_each_weight(weight_expectation{gradients, L::about.name}, w);
}
}  // namespace detail

/// What layers of layers ask before anything is written: weights, and what gradients are added to, have the
/// extents of for_each_weight and rows that are contiguous. (The parts ask too, but under names of their own,
/// and the last of them when the first have run.)
template <class L, class W> void check_weights(L const& layer, W const& w) {
  detail::expect_weights(layer, w, false);
}
template <class L, class W> void check_weight_gradients(L const& layer, W const& dw) {
  detail::expect_weights(layer, dw, true);
}

/// The same for an output: extents e, contiguous rows, memory apart from x.
template <class X, class Y> void check_output(char const* name, X const& x, Y const& y, extents<4> const& e) {
  expects_extents(name, y.ext, e);
  expects_contiguous_rows(name, y);
  expects_value(!overlaps(x, y), name, "memory apart from x; overlaps", 1);
}

/// (B,H,L,D) as one matrix (1,1,B H L,D) where the rows lie one after the other, else as it is.
template <class V> V as_rows(V const& v) {
  if (!is_contiguous(v)) return v;
  return V(v.ptr, {1, 1, v.ext[0] * v.ext[1] * v.ext[2], v.ext[3]});
}
/// A vector (D) for each row of an array with extents e.
template <class V> auto for_rows(V const& v, extents<4> const& e) {
  return broadcast_axis(broadcast_axis(broadcast_axis(v, 0, e[2]), 0, e[1]), 0, e[0]);
}
/// A vector (D) as (1,1,1,D), a matrix (M,N) as (1,1,M,N).
template <class T, class S> view<T, 4, S> as_row(view<T, 1, S> const& v) {
  return broadcast_axis(broadcast_axis(broadcast_axis(v, 0, 1), 0, 1), 0, 1);
}
template <class T, class S> view<T, 4, S> as_matrix(view<T, 2, S> const& v) {
  return broadcast_axis(broadcast_axis(v, 0, 1), 0, 1);
}

/// to (D) += the sum of all rows of v (B,H,L,D), in their order.
template <class B, class T> void add_rows(B& be, view<T const, 4, space_t<B>> v, view<T, 1, space_t<B>> to) {
  auto const rows = as_rows(v);
  auto const sum = broadcast_axis(broadcast_axis(broadcast_axis(to, 1, 1), 0, 1), 0, 1);  // (1,1,D,1)
  for (index_t b = 0; b < rows.ext[0]; ++b)
    for (index_t h = 0; h < rows.ext[1]; ++h)
      be.reduce(reduction::sum, swap_axes(slice(slice(rows, 0, b, 1), 1, h, 1), 2, 3), T(1), sum);
}

/// What every layer asks of the gradients of its input and output: extents, rows that are contiguous, memory
/// of their own. The names are those that messages give.
template <class DY, class DX, class X>
void check_gradients(char const* dy_name, char const* dx_name, DY const& dy, DX const& dx, X const& x,
                     extents<4> const& y) {
  expects_extents(dy_name, dy.ext, y);
  expects_extents(dx_name, dx.ext, x.ext);
  expects_contiguous_rows(dy_name, dy);
  expects_contiguous_rows(dx_name, dx);
  expects_value(!overlaps(dy, dx) && !overlaps(x, dx), dx_name, "memory apart from dy and x; overlaps", 1);
}

/// Extents in the place of an input, for output_extents.
struct input_of_extents {
  struct array {
    smx::extents<4> ext;
    smx::extents<4> extents() const { return ext; }
  } x;
  explicit input_of_extents(smx::extents<4> const& e) : x{e} {}
};

/// The state of a part that needs none.
template <class A> struct no_state {
  template <class F, class... S> static void for_each_array(F&&, S&&...) {}
  template <class F, class... S> static void for_each_counter(F&&, S&&...) {}
};

/// Throws unless counters (from a file) can be those of a part that was made like `like`, after `tokens`
/// tokens of the whole.
template <class S, class R> void expect_part_counters(S const& like, R const& read, index_t tokens) {
  if constexpr (requires { read.tokens(); }) {
    expects_value(read.capacity == like.capacity, "state: capacity of a part", "that of the whole",
                  read.capacity);
    if constexpr (requires { like.expect_counters(read); }) like.expect_counters(read);
    expects_value(read.tokens() == tokens, "state: tokens of a part", "those of the whole", read.tokens());
  }
}

namespace detail {
template <class L, class A> struct part_state { using type = no_state<A>; };
template <class L, class A>
requires(L::about.streaming) struct part_state<L, A> {
  using type = typename L::template state<A>;
};
}  // namespace detail

template <class L, class A> using part_state = typename detail::part_state<L, A>::type;

/// Whether a layer draws random numbers as it is: those depend on the positions of a whole sequence, which no
/// stream knows.
template <class L> bool draws(L const& layer) {
  if constexpr (requires { layer.draws(); })
    return layer.draws();
  else
    return false;
}

template <class B, class L>
part_state<L, owns<B>> make_part_state(B& be, L const& layer, weights_in<L, B> const& w,
                                       inputs_in<L, B> const& x, index_t capacity) {
  expects(!draws(layer), "dropout: rate: expected 0 in a stream, got another number");
  if constexpr (L::about.streaming)
    return layer.make_state(be, w, x, capacity);
  else
    return {};
}
template <class B, class L>
void prefill_part(B& be, L const& layer, weights_in<L, B> const& w, inputs_in<L, B> const& x,
                  part_state<L, owns<B>>& s, out<B, typename L::scalar, 4> y) {
  if constexpr (L::about.streaming)
    layer.prefill(be, w, x, s, y);
  else
    layer.forward(be, w, x, {}, y);
}

}  // namespace nn
}  // namespace smx
