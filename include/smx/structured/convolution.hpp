// SPDX-License-Identifier: Apache-2.0
/// \file  Long convolutions by the ring transform, for any backend: kernel spectra, forward, gradients.
///
/// A kernel is one complex signal modulo t^M - i: lags 0, 1, ... in its real part; lag -l is t^-l = -i
/// t^(M-l), so the anticausal part lies, negated and backwards, in its imaginary part. Its spectrum times
/// that of a real signal is the convolution's; the real part of the inverse is the result. Shapes: signals
/// (B,L,C), kernels (C,taps), spectra (M,2,C).
#pragma once

#include <smx/backend/tuned.hpp>
#include <smx/structured/ring_transform.hpp>

namespace smx::detail {

/// re and im of a b, or of a conj(b).
struct complex_real {
  bool conjugate;
  template <class T> SMX_HD constexpr T operator()(T ar, T ai, T br, T bi) const {
    return conjugate ? ar * br + ai * bi : ar * br - ai * bi;
  }
};
struct complex_imaginary {
  bool conjugate;
  template <class T> SMX_HD constexpr T operator()(T ar, T ai, T br, T bi) const {
    return conjugate ? ai * br - ar * bi : ar * bi + ai * br;
  }
};
/// z + a b
struct add_product {
  template <class T> SMX_HD constexpr T operator()(T z, T a, T b) const { return z + a * b; }
};
/// z + factor x
template <class T> struct add_scaled {
  T factor;
  SMX_HD constexpr T operator()(T z, T x) const { return z + factor * x; }
};

/// The rows of v from the last one back.
template <class T, int R, class S> constexpr view<T, R, S> reversed(view<T, R, S> v, int a) {
  v.ptr = advance(v.ptr, (v.ext[a] - 1) * v.str[a]);
  v.str[a] = -v.str[a];
  return v;
}

/// The convolution of one shape as a program over primitives. `storage` holds the tables and the spectra of
/// the kernels.
template <class B, class T> class convolution_recipe {
 public:
  using read = in<B, T, 3>;
  using write = out<B, T, 3>;
  using kernel = in<B, T, 2>;

  explicit convolution_recipe(convolution_shape const& shape) : shape_(shape), ring_(shape.length) {}

  index_t storage_size() const { return ring_.table_size() + 2 * ring_.points() * shape_.channels; }
  /// Scratch for one signal of `channels` channels, of one batch entry, forward.
  std::size_t bytes(index_t channels) const {
    return static_cast<std::size_t>((4 * ring_.stages() + 4) * ring_.points() * channels) * sizeof(T);
  }

  /// k, k_rev and skip of the weights to tables and spectra.
  void prepare(B& be, kernel k, kernel k_rev, in<B, T, 1> skip, out<B, T, 1> storage) const {
    auto frame = be.scope();
    index_t const m = ring_.points(), d = shape_.channels;
    out<B, T, 1> const tables = slice(storage, 0, 0, ring_.table_size());
    ring_.fill_tables<B, T>(be, tables);
    auto signal = be.template scratch<T>(extents<4>{1, 2, m, d});
    be.map(constant<T>{T(0)}, signal);
    each_lag(signal, [&](auto const& rows, bool anticausal, index_t first, index_t count) {
      auto const& from = anticausal && shape_.kind == convolution_kind::bidirectional ? k_rev : k;
      auto const taps = swap_axes(slice(from, 1, first, count), 0, 1);  // (count,C)
      if (anticausal)
        be.map(negate{}, rows, taps);
      else
        be.copy(taps, rows);
    });
    if (skip.ext[0] != 0) {
      auto const first = fix_axis(fix_axis(fix_axis(signal, 2, 0), 1, 0), 0, 0);  // (C)
      be.map(add{}, first, as_input(first), skip);
    }
    be.copy(fix_axis(as_input(ring_.analyse<B, T>(be, tables, signal)), 0, 0), spectra(storage));
  }

  /// y = post conv(pre x) for channels c of all; empty gates are ones.
  void forward(B& be, in<B, T, 1> storage, index_range c, read x, read pre, read post, write y) const {
    auto frame = be.scope();
    auto const w = ring_.analyse<B, T>(be, tables(storage), signal(be, x, pre));  // (B,M,2,C)
    auto const product = multiply(be, w, kernels(storage, c, w.ext[0]), false);
    deliver(be, ring_.synthesise<B, T>(be, tables(storage), product, ring_transform::part::low), post, y);
  }

  struct gradients {
    out<B, T, 2> k, k_rev;  // (C,taps)
    out<B, T, 1> skip;      // (C)
    write x, pre, post;     // (B,L,C)
  };
  /// With c = conv(w), w = pre x, dc = dy post: dw = conv^T dc, dx = dw pre, dpre = dw x, dpost = dy c, and
  /// the lags of the correlation of dc and w for the kernels; sums over the batch in order.
  void backward(B& be, in<B, T, 1> storage, index_range c, read x, read pre, read post, read dy,
                gradients const& d) const {
    auto frame = be.scope();
    auto const k = kernels(storage, c, x.ext[0]);
    auto const w = ring_.analyse<B, T>(be, tables(storage), signal(be, x, pre));  // (B,M,2,C)
    auto const dc = ring_.analyse<B, T>(be, tables(storage), signal(be, dy, post));
    auto const dw =
        ring_.synthesise<B, T>(be, tables(storage), multiply(be, dc, k, true), ring_transform::part::low);
    deliver(be, dw, pre, d.x);
    if (d.pre.ext[0] != 0) deliver(be, dw, x, d.pre);
    if (d.post.ext[0] != 0)
      deliver(
          be,
          ring_.synthesise<B, T>(be, tables(storage), multiply(be, w, k, false), ring_transform::part::low),
          dy, d.post);

    auto const lags = multiply(be, dc, as_input(w), true);  // (B,M,2,C)
    auto const sum = slice(lags, 0, 0, 1);
    for (index_t b = 1; b < lags.ext[0]; ++b)
      be.map(add{}, sum, as_input(sum), as_input(slice(lags, 0, b, 1)));
    auto const both = ring_.synthesise<B, T>(be, tables(storage), sum, ring_transform::part::both);
    each_lag(both, [&](auto const& rows, bool anticausal, index_t first, index_t count) {
      auto const& to = anticausal && shape_.kind == convolution_kind::bidirectional ? d.k_rev : d.k;
      auto const taps = swap_axes(slice(to, 1, first, count), 0, 1);  // (count,C)
      be.map(add_scaled<T>{anticausal ? T(-1) : T(1)}, taps, as_input(taps), as_input(rows));
    });
    if (d.skip.ext[0] != 0)
      be.map(add{}, d.skip, as_input(d.skip), as_input(fix_axis(fix_axis(fix_axis(both, 2, 0), 1, 0), 0, 0)));
  }

 private:
  in<B, T, 1> tables(in<B, T, 1> storage) const { return slice(storage, 0, 0, ring_.table_size()); }
  template <class V> auto spectra(V const& storage) const {  // (M,2,C)
    return view<typename V::element_type, 3, typename V::space_type>(advance(storage.ptr, ring_.table_size()),
                                                                     {ring_.points(), 2, shape_.channels});
  }
  in<B, T, 4> kernels(in<B, T, 1> storage, index_range c, index_t batch) const {
    return broadcast_axis(slice(spectra(storage), 2, c.first, c.last - c.first), 0, batch);
  }

  /// f(rows of the kernel's signal (1,2,M,C), whether they are lags below 0, first tap, taps) for each run of
  /// taps.
  template <class V, class F> void each_lag(V const& signal, F const& f) const {
    index_t const m = ring_.points(), length = shape_.length,
                  taps = shape_.taps < length ? shape_.taps : length;
    auto const low = fix_axis(fix_axis(signal, 1, 0), 0, 0), high = fix_axis(fix_axis(signal, 1, 1), 0, 0);
    f(slice(low, 0, 0, taps), false, 0, taps);
    if (shape_.kind == convolution_kind::bidirectional && length > 1) {
      index_t const count = taps < length - 1 ? taps : length - 1;
      f(reversed(slice(high, 0, m - count, count), 0), true, 0, count);
    }
    if (shape_.kind == convolution_kind::circular && taps > 1)
      f(slice(high, 0, m - length + 1, taps - 1), true, 1, taps - 1);
  }

  /// x gate, padded with zeros: (B,1,M,C).
  out<B, T, 4> signal(B& be, read x, read gate) const {
    index_t const m = ring_.points();
    auto to = be.template scratch<T>(extents<4>{x.ext[0], 1, m, x.ext[2]});
    auto const rows = fix_axis(to, 1, 0);  // (B,M,C)
    deliver_rows(be, x, gate, slice(rows, 1, 0, x.ext[1]));
    if (m > x.ext[1]) be.map(constant<T>{T(0)}, slice(rows, 1, x.ext[1], m - x.ext[1]));
    return to;
  }
  void deliver(B& be, out<B, T, 4> low, read gate, write y) const {
    deliver_rows(be, as_input(slice(fix_axis(low, 1, 0), 1, 0, y.ext[1])), gate, y);
  }
  static void deliver_rows(B& be, read x, read gate, write y) {
    if (gate.ext[0] != 0)
      be.map(smx::multiply{}, y, x, gate);
    else
      be.copy(x, y);
  }
  out<B, T, 4> multiply(B& be, out<B, T, 4> a, in<B, T, 4> b, bool conjugate) const {
    auto to = be.template scratch<T>(a.ext);
    auto const part = [](auto const& v, index_t i) { return slice(v, 2, i, 1); };
    in<B, T, 4> const ar = part(a, 0), ai = part(a, 1);
    be.map(complex_real{conjugate}, part(to, 0), ar, ai, part(b, 0), part(b, 1));
    be.map(complex_imaginary{conjugate}, part(to, 1), ar, ai, part(b, 0), part(b, 1));
    return to;
  }

  convolution_shape shape_;
  ring_transform ring_;
};

}  // namespace smx::detail
