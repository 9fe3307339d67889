// SPDX-License-Identifier: Apache-2.0
/// \file  The implicit filter of Hyena: kernels of long convolutions as the values of a small network at the
/// positions. M. Poli et al., "Hyena Hierarchy", ICML 2023; as in M2-BERT (D. Fu et al., NeurIPS 2023).
///
///   h_0 = sin(m f (W_in z_i + b)),  h_{n+1} = sin(m f (W_n h_n + b_n)),  k_i[d] = (W_out h)[d] (exp(-t_i
///   |delta_d|) + s)
///
/// for i < L. Positional features z and times t have max_length rows, so a kernel depends on max_length and
/// not on L: a shorter one is the beginning of a longer one. One frequency f serves all activations, also of
/// the reversed kernel's network. Cost: 2 L F (E + n F + D) flops a kernel: it depends on no input, so
/// prepare it once for many.
#pragma once

#include <cmath>

#include <smx/nn/linear.hpp>

namespace smx {

/// Weights: z (max_length,E), frequency (F), the networks "forward." and, if bidirectional, "reverse."; t
/// (max_length) and deltas (D) are tables that are read and not trained. At the start z_i = (t, cos(b w),
/// ..., -sin(b w), ...), t = i / (max_length - 1), w = 2 pi i / max_length, bands b from 1e-4 to (E - 1) / 2
/// - 1; deltas from ln(target) / slow to ln(target) / fast: fill_tables. Kernels: (D,L). Throws
/// precondition_error for other extents, an L beyond max_length, an E that is not odd.
template <Compute T> struct hyena_filter {
  using scalar = T;
  static constexpr int max_hidden = 4;

  index_t channels = 0;    ///< D
  index_t max_length = 0;  ///< positions that z and t have rows for
  index_t width = 128;     ///< F
  index_t features = 5;    ///< E
  index_t hidden = 2;      ///< layers F -> F between the first and the last
  bool bidirectional = false;
  double frequency = 10;  ///< that f starts at
  double modulation = 1;  ///< m
  double shift = 0;       ///< s
  friend bool operator==(hyena_filter const&, hyena_filter const&) = default;

  template <class A> struct network { typename linear<T>::template weights<A> in, hidden[max_hidden], out; };
  template <class A> struct weights {
    array<A, T, 2> z;          // (max_length,E)
    array<A, T, 1> t;          // (max_length)
    array<A, T, 1> deltas;     // (D)
    array<A, T, 1> frequency;  // (F)
    network<A> forward, reverse;
  };
  /// Of one network: what each activation is applied to, and its result (1,1,L,F).
  template <class A> struct network_tape { array<A, T, 4> before[max_hidden + 1], after[max_hidden + 1]; };
  template <class A> struct tape { network_tape<A> forward, reverse; };

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    check_options();
    f(weight_info<2>{"z", {max_length, features}, {}}, w.z...);
    f(weight_info<1>{"t", {max_length}, {}, false}, w.t...);
    f(weight_info<1>{"deltas", {channels}, {}, false}, w.deltas...);
    f(weight_info<1>{"frequency", {width}, {initializer::law::constant, frequency}}, w.frequency...);
    each_layer("forward.", f, w.forward...);
    if (bidirectional) each_layer("reverse.", f, w.reverse...);
  }

  /// z, t and deltas at their start; M2-BERT: target 1e-2, decays slow at 1.5 and fast at 0.3 of the length.
  template <class B>
  void fill_tables(B& be, weights<writes<B>> const& w, double target = 1e-2, double fast = 0.3,
                   double slow = 1.5) const {
    check_options();
    be.generate(feature_entries{max_length, (features - 1) / 2}, w.z);
    be.generate(time_entries{max_length}, w.t);
    be.generate(delta_entries{channels, std::log(target) / slow, std::log(target) / fast}, w.deltas);
  }

  template <class B> tape<writes<B>> make_tape(B& be, index_t length) const {
    tape<writes<B>> t;
    auto const one = [&](network_tape<writes<B>>& n) {
      for (index_t i = 0; i <= hidden; ++i) {
        n.before[i] = be.template scratch<T>(extents<4>{1, 1, length, width});
        n.after[i] = be.template scratch<T>(extents<4>{1, 1, length, width});
      }
    };
    one(t.forward);
    if (bidirectional) one(t.reverse);
    return t;
  }

  /// k and, if bidirectional, k_rev: (L,D), L <= max_length. A default-made tape records nothing.
  template <class B>
  void forward(B& be, weights<reads<B>> const& w, tape<writes<B>> const& t, out<B, T, 2> k,
               out<B, T, 2> k_rev) const {
    check(w, k.ext, k_rev.ext);
    evaluate<B>(be, w, w.forward, t.forward, k);
    if (bidirectional) evaluate<B>(be, w, w.reverse, t.reverse, k_rev);
  }

  /// Adds to dw what dk and dk_rev (L,D) give; these are overwritten.
  template <class B>
  void backward(B& be, weights<reads<B>> const& w, tape<writes<B>> const& t, out<B, T, 2> dk,
                out<B, T, 2> dk_rev, weights<writes<B>> const& dw) const {
    check(w, dk.ext, dk_rev.ext);
    expects_extents("hyena_filter: tape", t.forward.after[0].ext, {1, 1, dk.ext[0], width});
    differentiate<B>(be, w, w.forward, t.forward, dk, dw, dw.forward);
    if (bidirectional) differentiate<B>(be, w, w.reverse, t.reverse, dk_rev, dw, dw.reverse);
  }

  // What kernels are named by, which nvcc wants to be public.
  struct feature_entries {
    index_t length, bands;
    SMX_HD double operator()(extents<2> const& i) const {
      double const n = static_cast<double>(length), at = static_cast<double>(i[0]);
      if (i[1] == 0) return length > 1 ? at / (n - 1) : 0;
      index_t const b = (i[1] - 1) % bands;
      double const first = 1e-4, last = static_cast<double>(bands - 1);
      double const band =
          bands == 1 ? first
                     : first + (last - first) * static_cast<double>(b) / static_cast<double>(bands - 1);
      double const angle = band * 2 * 3.14159265358979323846 * at / n;
      return i[1] - 1 < bands ? std::cos(angle) : -std::sin(angle);
    }
  };
  struct time_entries {
    index_t length;
    SMX_HD double operator()(extents<1> const& i) const {
      return length > 1 ? static_cast<double>(i[0]) / static_cast<double>(length - 1) : 0;
    }
  };
  struct delta_entries {
    index_t channels;
    double first, last;
    SMX_HD double operator()(extents<1> const& i) const {
      if (channels == 1) return first;
      return first + (last - first) * static_cast<double>(i[0]) / static_cast<double>(channels - 1);
    }
  };
  struct scaled_sine {
    T m;
    SMX_HD T operator()(T x, T f) const { return smx::sine{}(m * f * x); }
    template <class C, class V> SMX_INLINE V on_vectors(C const& call, V x, V f) const {
      return call(smx::sine{}, m * f * x);
    }
  };
  /// m cos(m f x) dy: times f the gradient of x, times x that of f.
  struct d_scaled_sine {
    T m;
    SMX_HD T operator()(T dy, T x, T f) const { return m * smx::cosine{}(m * f * x) * dy; }
    template <class C, class V> SMX_INLINE V on_vectors(C const& call, V dy, V x, V f) const {
      return m * call(smx::cosine{}, m * f * x) * dy;
    }
  };
  struct decay {
    T shift;
    SMX_HD T operator()(T k, T t, T delta) const { return k * (std::exp(-t * std::fabs(delta)) + shift); }
  };

 private:
  void check_options() const {
    expects_value(channels >= 1, "hyena_filter: channels", "at least 1", channels);
    expects_value(max_length >= 1, "hyena_filter: max_length", "at least 1", max_length);
    expects_value(width >= 1, "hyena_filter: width", "at least 1", width);
    expects_value(features >= 3 && features % 2 == 1, "hyena_filter: features", "an odd number of at least 3",
                  features);
    expects_value(hidden >= 0 && hidden <= max_hidden, "hyena_filter: hidden", "0 to 4", hidden);
  }
  template <class W> void check(W const& w, extents<2> const& k, extents<2> const& k_rev) const {
    check_options();
    expects_extents("hyena_filter: k", k, {-1, channels});
    if (bidirectional) expects_extents("hyena_filter: k_rev", k_rev, k);
    expects_value(k[0] <= max_length, "hyena_filter: length", "no more than max_length", k[0]);
    expects_extents("hyena_filter: z", w.z.ext, {max_length, features});
    expects_extents("hyena_filter: t", w.t.ext, {max_length});
    expects_extents("hyena_filter: deltas", w.deltas.ext, {channels});
    expects_extents("hyena_filter: frequency", w.frequency.ext, {width});
  }
  linear<T> first() const { return {features, width}; }
  linear<T> middle() const { return {width, width}; }
  linear<T> last() const { return {width, channels, false}; }

  template <class F, class... N> void each_layer(char const* prefix, F& f, N&&... n) const {
    auto of_network = nn::under(prefix, f);
    auto of_hidden = nn::under("hidden.", of_network);
    first().for_each_weight(nn::under("in.", of_network), n.in...);
    for (index_t i = 0; i < hidden; ++i) middle().for_each_weight(nn::under(i, of_hidden), n.hidden[i]...);
    last().for_each_weight(nn::under("out.", of_network), n.out...);
  }

  template <class B>
  void evaluate(B& be, weights<reads<B>> const& w, network<reads<B>> const& n,
                network_tape<writes<B>> const& t, out<B, T, 2> k) const {
    auto frame = be.scope();
    index_t const length = k.ext[0];
    bool const record = t.after[0].size() != 0;
    extents<4> const e{1, 1, length, width};
    auto const f = nn::for_rows(w.frequency, e);
    in<B, T, 4> h = nn::as_matrix(slice(w.z, 0, 0, length));
    out<B, T, 4> spare[2] = {};
    for (index_t i = 0; i <= hidden; ++i) {
      auto& free = spare[i % 2];
      if (!record && free.size() == 0) free = be.template scratch<T>(e);
      auto const before = record ? t.before[i] : free;
      if (i == 0)
        first().forward(be, n.in, {h}, {}, before);
      else
        middle().forward(be, n.hidden[i - 1], {h}, {}, before);
      auto const after = record ? t.after[i] : before;
      be.map(scaled_sine{T(modulation)}, after, as_input(before), f);
      h = after;
    }
    auto const to = nn::as_matrix(k);
    last().forward(be, n.out, {h}, {}, to);
    be.map(decay{T(shift)}, to, as_input(to), times<B>(w, length), nn::for_rows(w.deltas, to.ext));
  }

  template <class B>
  void differentiate(B& be, weights<reads<B>> const& w, network<reads<B>> const& n,
                     network_tape<writes<B>> const& t, out<B, T, 2> dk, weights<writes<B>> const& dw,
                     network<writes<B>> const& dn) const {
    auto frame = be.scope();
    index_t const length = dk.ext[0];
    extents<4> const e{1, 1, length, width};
    auto const f = nn::for_rows(w.frequency, e);
    auto const dh = be.template scratch<T>(e), slope = be.template scratch<T>(e);
    auto const d = nn::as_matrix(dk);
    be.map(decay{T(shift)}, d, as_input(d), times<B>(w, length), nn::for_rows(w.deltas, d.ext));
    last().backward(be, n.out, {as_input(t.after[hidden])}, {}, as_input(d), dn.out, {dh});
    for (index_t i = hidden; i >= 0; --i) {
      in<B, T, 4> const x = t.before[i];
      be.map(d_scaled_sine{T(modulation)}, slope, as_input(dh), x, f);
      be.map(multiply{}, dh, as_input(slope), x);
      nn::add_rows<B, T>(be, as_input(dh), dw.frequency);
      be.map(multiply{}, slope, as_input(slope), f);
      if (i > 0) {
        middle().backward(be, n.hidden[i - 1], {as_input(t.after[i - 1])}, {}, as_input(slope),
                          dn.hidden[i - 1], {dh});
      } else {
        auto const dz = be.template scratch<T>(extents<4>{1, 1, length, features});
        first().backward(be, n.in, {nn::as_matrix(slice(w.z, 0, 0, length))}, {}, as_input(slope), dn.in,
                         {dz});
        auto const to = nn::as_matrix(slice(dw.z, 0, 0, length));
        be.map(add{}, to, as_input(to), as_input(dz));
      }
    }
  }
  /// t_i for every channel: (1,1,L,D).
  template <class B> in<B, T, 4> times(weights<reads<B>> const& w, index_t length) const {
    return broadcast_axis(broadcast_axis(broadcast_axis(slice(w.t, 0, 0, length), 1, channels), 0, 1), 0, 1);
  }
};

}  // namespace smx
