// SPDX-License-Identifier: Apache-2.0
/// \file  Norms along the channels. layer: y = gain (x - mean(x)) / sqrt(var(x) + eps) + bias; rms: y = gain
/// x / sqrt(mean(x^2) + eps). J. Ba et al., arXiv 1607.06450; B. Zhang and R. Sennrich, NeurIPS 2019.
#pragma once

#include <smx/nn/layer.hpp>

namespace smx {

/// Shapes: x, y (B,H,L,D), gain and bias (D). y may be x itself where nothing is recorded. Throws
/// precondition_error for other extents, a last axis that is not contiguous, an eps that is negative, and
/// overlaps.
template <Compute T, norm_kind Kind> struct norm_layer {
  using scalar = T;
  static constexpr bool rms = Kind == norm_kind::rms;
  static constexpr traits about{.name = rms ? "rms_norm" : "layer_norm",
                                .causality = causality::exact,
                                .data_dependent = true,
                                .flops_exponent = 1,
                                .pointwise = true};
  static constexpr int input_count = 1;

  index_t channels = 0;
  double eps = 1e-5;
  bool bias = !rms;
  friend bool operator==(norm_layer const&, norm_layer const&) = default;

  template <class A> struct weights { array<A, T, 1> weight, bias; };  // (D)
  template <class A> struct inputs { array<A, T, 4> x; };
  template <class A> struct tape { array<A, T, 4> mean, scale; };  // (B,H,L,1)

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    expects_value(channels >= 1, rms ? "rms_norm: channels" : "layer_norm: channels", "at least 1", channels);
    f(weight_info<1>{"weight", {channels}, {initializer::law::constant, 1}}, w.weight...);
    if (bias) f(weight_info<1>{"bias", {channels}, {}}, w.bias...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }

  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    extents<4> e = a.x.ext;
    e[3] = 1;
    auto const mean = be.template scratch<T>(e);
    return {mean, be.template scratch<T>(e)};
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    check(a.x, w);
    expects_extents(rms ? "rms_norm: y" : "layer_norm: y", y.ext, a.x.ext);
    expects_contiguous_rows(rms ? "rms_norm: y" : "layer_norm: y", y);
    bool const record = t.mean.size() != 0;
    bool const in_place = !record && a.x.ptr == y.ptr && a.x.str == y.str;
    expects(in_place || !overlaps(a.x, y),
            rms ? "rms_norm: y: expected x itself or memory apart from it, got an overlap"
                : "layer_norm: y: expected x itself or memory apart from it, got an overlap");
    auto frame = be.scope();
    auto const used = record ? t : make_tape(be, a);
    be.norm(Kind, T(eps), a.x, nn::as_row(w.weight), shift<B>(w), y, used.mean, used.scale);
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x, w);
    nn::check_gradients(rms ? "rms_norm: dy" : "layer_norm: dy", rms ? "rms_norm: dx" : "layer_norm: dx", dy,
                        dx.x, a.x, a.x.ext);
    expects_extents(rms ? "rms_norm: dweight" : "layer_norm: dweight", dw.weight.ext, {channels});
    if (bias) expects_extents(rms ? "rms_norm: dbias" : "layer_norm: dbias", dw.bias.ext, {channels});
    extents<4> e = a.x.ext;
    e[3] = 1;
    expects_extents(rms ? "rms_norm: tape" : "layer_norm: tape", t.mean.ext, e);
    be.norm_backward(Kind, a.x, nn::as_row(w.weight), as_input(t.mean), as_input(t.scale), dy, dx.x,
                     nn::as_row(dw.weight), bias ? nn::as_row(dw.bias) : out<B, T, 4>{});
  }

 private:
  template <class X, class W> void check(X const& x, W const& w) const {
    expects(eps >= 0, rms ? "rms_norm: eps: expected at least 0, got a negative number or NaN"
                          : "layer_norm: eps: expected at least 0, got a negative number or NaN");
    expects_extents(rms ? "rms_norm: x" : "layer_norm: x", x.ext, {-1, -1, -1, channels});
    expects_contiguous_rows(rms ? "rms_norm: x" : "layer_norm: x", x);
    expects_extents(rms ? "rms_norm: weight" : "layer_norm: weight", w.weight.ext, {channels});
    if (bias) expects_extents(rms ? "rms_norm: bias" : "layer_norm: bias", w.bias.ext, {channels});
  }
  template <class B> in<B, T, 4> shift(weights<reads<B>> const& w) const {
    return bias ? nn::as_row(w.bias) : in<B, T, 4>{};
  }
};

template <Compute T> using layer_norm = norm_layer<T, norm_kind::layer>;
template <Compute T> using rms_norm = norm_layer<T, norm_kind::rms>;

}  // namespace smx
