// SPDX-License-Identifier: Apache-2.0
/// \file  Long convolution along the sequence, with a kernel as long as the sequence, a skip term and gates.
///
/// With v = pre x, for every channel:
///   causal         y_i = post_i ( sum_{j<=i} k[i-j] v_j + skip v_i )
///   bidirectional  y_i = post_i ( sum_{j<=i} k[i-j] v_j + sum_{j>i} k_rev[j-i-1] v_j + skip v_i )
///   circular       y_i = post_i ( sum_j k[(i-j) mod L] v_j + skip v_i )
/// M. Poli et al., "Hyena Hierarchy", ICML 2023; transforms as Monarch products: D. Fu et al.,
/// "FlashFFTConv", ICLR 2024.
///
/// Cost: O(L log L) a channel (structured/ring_transform.hpp); exact: O(L log^2 L); a step: O(log^2 L)
/// amortised on the CPU. Memory: spectra of 2 M >= 2 L numbers a channel, prepared once for many inputs
/// (prepare) or by every forward; the tape keeps them for backward.
///
/// Rounding. A transform mixes all positions: with u the unit roundoff and p stages of radix d, every output
/// is within rounding_bound(L) ||k||_1 ||v||_2 of the exact sum (no entry of a spectrum exceeds ||k||_1), and
/// so is what a later position leaves in an earlier row of a causal convolution; a NaN reaches every row of
/// its channel. evaluation::exact is causal bit for bit instead.
#pragma once

#include <cmath>
#include <limits>

#include <smx/backend/shapes.hpp>
#include <smx/mixers/concept.hpp>
#include <smx/mixers/convolution_stream.hpp>
#include <smx/structured/convolution.hpp>
#include <smx/structured/exact_convolution.hpp>

namespace smx {

/// transform: one transform over all positions. exact: causal bit for bit, about log2(L / 32) / 2 times the
/// work.
enum class evaluation : char { transform, exact };

/// Shapes: x (B,H,L,D), gates pre and post like x or left out, y (B,H,L,D); k, k_rev (D,taps), skip (D);
/// heads share kernels. Any strides (skip: contiguous); channel-major data (L contiguous) run without a
/// transpose pass. y may be x itself. Throws precondition_error for other extents, and for taps > L unless
/// truncate.
template <Compute T, convolution_kind Kind = convolution_kind::causal, evaluation How = evaluation::transform>
struct long_convolution {
  static_assert(
      How == evaluation::transform || Kind == convolution_kind::causal,
      "long_convolution: exact evaluation is a promise about causality: only causal convolutions have it");
  using scalar = T;
  static constexpr bool is_causal = Kind == convolution_kind::causal;
  static constexpr traits about{
      .name = is_causal ? How == evaluation::exact ? "long_convolution_exact" : "long_convolution"
              : Kind == convolution_kind::bidirectional ? "long_convolution_bidirectional"
                                                        : "long_convolution_circular",
      .causality = !is_causal                 ? causality::none
                   : How == evaluation::exact ? causality::exact
                                              : causality::rounding,
      .streaming = is_causal,
      .flops_exponent = 1};
  static constexpr int input_count = 3;

  index_t channels = 0;
  index_t taps = 0;       ///< of the kernels
  bool skip = true;       ///< whether there is a skip term
  bool truncate = false;  ///< whether taps beyond the length of an input are left out, instead of an error
  friend bool operator==(long_convolution const&, long_convolution const&) = default;

  template <class A> struct weights {
    array<A, T, 2> k;      // (D,taps)
    array<A, T, 2> k_rev;  // (D,taps), bidirectional only
    array<A, T, 1> skip;   // (D)
  };
  template <class A> struct inputs { array<A, T, 4> x, pre, post; };  // (B,H,L,D)
  /// The kernels' spectra, which backward needs as well.
  template <class A> struct tape { array<A, T, 1> storage; };
  template <class A> using state = convolution_stream<A, T>;
  /// Kernels prepared for inputs of one length: pass it to apply as often as wanted.
  template <class A> struct prepared {
    array<A, T, 1> storage;
    index_t length = 0;
  };

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    expects_value(channels >= 1, "long_convolution: channels", "at least 1", channels);
    expects_value(taps >= 1, "long_convolution: taps", "at least 1", taps);
    initializer const init{initializer::law::normal, 1 / std::sqrt(static_cast<double>(taps))};
    f(weight_info<2>{"k", {channels, taps}, init}, w.k...);
    if constexpr (Kind == convolution_kind::bidirectional)
      f(weight_info<2>{"k_rev", {channels, taps}, init}, w.k_rev...);
    if (skip) f(weight_info<1>{"skip", {channels}, {initializer::law::normal, 1}}, w.skip...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) {
    f("x", x.x...);
    f("pre", x.pre...);
    f("post", x.post...);
  }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }
  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    return {be.template scratch<T>(extents<1>{storage_size(be, transform_shape(a.x.ext[2]))})};
  }

  /// |error| of an output, and what the future leaves in a past row, over ||k||_1 ||v||_2 (skip and k_rev
  /// counted in k).
  static double rounding_bound(index_t length) {
    ring_transform const ring(How == evaluation::exact ? 2 * length : length);
    // a stage of radix d: 2 d products summed, entries of modulus 1, against a norm that grows by sqrt(d)
    double const d = static_cast<double>(ring_transform::largest_radix),
                 stage = (2 * d + 2) * std::sqrt(2 * d);
    return (3 * ring.stages() * stage + 64) * static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;
  }

  /// The kernels' spectra for inputs of `length` positions, in memory of its own.
  template <class B> prepared<owns<B>> prepare(B& be, weights<reads<B>> const& w, index_t length) const {
    convolution_shape const s = shape(length);
    check_weights(w);
    prepared<owns<B>> p{tensor<T, 1, space_t<B>>(be.memory(), extents<1>{storage_size(be, s)}), length};
    prepare_into(be, s, w, p.storage.view());
    return p;
  }
  /// forward with prepared kernels.
  template <class B>
  void apply(B& be, prepared<owns<B>> const& p, inputs<reads<B>> const& a, out<B, T, 4> y) const {
    check(a, y.ext, "long_convolution: y");
    expects_value(p.length == a.x.ext[2], "long_convolution: prepared",
                  "kernels prepared for the length of x", p.length);
    run(be, shape(a.x.ext[2]), p.storage.cview(), a, y);
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               out<B, T, 4> y) const {
    check(a, y.ext, "long_convolution: y");
    check_weights(w);
    convolution_shape const s = shape(a.x.ext[2]);
    bool const record = t.storage.size() != 0;
    if (record) {
      check_tape(be, a, t);
      prepare_into(be, transform_shape(a.x.ext[2]), w, t.storage);
    }
    auto frame = be.scope();
    if (record && !s.exact) return run(be, s, t.storage, a, y);
    auto const storage = be.template scratch<T>(extents<1>{storage_size(be, s)});
    prepare_into(be, s, w, storage);
    run(be, s, storage, a, y);
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a, dy.ext, "long_convolution: dy");
    check_weights(w);
    check_tape(be, a, t);
    check_gradients(dw);
    expects_extents("long_convolution: dx", dx.x.ext, a.x.ext);
    expects_extents("long_convolution: dpre", dx.pre.ext, a.pre.ext);
    expects_extents("long_convolution: dpost", dx.post.ext, a.post.ext);
    for_each_input(
        [&](char const*, auto const& d) {
          expects(!overlaps(dy, d) && !overlaps(a.x, d),
                  "long_convolution: dx, dpre, dpost: expected memory apart from x and dy, got an overlap");
        },
        dx);
    convolution_shape const s = transform_shape(a.x.ext[2]);
    in<B, T, 1> const storage = t.storage;
    auto frame = be.scope();
    if (tuned(be, convolution_backward_call<T, space_t<B>>{s, storage, a.x, a.pre, a.post, dy, dw.k, dw.k_rev,
                                                           dw.skip, dx.x, dx.pre, dx.post}))
      return;
    using recipe = detail::convolution_recipe<B, T>;
    recipe const r(s);
    for (index_t h = 0; h < a.x.ext[1]; ++h)  // one after the other: heads share the kernels' gradients
      for (index_t c = 0; c < channels; c += channel_group) {
        index_range const range{c, c + channel_group < channels ? c + channel_group : channels};
        auto const part = [&](auto const& v) { return columns(v, h, range); };
        auto const taps_of = [&](auto const& v) {
          return v.ext[0] == 0 ? v : slice(v, 0, range.first, range.last - range.first);
        };
        r.backward(
            be, storage, range, part(a.x), part(a.pre), part(a.post), part(dy),
            {taps_of(dw.k), taps_of(dw.k_rev), taps_of(dw.skip), part(dx.x), part(dx.pre), part(dx.post)});
      }
  }

  /// A stream of at most `capacity` positions, prefixes included, with the kernels of this call: on the CPU
  /// min(capacity, 2 taps) rows and the spectra of the kernels, O(min(capacity, taps)) numbers a channel.
  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a,
                            index_t capacity) const requires(about.streaming) {
    check_weights(w);
    expects_extents("long_convolution: x", a.x.ext, {-1, -1, -1, channels});
    expects_value(capacity >= 1, "long_convolution: capacity", "at least 1", capacity);
    state<owns<B>> s;
    s.make(be, w.k, w.skip, a.x.ext[0], a.x.ext[1], capacity);
    return s;
  }

  /// The outputs of the positions of x, which follow those that the state has seen. The kernels are those of
  /// make_state.
  template <class B>
  void prefill(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
               out<B, T, 4> y) const requires(about.streaming) {
    check(a, y.ext, "long_convolution: y");
    index_t const count = a.x.ext[2];
    check_state(w, a, s, count);
    if (s.position == 0 && count > 1) {
      long_convolution shorter = *this;
      shorter.truncate = true;
      shorter.forward(be, w, a, {}, y);
      if (count < s.capacity) s.begin(be, w.k, w.skip, a.x, a.pre);
      s.position = count;
      return;
    }
    for (index_t t = 0; t < count; ++t) {
      auto const row = [&](auto const& v) { return v.ext[2] == 0 ? v : slice(v, 2, t, 1); };
      step(be, w, inputs<reads<B>>{row(a.x), row(a.pre), row(a.post)}, s, row(y));
    }
  }

  /// After the first prefill: gives back the memory that only the prompt needed, so that the state holds
  /// O(capacity - position) numbers a channel on the CPU. Such a state is not what make_state makes: from a
  /// file it is refused.
  template <class B>
  void trim(B& be, weights<reads<B>> const& w, state<owns<B>>& s) const requires(about.streaming) {
    check_weights(w);
    s.trim(be, w.k, w.skip);
  }

  /// One position: extents of 1 along L.
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
            out<B, T, 4> y) const requires(about.streaming) {
    check(a, y.ext, "long_convolution: y");
    expects_value(a.x.ext[2] == 1, "long_convolution: x", "one position along L", a.x.ext[2]);
    check_state(w, a, s, 1);
    if (s.position == 0) s.begin(be, w.k, w.skip, slice(a.x, 2, 0, 0), slice(a.pre, 2, 0, 0));
    s.step(be, a.x, a.pre, a.post, y);
  }

 private:
  static constexpr index_t channel_group = 16;  // channels that the recipe takes at once on the CPU

  convolution_shape shape(index_t length) const {
    expects_value(taps <= length || truncate, "long_convolution: taps",
                  "no more than the length of x (or truncate)", taps);
    return {length, channels, taps < length ? taps : length, Kind, How == evaluation::exact};
  }
  /// What backward runs on: exactness is a promise about y alone.
  convolution_shape transform_shape(index_t length) const {
    convolution_shape s = shape(length);
    s.exact = false;
    return s;
  }
  template <class B> void check_tape(B& be, inputs<reads<B>> const& a, tape<writes<B>> const& t) const {
    expects_extents("long_convolution: tape", t.storage.ext, {storage_size(be, transform_shape(a.x.ext[2]))});
  }
  template <class X> void check(X const& a, extents<4> const& y, char const* y_name) const {
    expects_extents("long_convolution: x", a.x.ext, {-1, -1, -1, channels});
    expects_extents(y_name, y, a.x.ext);
    if (a.pre.ext != extents<4>{}) expects_extents("long_convolution: pre", a.pre.ext, a.x.ext);
    if (a.post.ext != extents<4>{}) expects_extents("long_convolution: post", a.post.ext, a.x.ext);
  }
  template <class W, class X, class S>
  void check_state(W const& w, X const& a, S const& s, index_t count) const {
    auto const& rows = s.rows.extents();
    expects_extents("long_convolution: x", a.x.ext, {rows[0], rows[1], -1, rows[3]});
    if (s.position == 0) check_weights(w);
    s.expect_room(count);
  }
  template <class W> void check_weights(W const& w) const {
    expects_extents("long_convolution: k", w.k.ext, {channels, taps});
    if (Kind == convolution_kind::bidirectional)
      expects_extents("long_convolution: k_rev", w.k_rev.ext, {channels, taps});
    if (!skip) return;
    expects_extents("long_convolution: skip", w.skip.ext, {channels});
    expects_contiguous_rows("long_convolution: skip", w.skip);
  }
  template <class W> void check_gradients(W const& dw) const {
    expects_extents("long_convolution: dk", dw.k.ext, {channels, taps});
    if (Kind == convolution_kind::bidirectional)
      expects_extents("long_convolution: dk_rev", dw.k_rev.ext, {channels, taps});
    if (!skip) return;
    expects_extents("long_convolution: dskip", dw.skip.ext, {channels});
    expects_contiguous_rows("long_convolution: dskip", dw.skip);
  }

  /// One head's channels: (B,L,C); empty stays empty.
  template <class V> static auto columns(V const& v, index_t h, index_range c) {
    if (v.ext[3] == 0) return view<typename V::element_type, 3, typename V::space_type>{};
    return slice(fix_axis(v, 1, h), 2, c.first, c.last - c.first);
  }

  template <class B> static index_t storage_size(B& be, convolution_shape const& s) {
    index_t size = 0;
    if (tuned(be, convolution_storage_call<T>{s, &size})) return size;
    return s.exact ? detail::exact_convolution_recipe<B, T>(s).storage_size()
                   : detail::convolution_recipe<B, T>(s).storage_size();
  }
  template <class B>
  static void prepare_into(B& be, convolution_shape const& s, weights<reads<B>> const& w,
                           out<B, T, 1> storage) {
    if (tuned(be, convolution_prepare_call<T, space_t<B>>{s, w.k, w.k_rev, w.skip, storage})) return;
    if (s.exact)
      detail::exact_convolution_recipe<B, T>(s).prepare(be, w.k, w.skip, storage);
    else
      detail::convolution_recipe<B, T>(s).prepare(be, w.k, w.k_rev, w.skip, storage);
  }
  template <class B>
  static void run(B& be, convolution_shape const& s, in<B, T, 1> storage, inputs<reads<B>> const& a,
                  out<B, T, 4> y) {
    if (tuned(be, convolution_forward_call<T, space_t<B>>{s, storage, a.x, a.pre, a.post, y})) return;
    index_t const groups = (s.channels + channel_group - 1) / channel_group;
    auto const all = [&](auto const& recipe_of) {
      for (index_t h = 0; h < a.x.ext[1]; ++h)
        be.tiles(groups, recipe_of(be).bytes(channel_group) * static_cast<std::size_t>(a.x.ext[0]),
                 [&](auto& sub, index_t first, index_t count) {
                   index_range const c{first * channel_group, (first + count) * channel_group < s.channels
                                                                  ? (first + count) * channel_group
                                                                  : s.channels};
                   auto const part = [&](auto const& v) { return columns(v, h, c); };
                   recipe_of(sub).forward(sub, storage, c, part(a.x), part(a.pre), part(a.post), part(y));
                 });
    };
    if (s.exact)
      all([&]<class Sub>(Sub&) { return detail::exact_convolution_recipe<Sub, T>(s); });
    else
      all([&]<class Sub>(Sub&) { return detail::convolution_recipe<Sub, T>(s); });
  }
};

}  // namespace smx
