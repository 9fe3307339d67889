// SPDX-License-Identifier: Apache-2.0
/// \file  Dropout: y = x / (1 - rate), or 0 with probability `rate`. N. Srivastava et al., JMLR 2014.
#pragma once

#include <smx/core/rng.hpp>
#include <smx/nn/layer.hpp>

namespace smx {

/// Shapes: x, y (B,H,L,D). What stays is a function of the seed and the index of the entry in (B,H,L,D)
/// alone: the same for every backend and number of threads, and again in backward, which records nothing. y
/// may be x. In a stream rate is 0. Throws precondition_error for other extents, overlaps, and a rate outside
/// 0 <= rate < 1.
template <Compute T> struct dropout {
  using scalar = T;
  static constexpr traits about{
      .name = "dropout", .causality = causality::exact, .flops_exponent = 1, .pointwise = true};
  static constexpr int input_count = 1;

  double rate = 0;
  std::uint64_t seed = 0;
  friend bool operator==(dropout const&, dropout const&) = default;

  template <class A> struct weights {};
  template <class A> struct inputs { array<A, T, 4> x; };
  template <class A> struct tape {};

  template <class F, class... W> void for_each_weight(F&&, W&&...) const {}
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }
  template <class B> tape<writes<B>> make_tape(B&, inputs<reads<B>> const&) const { return {}; }
  void reseed(std::uint64_t s) { seed = s; }
  bool draws() const { return rate != 0; }

  template <class B>
  void forward(B& be, weights<reads<B>> const&, inputs<reads<B>> const& a, tape<writes<B>> const&,
               out<B, T, 4> y) const {
    expects_extents("dropout: y", y.ext, a.x.ext);
    bool const in_place = a.x.ptr == y.ptr && a.x.str == y.str;
    expects(in_place || !overlaps(a.x, y),
            "dropout: y: expected x itself or memory apart from it, got an overlap");
    apply<B>(be, a.x, y);
  }
  template <class B>
  void backward(B& be, weights<reads<B>> const&, inputs<reads<B>> const& a, tape<writes<B>> const&,
                in<B, T, 4> dy, weights<writes<B>>, inputs<writes<B>> dx) const {
    nn::check_gradients("dropout: dy", "dropout: dx", dy, dx.x, a.x, a.x.ext);
    apply<B>(be, dy, dx.x);
  }

  // What kernels are named by, which nvcc wants to be public.
  /// The factor of entry i.
  struct factors {
    random_stream from;
    double rate;
    extents<4> ext;
    SMX_HD double operator()(extents<4> const& i) const {
      index_t const n = ((i[0] * ext[1] + i[1]) * ext[2] + i[2]) * ext[3] + i[3];
      return from.uniform(static_cast<std::uint64_t>(n)) < rate ? 0 : 1 / (1 - rate);
    }
  };

 private:
  template <class B> void apply(B& be, in<B, T, 4> x, out<B, T, 4> y) const {
    expects(rate >= 0 && rate < 1, "dropout: rate: expected 0 up to below 1, got another number");
    if (rate == 0) {
      be.copy(x, y);
      return;
    }
    auto frame = be.scope();
    auto const keep = be.template scratch<T>(x.ext);
    be.generate(factors{{seed, 0}, rate, x.ext}, keep);
    be.map(multiply{}, y, x, as_input(keep));
  }
};

}  // namespace smx
