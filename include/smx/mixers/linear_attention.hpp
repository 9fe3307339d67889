// SPDX-License-Identifier: Apache-2.0
/// \file  Causal linear attention with a matrix state: S_t = exp(a_t) S_{t-1} + k_t v_t^T, y_t = scale S_t^T
///        q_t.
///
/// Without decay: A. Katharopoulos et al., "Transformers are RNNs", ICML 2020 (the feature map is the
/// caller's, and the normaliser a column of ones in v). A constant for each head: Y. Sun et al., "Retentive
/// Network", 2023. A gate for each token and head: S. Yang et al., "Gated Linear Attention Transformers with
/// Hardware-Efficient Training", ICML 2024. Cost: L (2 Q P + 4 N P) flops a head, Q the chunk; memory O(N P)
/// a head forward (structured/chunk_scan.hpp).
#pragma once

#include <cmath>

#include <smx/mixers/concept.hpp>
#include <smx/mixers/scan_state.hpp>
#include <smx/structured/chunk_scan.hpp>

namespace smx {

/// The log-decay a_t: none: 0. head: -exp(weight decay_h). token: min(g_t, 0), g an input.
enum class decay_kind : char { none, head, token };

namespace detail {
struct negative_exponential {
  template <class T> SMX_HD T operator()(T x) const { return usable_log_decay(-std::exp(x)); }
};
struct at_most_zero {
  template <class T> SMX_HD T operator()(T x) const { return x > T(0) ? T(0) : usable_log_decay(x); }
};
struct where_at_most_zero {
  template <class T> SMX_HD T operator()(T x, T dy) const { return x > T(0) ? T(0) : dy; }
};
}  // namespace detail

/// Shapes: q, k (B,G,L,N), v (B,H,L,P), g (B,H,L,1) with Decay token, initial (B,H,N,P) or left out, y
/// (B,H,L,P); weight decay (H) with Decay head. Head h reads group h / (H / G) (or h mod G: `groups`).
///
/// g above 0 counts as 0 and has the gradient 0 there. Throws precondition_error for other extents, a last
/// axis that is not contiguous, and outputs that overlap inputs. A NaN reaches the rows after it, unless the
/// decay in between underflows.
template <Compute T, decay_kind Decay = decay_kind::none> struct linear_attention {
  using scalar = T;
  static constexpr traits about{.name = Decay == decay_kind::none   ? "linear_attention"
                                        : Decay == decay_kind::head ? "retention"
                                                                    : "simple_gla",
                                .causality = causality::exact,
                                .data_dependent = true,
                                .streaming = true,
                                .flops_exponent = 1,
                                .row_separable = true};
  static constexpr int input_count = Decay == decay_kind::token ? 5 : 4;

  index_t heads = 0;  ///< of v; needed with Decay head only
  T scale = 0;        ///< of the output; 0: 1 / sqrt(N)
  index_t chunk = 64;
  group_map groups = group_map::interleaved;
  packed_sequences packing = {};  ///< initial and final are then (sequences,H,N,P)
  friend bool operator==(linear_attention const&, linear_attention const&) = default;

  template <class A> struct weights {
    array<A, T, 1> decay;  // (H), Decay head only
  };
  template <class A> struct inputs { array<A, T, 4> q, k, v, g, initial; };
  /// The states before the chunks; without them backward computes them again.
  template <class A> struct tape {
    array<A, T, 5> states;  // (sequences,chunks,H,N,P)
  };
  template <class A> using state = scan_state<A, T>;

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    if constexpr (Decay == decay_kind::head) {
      expects_value(heads >= 1, "linear_attention: heads", "at least 1", heads);
      f(weight_info<1>{"decay", {heads}, {initializer::law::constant, -4}}, w.decay...);
    }
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) {
    f("q", x.q...);
    f("k", x.k...);
    f("v", x.v...);
    if constexpr (Decay == decay_kind::token) f("g", x.g...);
    f("initial", x.initial...);
  }
  template <class X> extents<4> output_extents(X const& x) const { return x.v.extents(); }
  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& x) const {
    check_inputs(x);
    return {be.template scratch<T>(chunk_state_extents(shape(x), x.q.ext, x.v.ext))};
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    forward(be, w, x, t, y, out<B, T, 4>{});
  }
  /// Also writes the state after the last row of each sequence, unless `final` (sequences,H,N,P) is empty; it
  /// may be x.initial.
  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, tape<writes<B>> const& t,
               out<B, T, 4> y, out<B, T, 4> final) const {
    check(w, x);
    detail::check_scan_outputs<linear_attention>("linear_attention", x, y, final, output_extents(x),
                                                 state_extents(x));
    check_tape(x, t);
    auto frame = be.scope();
    chunk_scan_forward<B, T>(be, shape(x), scan_inputs(be, w, x), y, final, t.states);
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    backward(be, w, x, t, dy, in<B, T, 4>{}, dw, dx);
  }
  /// dfinal: the gradient of the final states; empty: 0.
  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, tape<writes<B>> const& t,
                in<B, T, 4> dy, in<B, T, 4> dfinal, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(w, x);
    if constexpr (Decay == decay_kind::head)
      expects_extents("linear_attention: ddecay", dw.decay.ext, {heads});
    detail::check_scan_gradients<linear_attention>("linear_attention", x, dy, dfinal, dx, output_extents(x),
                                                   state_extents(x));
    check_tape(x, t);
    auto frame = be.scope();
    auto const in = scan_inputs(be, w, x);
    extents<4> column = x.v.ext;
    column[3] = 1;
    auto const dlog =
        Decay == decay_kind::none ? out<B, T, 4>{} : be.template scratch<T>(column);  // (B,H,L,1)
    chunk_scan_backward<B, T>(be, shape(x), in, t.states, dy, dfinal,
                              {dx.q, dx.k, dx.v, {}, dlog, {}, dx.initial});
    if constexpr (Decay == decay_kind::token) be.map(detail::where_at_most_zero{}, dx.g, x.g, as_input(dlog));
    if constexpr (Decay == decay_kind::head) {  // d log-decay / d weight is the log-decay
      be.map(multiply{}, dlog, in.log_decay, as_input(dlog));
      detail::add_row_sums<B, T>(be, as_input(dlog), dw.decay);
    }
  }

  /// The state before the first token: x.initial, or 0.
  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x,
                            index_t capacity) const {
    check(w, x);
    return detail::make_scan_state("linear_attention", be, packing, x.initial, state_extents(x), capacity);
  }
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, state<owns<B>>& s,
               out<B, T, 4> y) const {
    prefill(be, w, x, s, y, out<B, T, 5>{});
  }
  /// Also keeps the states after the last K tokens, K at most the tokens of x: snapshots (K,B,H,N,P), entry i
  /// the state i tokens before the end.
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, state<owns<B>>& s,
               out<B, T, 4> y, out<B, T, 5> snapshots) const {
    check(w, x);
    detail::scan_prefill(*this, "linear_attention", be, w, x, s, y, snapshots, x.v.ext, state_extents(x));
  }
  /// As smx::peek.
  template <class B>
  void peek(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, state<owns<B>> const& s,
            out<B, T, 4> y) const {
    check(w, x);
    detail::scan_peek(*this, "linear_attention", be, w, x, s, y, x.v.ext[2], state_extents(x));
  }
  /// One token: extents of 1 along L.
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, state<owns<B>>& s,
            out<B, T, 4> y) const {
    expects_value(x.v.ext[2] == 1, "linear_attention: v", "one token along L", x.v.ext[2]);
    prefill(be, w, x, s, y);
  }

  template <class X> extents<4> state_extents(X const& x) const {
    return {sequence_count(packing, x.v.ext[0]), x.v.ext[1], x.q.ext[3], x.v.ext[3]};
  }

 private:
  template <class X> chunk_scan_shape shape(X const& x) const {
    double const by_dim = 1 / std::sqrt(static_cast<double>(x.q.ext[3]));
    return {scale != T(0) ? static_cast<double>(scale) : by_dim, chunk, groups, packing};
  }

  template <class X, class Tape> void check_tape(X const& x, Tape const& t) const {
    if (t.states.size() != 0)
      expects_extents("linear_attention: tape", t.states.ext,
                      chunk_state_extents(shape(x), x.q.ext, x.v.ext));
  }
  template <class X> void check_inputs(X const& x) const {
    expects_extents("linear_attention: q", x.q.ext, {-1, -1, -1, -1});
    expects_extents("linear_attention: k", x.k.ext, x.q.ext);
    expects_extents("linear_attention: v", x.v.ext, {x.q.ext[0], -1, x.q.ext[2], -1});
    expects_value(x.v.ext[1] % x.q.ext[1] == 0, "linear_attention: v",
                  "a number of heads that is a multiple of the groups of q", x.v.ext[1]);
    if constexpr (Decay == decay_kind::token)
      expects_extents("linear_attention: g", x.g.ext, {x.v.ext[0], x.v.ext[1], x.v.ext[2], 1});
    if constexpr (Decay == decay_kind::head)
      expects_extents("linear_attention: v", x.v.ext, {-1, heads, -1, -1});
    detail::check_scan("linear_attention", chunk, packing, x, x.v.ext, state_extents(x));
    for (auto const* v : {&x.q, &x.k, &x.v}) expects_contiguous_rows("linear_attention: q, k, v", *v);
  }
  template <class W, class X> void check(W const& w, X const& x) const {
    check_inputs(x);
    if constexpr (Decay == decay_kind::head) expects_extents("linear_attention: decay", w.decay.ext, {heads});
  }

  template <class B>
  chunk_scan_inputs<T, space_t<B>> scan_inputs(B& be, weights<reads<B>> const& w,
                                               inputs<reads<B>> const& x) const {
    chunk_scan_inputs<T, space_t<B>> to{x.q, x.k, x.v, {}, {}, {}, x.initial};
    extents<4> column = x.v.ext;
    column[3] = 1;
    if constexpr (Decay == decay_kind::head) {
      auto const log_decay = be.template scratch<T>(extents<1>{heads});
      be.map(detail::negative_exponential{}, log_decay, w.decay);
      to.log_decay = detail::by_head(as_input(log_decay), column);
    }
    if constexpr (Decay == decay_kind::token) {
      auto const log_decay = be.template scratch<T>(column);
      be.map(detail::at_most_zero{}, log_decay, x.g);
      to.log_decay = log_decay;
    }
    return to;
  }
};

}  // namespace smx
