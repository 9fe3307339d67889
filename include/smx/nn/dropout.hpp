// SPDX-License-Identifier: Apache-2.0
/// \file  Dropout: y = x / (1 - rate), or 0 with probability `rate`. N. Srivastava et al., JMLR 2014.
///
/// Which, is the hash of the entry's index and the seed, below a bound or not: 2.5 ns an entry on one thread,
/// where ten rounds of random_stream take 30.
#pragma once

#include <cmath>

#include <smx/nn/layer.hpp>
#include <smx/nn/seed.hpp>

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
    expects_extents("dropout: x", a.x.ext, {-1, -1, -1, -1});
    expects_extents("dropout: y", y.ext, a.x.ext);
    bool const in_place = a.x.ptr == y.ptr && a.x.str == y.str;
    expects(in_place || !overlaps(a.x, y),
            "dropout: y: expected x itself or memory apart from it, got an overlap");
    apply<B>(be, a.x, y);
  }
  template <class B>
  void backward(B& be, weights<reads<B>> const&, inputs<reads<B>> const& a, tape<writes<B>> const&,
                in<B, T, 4> dy, weights<writes<B>>, inputs<writes<B>> dx) const {
    expects_extents("dropout: x", a.x.ext, {-1, -1, -1, -1});
    nn::check_gradients("dropout: dy", "dropout: dx", dy, dx.x, a.x, a.x.ext);
    apply<B>(be, dy, dx.x);
  }

  // What kernels are named by, which nvcc wants to be public.
  /// The factor of entry i: 0 where its hash is below the bound.
  struct factors {
    std::uint64_t seed, bound;
    double kept;
    extents<4> ext;
    SMX_HD double operator()(extents<4> const& i) const {
      index_t const n = ((i[0] * ext[1] + i[1]) * ext[2] + i[2]) * ext[3] + i[3];
      return nn::part_seed(seed, static_cast<std::uint64_t>(n)) < bound ? 0 : kept;
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
    // rate 2^64; seeds that differ by a multiple of the hash's step would give shifted numbers
    auto const bound = static_cast<std::uint64_t>(std::ldexp(rate, 64));
    be.generate(factors{nn::part_seed(seed, 0), bound, 1 / (1 - rate), x.ext}, keep);
    be.map(multiply{}, y, x, as_input(keep));
  }
};

}  // namespace smx
