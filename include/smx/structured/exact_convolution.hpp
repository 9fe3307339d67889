// SPDX-License-Identifier: Apache-2.0
/// \file  Causal convolution that is causal bit for bit, for any backend: no transform holds a position and
/// an earlier one's
///        output.
///
/// Blocks of 32 positions are summed directly. For every s = 32 2^l the blocks of s positions are taken in
/// pairs, and the first of a pair gives the second what lags 1 .. 2s-1 carry over: rows s .. 2s-1 of its
/// product with k[0:2s). Each pair of positions meets at exactly one level, so that the whole costs O(L log^2
/// L) with the transform's radices.
#pragma once

#include <smx/structured/convolution.hpp>

namespace smx::detail {

template <class B, class T> class exact_convolution_recipe {
 public:
  static constexpr index_t block = 32;

  explicit exact_convolution_recipe(convolution_shape const& shape) : shape_(shape) {}

  /// Tables and spectra of every level, and the first taps, skip included.
  index_t storage_size() const {
    index_t size = block * shape_.channels;
    for (index_t s = block; s < shape_.length; s *= 2) size += level(s).storage_size();
    return size;
  }
  std::size_t bytes(index_t channels) const {
    return static_cast<std::size_t>((2 + 16) * (shape_.length + block) * channels) * sizeof(T);
  }

  void prepare(B& be, in<B, T, 2> k, in<B, T, 1> skip, out<B, T, 1> storage) const {
    auto const direct = first_taps(storage);  // (32,C)
    index_t const some = shape_.taps < block ? shape_.taps : block;
    be.copy(swap_axes(slice(k, 1, 0, some), 0, 1), slice(direct, 0, 0, some));
    if (some < block) be.map(constant<T>{T(0)}, slice(direct, 0, some, block - some));
    if (skip.ext[0] != 0) {
      auto const zero = fix_axis(direct, 0, 0);
      be.map(add{}, zero, as_input(zero), skip);
    }
    each_level(storage, [&](index_t s, out<B, T, 1> part) {
      index_t const taps = shape_.taps < 2 * s ? shape_.taps : 2 * s;
      level(s).prepare(be, slice(k, 1, 0, taps), {}, {}, part);
    });
  }

  /// y = post conv(pre x) for channels c of all. Signals (B,L,C).
  void forward(B& be, in<B, T, 1> storage, index_range c, in<B, T, 3> x, in<B, T, 3> pre, in<B, T, 3> post,
               out<B, T, 3> y) const {
    auto frame = be.scope();
    index_t const n = x.ext[1];
    auto v = be.template scratch<T>(x.ext), sum = be.template scratch<T>(x.ext);  // (B,L,C)
    if (pre.ext[0] != 0)
      be.map(multiply{}, v, x, pre);
    else
      be.copy(x, v);
    be.map(constant<T>{T(0)}, sum);
    in<B, T, 2> const taps = slice(first_taps(storage), 1, c.first, c.last - c.first);
    for (index_t lag = 0; lag < block && lag < shape_.taps && lag < n; ++lag)
      each_block(v, sum, block, [&](in<B, T, 4> from, out<B, T, 4> to) {  // (B,blocks,rows,C)
        index_t const rows = from.ext[2] - lag;
        if (rows < 1) return;
        auto const target = slice(to, 2, lag, rows);
        auto const k = broadcast_axis(broadcast_axis(slice(taps, 0, lag, 1), 0, to.ext[1]), 0,
                                      to.ext[0]);  // (B,blocks,1,C)
        be.map(add_product{}, target, as_input(target), slice(from, 2, 0, rows), spread(k, rows));
      });
    each_level(storage, [&](index_t s, in<B, T, 1> part) {
      for (index_t b = 0; b < x.ext[0]; ++b)
        each_pair(fix_axis(v, 0, b), fix_axis(sum, 0, b), s,
                  [&](in<B, T, 3> from, out<B, T, 3> to) {  // (pairs,s or rows,C)
                    auto inner = be.scope();
                    auto product = be.template scratch<T>(extents<3>{from.ext[0], 2 * s, from.ext[2]});
                    auto padded = be.template scratch<T>(product.ext);
                    be.copy(from, slice(padded, 1, 0, s));
                    be.map(constant<T>{T(0)}, slice(padded, 1, s, s));
                    level(s).forward(be, part, c, as_input(padded), {}, {}, product);
                    be.map(add{}, to, as_input(to), as_input(slice(product, 1, s, to.ext[1])));
                  });
    });
    if (post.ext[0] != 0)
      be.map(multiply{}, y, as_input(sum), post);
    else
      be.copy(as_input(sum), y);
  }

 private:
  convolution_recipe<B, T> level(index_t s) const {
    return convolution_recipe<B, T>(
        {2 * s, shape_.channels, shape_.taps < 2 * s ? shape_.taps : 2 * s, convolution_kind::causal, false});
  }
  template <class V> auto first_taps(V const& storage) const {  // (32,C)
    return view<typename V::element_type, 2, typename V::space_type>(storage.ptr, {block, shape_.channels});
  }
  template <class V, class F> void each_level(V const& storage, F const& f) const {
    index_t at = block * shape_.channels;
    for (index_t s = block; s < shape_.length; s *= 2) {
      index_t const size = level(s).storage_size();
      f(s, slice(storage, 0, at, size));
      at += size;
    }
  }
  template <class V> static V spread(V v, index_t rows) {
    v.ext[2] = rows;
    v.str[2] = 0;
    return v;
  }
  /// f(blocks of v, the same blocks of sum): whole ones at once, then the rest.
  template <class F> static void each_block(out<B, T, 3> v, out<B, T, 3> sum, index_t size, F const& f) {
    index_t const whole = v.ext[1] / size, rest = v.ext[1] % size;
    if (whole > 0)
      f(as_input(split_axis(slice(v, 1, 0, whole * size), 1, whole, size)),
        split_axis(slice(sum, 1, 0, whole * size), 1, whole, size));
    if (rest > 0)
      f(as_input(split_axis(slice(v, 1, whole * size, rest), 1, 1, rest)),
        split_axis(slice(sum, 1, whole * size, rest), 1, 1, rest));
  }
  /// f(even blocks of s rows, the odd blocks behind them): pairs of whole blocks at once, then the cut one.
  template <class F> static void each_pair(out<B, T, 2> v, out<B, T, 2> sum, index_t s, F const& f) {
    index_t const n = v.ext[0], pairs = n / (2 * s), rest = n - pairs * 2 * s;
    auto const halves = [&](auto const& u, index_t odd) {
      return slice(split_axis(slice(u, 0, 0, pairs * 2 * s), 0, pairs, 2 * s), 1, odd * s, s);
    };
    if (pairs > 0) f(as_input(halves(v, 0)), halves(sum, 1));
    if (rest > s)
      f(as_input(broadcast_axis(slice(v, 0, pairs * 2 * s, s), 0, 1)),
        broadcast_axis(slice(sum, 0, pairs * 2 * s + s, rest - s), 0, 1));
  }

  convolution_shape shape_;
};

}  // namespace smx::detail
