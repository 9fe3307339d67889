// SPDX-License-Identifier: Apache-2.0
/// \file  Block-diagonal linear layer along the channels: y = diag(W_1, ..., W_G) x + bias, one factor of a
/// Monarch matrix.
///
/// 2 D D' / G flops a row. The layout is that of the MLPs of Monarch Mixer (D. Fu et al., NeurIPS 2023):
/// weight (G, out, in), block = high digit of the channel. Channels that do not divide by G are padded with
/// zeros at the end of the input, and the end of the output is dropped.
#pragma once

#include <cmath>

#include <smx/backend/shapes.hpp>
#include <smx/mixers/prepared_matrices.hpp>

namespace smx {

/// Shapes: x (B,H,L,D), y (B,H,L,D'), weight (G,ceil(D'/G),ceil(D/G)), bias (D') if any. shuffle: the padded
/// input (G,C) is read as (C,G) first, so that every block sees every part of the input. Throws
/// precondition_error for other extents, a last axis that is not contiguous, y that overlaps x, dx that
/// overlaps x or dy.
template <Compute T> struct block_diagonal {
  using scalar = T;
  static constexpr traits about{
      .name = "block_diagonal", .causality = causality::exact, .flops_exponent = 1, .pointwise = true};
  static constexpr int input_count = 1;

  index_t channels = 0;         ///< D
  index_t output_channels = 0;  ///< D'; 0: D
  index_t blocks = 4;           ///< G
  bool bias = true;
  bool shuffle = false;
  friend bool operator==(block_diagonal const&, block_diagonal const&) = default;

  template <class A> struct weights {
    array<A, T, 3> weight;  // (G,out,in)
    array<A, T, 1> bias;    // (D')
  };
  template <class A> struct inputs { array<A, T, 4> x; };
  template <class A> struct tape {};
  template <class A> using prepared = prepared_matrices<A, T>;

  index_t output() const { return output_channels == 0 ? channels : output_channels; }
  index_t block_in() const { return (channels + blocks - 1) / blocks; }
  index_t block_out() const { return (output() + blocks - 1) / blocks; }

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    check_options();
    // the law of the reference: U(+-sqrt(G / in)) with in padded, biases U(+-1 / sqrt(out))
    f(weight_info<3>{"weight",
                     {blocks, block_out(), block_in()},
                     {initializer::law::uniform, 1 / std::sqrt(static_cast<double>(block_in()))}},
      w.weight...);
    if (bias)
      f(
          weight_info<1>{
              "bias", {output()}, {initializer::law::uniform, 1 / std::sqrt(static_cast<double>(output()))}},
          w.bias...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }

  template <class X> extents<4> output_extents(X const& x) const {
    extents<4> e = x.x.extents();
    e[3] = output();
    return e;
  }
  template <class B> tape<writes<B>> make_tape(B&, inputs<reads<B>> const&) const { return {}; }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
               out<B, T, 4> y) const {
    apply(be, w, {}, a, y);
  }

  /// The blocks for many products, of whatever length; nothing where one of them is cut.
  template <class B> prepared<owns<B>> prepare(B& be, weights<reads<B>> const& w, index_t) const {
    check(w);
    if (channels % blocks != 0 || output() % blocks != 0) return {};
    return prepare_matrices<B, T>(be, w.weight);
  }
  /// forward with prepared blocks: the same bits.
  template <class B>
  void apply(B& be, weights<reads<B>> const& w, prepared<owns<B>> const& p, inputs<reads<B>> const& a,
             out<B, T, 4> y) const {
    check(a.x, w);
    expects_extents("block_diagonal: y", y.ext, output_extents(a));
    expects_contiguous_rows("block_diagonal: y", y);
    expects(!overlaps(a.x, y), "block_diagonal: y: expected memory apart from x, got an overlap");
    auto frame = be.scope();
    auto const x = shuffled(be, a.x);
    bool const whole = p.storage.size() != 0;
    if (bias && !whole) be.map(identity{}, y, along_rows(w.bias, y.ext));
    each_group(x.ext[1], x.ext[3], [&](index_t h, index_range g, index_t in, index_t out) {
      if (out == 0) return;
      auto const yg = columns(fix_axis(y, 1, h), g, block_out(), out);  // (B,g,L,out)
      if (in == 0) {
        if (!bias) be.map(constant<T>{T(0)}, yg);
        return;
      }
      auto const xg = columns(fix_axis(x, 1, h), g, block_in(), in);  // (B,g,L,in)
      auto const shift = bias && whole ? split_axis(w.bias, 0, blocks, block_out()) : smx::in<B, T, 2>{};
      if (multiply_prepared<B, T>(be, "block_diagonal: prepared", p, {blocks, block_out(), block_in()}, shift,
                                  xg, yg))
        return;
      be.gemm(op::none, op::transpose, T(1), xg, matrices(w.weight, g, out, in), bias ? T(1) : T(0), yg);
    });
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x, w);
    expects_extents("block_diagonal: dweight", dw.weight.ext, w.weight.ext);
    if (bias) expects_extents("block_diagonal: dbias", dw.bias.ext, w.bias.ext);
    expects_extents("block_diagonal: dy", dy.ext, output_extents(a));
    expects_extents("block_diagonal: dx", dx.x.ext, a.x.ext);
    expects_contiguous_rows("block_diagonal: dy", dy);
    expects_contiguous_rows("block_diagonal: dx", dx.x);
    expects_contiguous_rows("block_diagonal: dweight", dw.weight);
    expects(!overlaps(dy, dx.x) && !overlaps(a.x, dx.x),
            "block_diagonal: dx: expected memory apart from dy and x, got an overlap");
    auto frame = be.scope();
    auto const x = shuffled(be, a.x);
    auto const to = shuffle ? be.template scratch<T>(x.ext) : dx.x;  // (B,H,L,D), padded if shuffled
    each_group(x.ext[1], x.ext[3], [&](index_t h, index_range g, index_t in, index_t out) {
      if (in == 0) return;
      auto const dxg = columns(fix_axis(to, 1, h), g, block_in(), in);  // (B,g,L,in)
      if (out == 0) return be.map(constant<T>{T(0)}, dxg);
      auto const xg = columns(fix_axis(x, 1, h), g, block_in(), in);
      auto const dyg = columns(fix_axis(dy, 1, h), g, block_out(), out);  // (B,g,L,out)
      be.gemm(op::none, op::none, T(1), dyg, matrices(w.weight, g, out, in), T(0), dxg);
      for (index_t b = 0; b < dyg.ext[0]; ++b)
        be.gemm(op::transpose, op::none, T(1), slice(dyg, 0, b, 1), slice(xg, 0, b, 1), T(1),
                matrices(dw.weight, g, out, in));
    });
    if (shuffle)
      exchange(be, dx.x, as_input(to), [&](auto const& target, auto const& from) { be.copy(from, target); });
    if (bias)
      for (index_t b = 0; b < dy.ext[0]; ++b)
        for (index_t h = 0; h < dy.ext[1]; ++h) {
          auto const rows = swap_axes(slice(slice(dy, 0, b, 1), 1, h, 1), 2, 3);  // (1,1,D',L)
          be.reduce(reduction::sum, rows, T(1),
                    broadcast_axis(broadcast_axis(broadcast_axis(dw.bias, 1, 1), 0, 1), 0, 1));
        }
  }

 private:
  void check_options() const {
    expects_value(channels >= 1, "block_diagonal: channels", "at least 1", channels);
    expects_value(output_channels >= 0, "block_diagonal: output_channels",
                  "0 (channels) or a positive number", output_channels);
    expects_value(blocks >= 1, "block_diagonal: blocks", "at least 1", blocks);
  }
  template <class X, class W> void check(X const& x, W const& w) const {
    check_options();
    expects_extents("block_diagonal: x", x.ext, {-1, -1, -1, channels});
    expects_contiguous_rows("block_diagonal: x", x);
    check(w);
  }
  template <class W> void check(W const& w) const {
    check_options();
    expects_extents("block_diagonal: weight", w.weight.ext, {blocks, block_out(), block_in()});
    expects_contiguous_rows("block_diagonal: weight", w.weight);
    if (bias) expects_extents("block_diagonal: bias", w.bias.ext, {output()});
  }

  /// bias (D') as (B,H,L,D')
  template <class V> static auto along_rows(V const& v, extents<4> const& e) {
    return broadcast_axis(broadcast_axis(broadcast_axis(v, 0, e[2]), 0, e[1]), 0, e[0]);
  }
  /// Blocks g of the weights, cut to the channels that exist: (1,g,out,in).
  template <class W> static auto matrices(W const& w, index_range g, index_t out, index_t in) {
    return broadcast_axis(slice(slice(slice(w, 0, g.first, g.last - g.first), 1, 0, out), 2, 0, in), 0, 1);
  }
  /// `width` of the `pitch` channels of each block g: (B,L,D) -> (B,g,L,width)
  template <class V> static auto columns(V const& v, index_range g, index_t pitch, index_t width) {
    if (g.last - g.first == 1)
      return broadcast_axis(slice(v, 2, width == 0 ? 0 : g.first * pitch, width), 1, 1);
    return swap_axes(
        split_axis(slice(v, 2, g.first * pitch, (g.last - g.first) * pitch), 2, g.last - g.first, pitch), 1,
        2);
  }
  static index_t clipped(index_t g, index_t pitch, index_t end) {
    index_t const n = end - g * pitch;
    return n < 0 ? 0 : n < pitch ? n : pitch;
  }

  /// f(head, blocks, input channels of each, output channels of each): whole blocks at once, cut ones alone.
  template <class F> void each_group(index_t heads, index_t in_channels, F const& f) const {
    index_t const bi = block_in(), bo = block_out(), in_whole = in_channels / bi, out_whole = output() / bo;
    index_t const whole = in_whole < out_whole ? in_whole : out_whole;
    for (index_t h = 0; h < heads; ++h) {
      if (whole > 0) f(h, index_range{0, whole}, bi, bo);
      for (index_t g = whole; g < blocks; ++g)
        f(h, index_range{g, g + 1}, clipped(g, bi, in_channels), clipped(g, bo, output()));
    }
  }

  /// The padded input (G,C) read as (C,G); the input itself when nothing is shuffled.
  template <class B> in<B, T, 4> shuffled(B& be, in<B, T, 4> x) const {
    if (!shuffle) return x;
    auto to = be.template scratch<T>(extents<4>{x.ext[0], x.ext[1], x.ext[2], blocks * block_in()});
    exchange(be, x, to, [&](auto const& from, auto const& target) { be.copy(as_input(from), target); });
    return to;
  }
  /// Calls f(part of v, the channels of shuffled v that it becomes) for whole blocks and the cut one; zeroes
  /// the padding.
  template <class B, class V, class W, class F>
  void exchange(B& be, V const& v, W const& mixed, F const& f) const {
    index_t const c = block_in(), whole = channels / c, rest = channels % c;
    auto const grid = swap_axes(split_axis(mixed, 3, c, blocks), 3, 4);  // (B,H,L,G,C)
    if (whole > 0) f(split_axis(slice(v, 3, 0, whole * c), 3, whole, c), slice(grid, 3, 0, whole));
    if (rest > 0)
      f(split_axis(slice(v, 3, whole * c, rest), 3, 1, rest), slice(slice(grid, 3, whole, 1), 4, 0, rest));
    if constexpr (!std::is_const_v<typename W::element_type>) {
      if (rest > 0) be.map(constant<T>{T(0)}, slice(slice(grid, 3, whole, 1), 4, rest, c - rest));
      index_t const used = whole + (rest > 0 ? 1 : 0);
      if (used < blocks) be.map(constant<T>{T(0)}, slice(grid, 3, used, blocks - used));
    }
  }
};

}  // namespace smx
