// SPDX-License-Identifier: Apache-2.0
// A mixer of your own: the depthwise filter of a few taps that many models run before their long mixer,
// y_t = sum_s w[s] x_{t-s} for each channel. Written once against what a backend is, it runs on every
// backend, has a plan, and joins the conformance suite with one specialisation.
#include <smx/smx.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <smx/backend/cpu.hpp>
#include <smx/testing/suite.hpp>

using smx::in;
using smx::index_t;
using smx::out;
using smx::reads;
using smx::writes;

// ---- the mixer -------------------------------------------------------------------------------------------

template <smx::Compute T> struct short_filter {
  using scalar = T;
  // What users may rely on; the suite holds it to each word.
  static constexpr smx::traits about{
      .name = "short_filter", .causality = smx::causality::exact, .flops_exponent = 1};
  static constexpr int input_count = 1;

  index_t channels = 0, taps = 4;
  friend bool operator==(short_filter const&, short_filter const&) = default;

  // A is the kind of array: views to read, views to write, or tensors.
  template <class A> struct weights { smx::array<A, T, 2> w; };  // (taps,D)
  template <class A> struct inputs { smx::array<A, T, 4> x; };   // (B,H,L,D)
  template <class A> struct tape {};                             // backward needs nothing but the inputs

  // One visitor serves allocation, initialisation, files and optimizers.
  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    f(smx::weight_info<2>{"w", {taps, channels}, {smx::initializer::law::normal, 0.5}}, w.w...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> smx::extents<4> output_extents(X const& a) const { return a.x.extents(); }
  template <class B> tape<writes<B>> make_tape(B&, inputs<reads<B>> const&) const { return {}; }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
               out<B, T, 4> y) const {
    check(a.x, w.w, "short_filter: w");
    smx::expects_extents("short_filter: y", y.ext, a.x.ext);
    smx::expects(!overlaps(a.x, y), "short_filter: y: expected memory apart from x, got an overlap");
    // A shift in time is a slice, a tap for all rows is a broadcast: nothing is copied.
    be.map(smx::multiply{}, y, a.x, tap(w.w, 0, a.x.ext));
    for (index_t s = 1; s < std::min(taps, a.x.ext[2]); ++s) {
      auto const now = from(y, s);
      be.map(smx::multiply_add{}, now, until(a.x, s), tap(w.w, s, now.ext), smx::as_input(now));
    }
  }

  // The adjoint: dx is written, gradients of weights are added to.
  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const&,
                in<B, T, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    check(a.x, w.w, "short_filter: w");
    check(a.x, dw.w, "short_filter: dw");
    smx::expects_extents("short_filter: dy", dy.ext, a.x.ext);
    smx::expects_extents("short_filter: dx", dx.x.ext, a.x.ext);
    smx::expects(!overlaps(dy, dx.x) && !overlaps(a.x, dx.x),
                 "short_filter: dx: expected memory apart from dy and x, got an overlap");
    be.map(smx::multiply{}, dx.x, dy, tap(w.w, 0, dy.ext));
    for (index_t s = 0; s < std::min(taps, a.x.ext[2]); ++s) {
      auto const to = until(dx.x, s);
      if (s > 0) be.map(smx::multiply_add{}, to, from(dy, s), tap(w.w, s, to.ext), smx::as_input(to));
      auto frame = be.scope();  // scratch is given back at the end of the scope
      auto const terms = be.template scratch<T>(to.ext);
      be.map(smx::multiply{}, terms, from(dy, s), until(a.x, s));
      index_t const d = channels, n = terms.size() / d;
      auto const columns = swap_axes(out<B, T, 4>(terms.ptr, {1, 1, n, d}), 2, 3);  // (1,1,D,n)
      be.reduce(smx::reduction::sum, smx::as_input(columns), T(1), column(smx::fix_axis(dw.w, 0, s)));
    }
  }

 private:
  template <class W> void check(auto const& x, W const& w, char const* name) const {
    smx::expects_extents("short_filter: x", x.ext, {-1, -1, -1, channels});
    smx::expects_extents(name, w.ext, {taps, channels});
  }
  template <class V> static V from(V const& v, index_t s) { return slice(v, 2, s, v.ext[2] - s); }
  template <class V> static V until(V const& v, index_t s) { return slice(v, 2, 0, v.ext[2] - s); }
  /// (D) as (1,1,D,1)
  template <class V> static auto column(V const& v) {
    return broadcast_axis(broadcast_axis(broadcast_axis(v, 1, 1), 0, 1), 0, 1);
  }
  /// A tap of each channel (D) for all rows: (B,H,L,D)
  template <class V> static auto tap(V const& w, index_t s, smx::extents<4> const& e) {
    auto const row = smx::fix_axis(w, 0, s);  // (D)
    return broadcast_axis(broadcast_axis(broadcast_axis(row, 0, e[2]), 0, e[1]), 0, e[0]);
  }
};

// ---- its entry in the suite ------------------------------------------------------------------------------

template <class T> struct smx::testing::cases<short_filter<T>> {
  using M = short_filter<T>;
  static std::vector<example<M>> examples() {
    return {{{.channels = 3}, {{2, 2, 1, 3}}},
            {{.channels = 3}, {{1, 2, 7, 3}}},
            {{.channels = 16, .taps = 3}, {{2, 1, 33, 16}}},
            {{.channels = 5, .taps = 1}, {{1, 1, 129, 5}}},
            {{.channels = 40}, {{1, 1, 1000, 40}}, false}};
  }
  static example<M> sized(index_t length) { return {{.channels = 1}, {{1, 1, length, 1}}}; }
  static double terms(M const& m, host_inputs<M> const&) { return static_cast<double>(m.taps); }
  static bool sees(M const& m, host_inputs<M> const&, int, index_t row, index_t position) {
    return position <= row && row - position < m.taps;
  }
  // The formula, in double, and how far rounding may be off it.
  static void oracle(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    loops::for_each_index(y.ext, [&](extents<4> const& i) {
      double sum = 0, size = 0;
      for (index_t s = 0; s < std::min(m.taps, i[2] + 1); ++s) {
        double const term =
            static_cast<double>(w.w(s, i[3])) * static_cast<double>(x.x(i[0], i[1], i[2] - s, i[3]));
        sum += term, size += std::fabs(term);
      }
      loops::at(y, i) = sum;
      loops::at(bound, i) = static_cast<double>(m.taps) * size;
    });
  }
};

int main() {
  using smx::testing::backend;
  std::tuple const backends{backend{"reference", [] { return smx::reference_backend(); }},
                            backend{"cpu", [](int threads = 2) { return smx::cpu(threads); }}};
  int held = 0, broken = 0;
  auto const report = [&](std::string const& what, smx::testing::verdict const& failure) {
    ++(failure ? broken : held);
    if (failure) std::printf("BROKEN %s\n  %s\n", what.c_str(), failure->c_str());
  };
  // Without a test framework; with Catch2 it is smx::testing::conforms<M>(backends) in a test case.
  smx::testing::check_mixer<short_filter<float>>(backends, nullptr, report);
  smx::testing::check_mixer<short_filter<double>>(backends, nullptr, report);
  std::printf("%d laws hold, %d are broken\n", held, broken);

  std::printf("%s",
              smx::plan(short_filter<float>{.channels = 64}, smx::extents{1, 1, 4096, 64}).text().c_str());
  return broken == 0 && held > 0 ? 0 : 1;
}
