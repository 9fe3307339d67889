// SPDX-License-Identifier: Apache-2.0
/// \file  State space duality (the mixer of Mamba-2): S_t = exp(delta_t A) S_{t-1} + delta_t B_t x_t^T,
///        y_t = S_t^T C_t + D x_t, gated by silu(z_t).
///
/// delta = clamp(softplus(dt + dt_bias), dt_min, dt_max), A = -exp(a_log) for each head. Cost: L (2 Q P + 4 N
/// P) flops a head and 2 L Q N a group, Q the chunk, against 2 L^2 (N + P) for the dense matrix; memory O(N
/// P) a head forward (structured/chunk_scan.hpp). T. Dao and A. Gu, "Transformers are SSMs", ICML 2024.
#pragma once

#include <limits>

#include <smx/mixers/concept.hpp>
#include <smx/mixers/scan_state.hpp>
#include <smx/mixers/ssd_step_size.hpp>
#include <smx/structured/chunk_scan.hpp>

namespace smx {

template <Compute T> struct nc_ssd;

/// D x_t: left out, a number for each head, or one for each head and channel.
enum class skip_kind : char { none, head, channel };

/// Shapes: x (B,H,L,P), dt (B,H,L,1), b, c (B,G,L,N), z like x or left out, initial (sequences,H,N,P) or left
/// out, y (B,H,L,P); weights a_log (H), skip (H,1) or (H,P), dt_bias (H). Head h reads group h / (H / G) (or
/// h mod G: `groups`). sequences: B, or those of `packing`.
///
/// Throws precondition_error for other extents, limits of dt that are no interval, a last axis that is not
/// contiguous, and outputs that overlap inputs. Numbers are not looked at (they may lie on a device):
/// check_ssd_values does, in host memory. A NaN reaches the rows after it, unless the decay in between
/// underflows.
template <Compute T> struct ssd {
  using scalar = T;
  static constexpr traits about{.name = "ssd",
                                .causality = causality::exact,
                                .data_dependent = true,
                                .streaming = true,
                                .flops_exponent = 1,
                                .row_separable = true};
  static constexpr int input_count = 6;

  index_t heads = 0;
  skip_kind skip = skip_kind::head;
  index_t head_dim = 0;  ///< P; needed with skip_kind::channel only
  bool dt_bias = true;   ///< whether there is one
  bool softplus = true;  ///< of dt + dt_bias; linear above 20
  T dt_min = 0;          ///< of delta; outside the limits its gradient is 0
  T dt_max = std::numeric_limits<T>::infinity();
  index_t chunk = 64;
  group_map groups = group_map::interleaved;
  packed_sequences packing = {};
  friend bool operator==(ssd const&, ssd const&) = default;

  template <class A> struct weights {
    array<A, T, 1> a_log;    // (H)
    array<A, T, 2> skip;     // (H,1) or (H,P)
    array<A, T, 1> dt_bias;  // (H)
  };
  template <class A> struct inputs { array<A, T, 4> x, dt, b, c, z, initial; };
  /// The states before the chunks; without them backward computes them again.
  template <class A> struct tape {
    array<A, T, 5> states;  // (sequences,chunks,H,N,P)
  };
  template <class A> using state = scan_state<A, T>;

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    expects_value(heads >= 1, "ssd: heads", "at least 1", heads);
    f(weight_info<1>{"a_log", {heads}, {initializer::law::uniform, 1}}, w.a_log...);
    if (skip != skip_kind::none)
      f(weight_info<2>{"skip", {heads, skip_width()}, {initializer::law::constant, 1}}, w.skip...);
    // softplus(-4.6) = 0.01, the middle of the range that Mamba-2 starts with
    if (dt_bias) f(weight_info<1>{"dt_bias", {heads}, {initializer::law::constant, -4.6}}, w.dt_bias...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) {
    f("x", x.x...);
    f("dt", x.dt...);
    f("b", x.b...);
    f("c", x.c...);
    f("z", x.z...);
    f("initial", x.initial...);
  }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }
  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& x) const {
    check_inputs(x);
    return {be.template scratch<T>(chunk_state_extents(shape(), x.b.ext, x.x.ext))};
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
    check_inputs(x);
    check_weights(w, "");
    detail::check_scan_outputs<ssd>("ssd", x, y, final, output_extents(x), state_extents(x));
    check_tape(x, t);
    auto frame = be.scope();
    chunk_scan_forward<B, T>(be, shape(), scan_inputs(be, w, x), y, final, t.states);
    if (detail::given(x.z)) be.map(gate{}, y, as_input(y), x.z);
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
    check_inputs(x);
    check_weights(w, "");
    check_weights(dw, "d");
    extents<4> const states = state_extents(x);
    detail::check_scan_gradients<ssd>("ssd", x, dy, dfinal, dx, output_extents(x), states);
    check_tape(x, t);
    auto frame = be.scope();
    auto const in = scan_inputs(be, w, x);
    if (detail::given(x.z)) {  // y is computed again
      auto const y = be.template scratch<T>(x.x.ext);
      chunk_scan_forward<B, T>(be, shape(), in, y, {}, {});
      be.map(gate_gradient{}, dx.z, as_input(y), x.z, dy);
      be.map(gate{}, y, dy, x.z);
      dy = y;
    }
    extents<4> const column = x.dt.ext;
    auto const ddelta = be.template scratch<T>(column), da = be.template scratch<T>(column);  // (B,H,L,1)
    auto const dskip = skip == skip_kind::none
                           ? out<B, T, 4>{}
                           : be.template scratch<T>(extents<4>{states[0], heads, 1, x.x.ext[3]});
    chunk_scan_backward<B, T>(be, shape(), in, t.states, dy, dfinal,
                              {dx.c, dx.b, dx.x, ddelta, da, dskip, dx.initial});
    add_skip_gradient(be, dskip, dw.skip);
    detail::ssd_step_size<T>{softplus, dt_min, dt_max}.backward(be, in.log_decay, x.dt, w.a_log, w.dt_bias,
                                                                ddelta, da, dx.dt, dw.a_log, dw.dt_bias);
  }

  /// The state before the first token: x.initial, or 0.
  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x,
                            index_t capacity) const {
    check_inputs(x);
    check_weights(w, "");
    return detail::make_scan_state("ssd", be, packing, x.initial, state_extents(x), capacity);
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
    check_inputs(x);
    check_weights(w, "");
    detail::scan_prefill(*this, "ssd", be, w, x, s, y, snapshots, x.x.ext, state_extents(x));
  }
  /// As smx::peek.
  template <class B>
  void peek(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, state<owns<B>> const& s,
            out<B, T, 4> y) const {
    check_inputs(x);
    check_weights(w, "");
    detail::scan_peek(*this, "ssd", be, w, x, s, y, x.x.ext[2], state_extents(x));
  }
  /// One token: extents of 1 along L.
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& x, state<owns<B>>& s,
            out<B, T, 4> y) const {
    expects_value(x.x.ext[2] == 1, "ssd: x", "one token along L", x.x.ext[2]);
    prefill(be, w, x, s, y);
  }

  template <class X> extents<4> state_extents(X const& x) const {
    return {sequence_count(packing, x.x.ext[0]), x.x.ext[1], x.b.ext[3], x.x.ext[3]};
  }

  // What kernels are named by, which nvcc wants to be public.
  struct gate {
    SMX_HD T operator()(T y, T z) const { return y * silu{}(z); }
  };
  struct gate_gradient {
    SMX_HD T operator()(T y, T z, T dy) const { return dy * y * d_silu{}(z); }
  };

 private:
  template <Compute> friend struct nc_ssd;  // the same weights

  chunk_scan_shape shape() const { return {1, chunk, groups, packing}; }
  index_t skip_width() const {
    if (skip != skip_kind::channel) return 1;
    expects_value(head_dim >= 1, "ssd: head_dim", "at least 1", head_dim);
    return head_dim;
  }

  template <class X> void check_inputs(X const& x) const {
    expects_value(heads >= 1, "ssd: heads", "at least 1", heads);
    expects_extents("ssd: x", x.x.ext, {-1, heads, -1, skip == skip_kind::channel ? skip_width() : -1});
    expects_extents("ssd: dt", x.dt.ext, {x.x.ext[0], heads, x.x.ext[2], 1});
    expects_extents("ssd: b", x.b.ext, {x.x.ext[0], -1, x.x.ext[2], -1});
    expects_extents("ssd: c", x.c.ext, x.b.ext);
    expects_value(heads % x.b.ext[1] == 0, "ssd: b", "a number of groups that divides the heads; groups",
                  x.b.ext[1]);
    if (detail::given(x.z)) expects_extents("ssd: z", x.z.ext, x.x.ext);
    expects(dt_min >= T(0) && dt_min <= dt_max, "ssd: dt_min, dt_max: expected 0 <= dt_min <= dt_max");
    expects_contiguous_rows("ssd: x", x.x);
    expects_contiguous_rows("ssd: b", x.b);
    expects_contiguous_rows("ssd: c", x.c);
    detail::check_scan("ssd", chunk, packing, x, x.x.ext, state_extents(x));
  }
  template <class X, class Tape> void check_tape(X const& x, Tape const& t) const {
    if (t.states.size() != 0)
      expects_extents("ssd: tape", t.states.ext, chunk_state_extents(shape(), x.b.ext, x.x.ext));
  }
  template <class W> void check_weights(W const& w, char const* prefix) const {
    bool const gradient = *prefix != '\0';
    expects_extents(gradient ? "ssd: da_log" : "ssd: a_log", w.a_log.ext, {heads});
    if (skip != skip_kind::none) {
      expects_extents(gradient ? "ssd: dskip" : "ssd: skip", w.skip.ext, {heads, skip_width()});
      expects_contiguous_rows(gradient ? "ssd: dskip" : "ssd: skip", w.skip);
    }
    if (dt_bias) expects_extents(gradient ? "ssd: ddt_bias" : "ssd: dt_bias", w.dt_bias.ext, {heads});
  }

  template <class B>
  chunk_scan_inputs<T, space_t<B>> scan_inputs(B& be, weights<reads<B>> const& w,
                                               inputs<reads<B>> const& x) const {
    auto const delta = be.template scratch<T>(x.dt.ext), log_decay = be.template scratch<T>(x.dt.ext);
    detail::ssd_step_size<T>{softplus, dt_min, dt_max}.forward(be, x.dt, w.a_log, w.dt_bias, delta,
                                                               log_decay);
    chunk_scan_inputs<T, space_t<B>> to{x.c, x.b, x.x, delta, log_decay, {}, x.initial};
    if (skip != skip_kind::none) {
      to.skip = in<B, T, 4>(w.skip.ptr, extents<4>{1, heads, 1, x.x.ext[3]});
      to.skip.str = {0, w.skip.str[0], 0, skip == skip_kind::channel ? w.skip.str[1] : 0};
    }
    return to;
  }
  /// dskip (sequences,H,1,P) is added up over the sequences and, for a number a head, over P.
  template <class B> void add_skip_gradient(B& be, out<B, T, 4> dskip, out<B, T, 2> to) const {
    if (skip == skip_kind::none) return;
    in<B, T, 4> from = dskip;
    if (skip == skip_kind::head) {
      auto const sums = be.template scratch<T>(extents<4>{dskip.ext[0], heads, 1, 1});
      be.reduce(reduction::sum, as_input(dskip), T(0), sums);
      from = sums;
    }
    for (index_t i = 0; i < from.ext[0]; ++i)
      be.map(add{}, to, as_input(to), fix_axis(fix_axis(from, 2, 0), 0, i));
  }
};

}  // namespace smx
