// SPDX-License-Identifier: Apache-2.0
/// \file  Images to tokens: each patch of P x Q pixels becomes one row, y = W patch + bias. A. Dosovitskiy et
/// al., "An Image is Worth 16x16 Words", ICLR 2021; the same as a convolution whose kernel is its stride.
///
/// Patches are a view of the image, copied once so that all of them are one matrix: 2 C P Q D flops a patch.
#pragma once

#include <smx/nn/linear.hpp>

namespace smx {

/// Shapes: x (B,C,Y,X), y (B,1,N,D), N = (Y / P) (X / Q), patches row by row; weight (D,C,P,Q) as published
/// checkpoints have it, bias (D) if any. Throws precondition_error for other extents, for images that are not
/// whole patches, a last axis that is not contiguous, y that overlaps x, dx that overlaps x or dy.
template <Compute T> struct patch_embedding {
  using scalar = T;
  static constexpr traits about{.name = "patch_embedding", .flops_exponent = 1};
  static constexpr int input_count = 1;

  index_t image_channels = 1;  ///< C
  index_t patch_height = 0;    ///< P
  index_t patch_width = 0;     ///< Q; 0: P
  index_t channels = 0;        ///< D
  bool bias = true;
  double deviation = 0;  ///< as in linear
  friend bool operator==(patch_embedding const&, patch_embedding const&) = default;

  template <class A> struct weights {
    array<A, T, 4> weight;  // (D,C,P,Q)
    array<A, T, 1> bias;    // (D)
  };
  template <class A> struct inputs { array<A, T, 4> x; };
  template <class A> struct tape {};

  index_t width() const { return patch_width == 0 ? patch_height : patch_width; }
  index_t pixels() const { return image_channels * patch_height * width(); }
  linear<T> map() const { return {pixels(), channels, bias, deviation}; }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    check_options();
    double const bound = 1 / std::sqrt(static_cast<double>(pixels()));
    initializer const of_weight = deviation > 0 ? initializer{initializer::law::normal, deviation}
                                                : initializer{initializer::law::uniform, bound},
                      of_bias = deviation > 0 ? initializer{} : of_weight;
    f(weight_info<4>{"weight", {channels, image_channels, patch_height, width()}, of_weight}, w.weight...);
    if (bias) f(weight_info<1>{"bias", {channels}, of_bias}, w.bias...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }

  template <class X> extents<4> output_extents(X const& x) const {
    check_options();
    extents<4> const e = x.x.extents();
    check_image(e);
    return {e[0], 1, (e[2] / patch_height) * (e[3] / width()), channels};
  }
  template <class B> tape<writes<B>> make_tape(B&, inputs<reads<B>> const&) const { return {}; }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
               out<B, T, 4> y) const {
    check(a.x, w);
    expects_extents("patch_embedding: y", y.ext, output_extents(a));
    expects(!overlaps(a.x, y), "patch_embedding: y: expected memory apart from x, got an overlap");
    auto frame = be.scope();
    map().forward(be, as_linear(w), {as_input(rows_of(be, a.x))}, {}, y);
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x, w);
    expects_extents("patch_embedding: dweight", dw.weight.ext, w.weight.ext);
    nn::check_gradients("patch_embedding: dy", "patch_embedding: dx", dy, dx.x, a.x, output_extents(a));
    auto frame = be.scope();
    auto const rows = rows_of(be, a.x);
    auto const d = be.template scratch<T>(patches(a.x).ext);
    map().backward(be, as_linear(w), {as_input(rows)}, {}, dy, as_linear(dw), {as_rows(d)});
    be.copy(as_input(d), patches(dx.x));  // every pixel is in one patch
  }

 private:
  void check_options() const {
    expects_value(image_channels >= 1, "patch_embedding: image_channels", "at least 1", image_channels);
    expects_value(patch_height >= 1, "patch_embedding: patch_height", "at least 1", patch_height);
    expects_value(patch_width >= 0, "patch_embedding: patch_width", "0 (patch_height) or a positive number",
                  patch_width);
    expects_value(channels >= 1, "patch_embedding: channels", "at least 1", channels);
  }
  void check_image(extents<4> const& e) const {
    expects_extents("patch_embedding: x", e, {-1, image_channels, -1, -1});
    expects_value(e[2] % patch_height == 0, "patch_embedding: x", "a multiple of the patches' height; height",
                  e[2]);
    expects_value(e[3] % width() == 0, "patch_embedding: x", "a multiple of the patches' width; width", e[3]);
  }
  template <class X, class W> void check(X const& x, W const& w) const {
    check_options();
    check_image(x.ext);
    expects_contiguous_rows("patch_embedding: x", x);
    extents<4> const e{channels, image_channels, patch_height, width()};
    expects_extents("patch_embedding: weight", w.weight.ext, e);
    expects(is_contiguous(w.weight), "patch_embedding: weight: expected contiguous memory");
  }

  /// (B,C,Y,X) as (B,Y/P,X/Q,C,P,Q).
  template <class V> auto patches(V const& x) const {
    auto const v = split_axis(split_axis(x, 3, x.ext[3] / width(), width()), 2, x.ext[2] / patch_height,
                              patch_height);  // (B,C,Y/P,P,X/Q,Q)
    return swap_axes(swap_axes(swap_axes(v, 1, 2), 2, 4), 3, 4);
  }
  /// Contiguous patches as (B,1,N,C P Q).
  template <class S> view<T, 4, S> as_rows(view<T, 6, S> const& v) const {
    return {v.ptr, {v.ext[0], 1, v.ext[1] * v.ext[2], pixels()}};
  }
  template <class B> out<B, T, 4> rows_of(B& be, in<B, T, 4> x) const {
    auto const from = patches(x);
    auto const to = be.template scratch<T>(from.ext);
    be.copy(from, to);
    return as_rows(to);
  }
  template <class A> typename linear<T>::template weights<A> as_linear(weights<A> const& w) const {
    return {{w.weight.ptr, {channels, pixels()}}, w.bias};
  }
};

}  // namespace smx
