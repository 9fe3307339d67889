// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include <smx/backend/cpu/convolution/backward.hpp>

#include "../../scalars.hpp"
#include "convolution_case.hpp"

using namespace test;

namespace {

/// Gradients of sum(dy * y), added to (kernels, skip) or replacing (sequences) what is there.
template <class T> struct gradients {
  array<T> u, pre, post, k, k_rev;
  std::vector<T> skip;

  explicit gradients(convolution_case<T> const& c)
      : u(c.u), pre(c.u), post(c.u), k(c.k), k_rev(c.k), skip(normal_numbers<T>(c.channels, 21)) {
    k.data = normal_numbers<T>(static_cast<index_t>(k.data.size()), 22);
    k_rev.data = normal_numbers<T>(static_cast<index_t>(k.data.size()), 23);
  }
  cpu::convolution_gradients<T> get(convolution_case<T> const& c) {
    cpu::convolution_gradients<T> g;
    g.u = u.get();
    if (c.o.gates) g.pre = pre.get(), g.post = post.get();
    g.kernel.causal = k.get(), g.kernel.taps = c.taps, g.kernel.circular = c.o.kind == reach::circular;
    if (c.o.kind == reach::bidirectional)
      g.kernel.anticausal = k_rev.get(), g.kernel.anticausal_taps = c.taps;
    if (c.o.skip) g.kernel.skip = skip.data();
    return g;
  }
};

template <class T>
void backward(convolution_case<T> const& c, prepared<T> const& p, array<T> const& dy,
              cpu::convolution_gradients<T> const& g, index_t first, index_t count) {
  buffer<T> scratch(cpu::backward_scratch<T>(p.plan, c.batch));
  cpu::convolution_backward<T>(p.plan, p.twiddles.get(), p.spectrum.get(), c.batch, c.channels, c.u.get(),
                               c.gate(c.pre), c.gate(c.post), dy.get(), g, first, count, scratch.get());
  CHECK(scratch.intact());
}

/// All gradients of some channels against direct sums. Kernel gradients may be off by 20 s e sum_b ||dc_b||_2
/// ||w_b||_1 of their transforms and by e for each batch item and the sum with what was there.
template <class T> void check_backward(index_t length, index_t channels, index_t batch, options const& o) {
  CAPTURE(length, channels, batch, int(o.kind), int(o.layout), o.skip, o.gates, o.kernel_time_major, o.taps,
          sizeof(T));
  convolution_case<T> c(length, channels, batch, o);
  prepared<T> const p(c);
  array<T> const dy(batch, length, channels, o.layout, 9);
  gradients<T> g(c);
  gradients<T> const before = g;
  backward(c, p, dy, g.get(c), 0, cpu::tile_count<T>(channels));

  double const factor = cpu::rounding_factor<T>(p.plan), e = sizeof(T) == 4 ? 0x1p-24 : 0x1p-53;
  auto const off = [](wide<T> expected, T got) {
    return static_cast<double>(std::abs(expected - wide<T>(got)));
  };
  auto const size = static_cast<std::size_t>(length);
  for (index_t d : some_channels(channels)) {
    std::vector<wide<T>> dk(size), dr(size);
    double worst = 0, bound = 0;
    auto const norms = c.kernel_norms(d);
    for (index_t b = 0; b < batch; ++b) {
      std::vector<wide<T>> dc(size), w(size), dw(size);
      double dc2 = 0, w1 = 0, w2 = 0;
      for (index_t i = 0; i < length; ++i) {
        auto const at = static_cast<std::size_t>(i);
        dc[at] = wide<T>(dy(b, i, d)) * wide<T>(c.gate_out(b, i, d));
        w[at] = c.signal(b, i, d);
        dc2 += static_cast<double>(dc[at] * dc[at]);
        w1 += static_cast<double>(std::abs(w[at]));
        w2 += static_cast<double>(w[at] * w[at]);
      }
      dc2 = std::sqrt(dc2), w2 = std::sqrt(w2);
      bound += (factor + 2 * double(batch) * e) * dc2 * w1;
      for (index_t i = 0; i < length; ++i)
        for (index_t j = 0; j < length; ++j) {
          auto const x = static_cast<std::size_t>(i), y = static_cast<std::size_t>(j);
          dw[y] += c.tap(i, j, d) * dc[x];
          if (i >= j)
            dk[x - y] += dc[x] * w[y];
          else
            dr[y - x - 1] += dc[x] * w[y];
        }
      for (index_t j = 0; j < length; ++j) {
        wide<T> const exact = dw[static_cast<std::size_t>(j)], in = o.gates ? wide<T>(c.pre(b, j, d)) : 1;
        double const dw_bound = factor * norms.one * dc2;
        worst = std::max(worst, off(exact * in, g.u(b, j, d)) / (dw_bound * std::abs(double(in))));
        if (!o.gates) continue;
        worst = std::max(worst, off(exact * wide<T>(c.u(b, j, d)), g.pre(b, j, d)) /
                                    (dw_bound * std::abs(double(c.u(b, j, d)))));
        worst = std::max(worst, off(c.inner(b, j, d) * wide<T>(dy(b, j, d)), g.post(b, j, d)) /
                                    (factor * norms.one * w2 * std::abs(double(dy(b, j, d)))));
      }
    }
    CHECK(worst <= 1);
    auto const added = [&](wide<T> sum, T was, T now) {
      return off(sum + wide<T>(was), now) / (bound + e * std::abs(double(was)));
    };
    worst = 0;
    if (o.kind == reach::circular)  // lag -(l+1) is lag L-1-l
      for (std::size_t l = 0; l + 1 < size; ++l) dk[size - 1 - l] += dr[l];
    for (index_t l = 0; l < c.taps; ++l) {
      auto const at = static_cast<std::size_t>(l);
      double const sums = o.kind == reach::circular ? 0.5 : 1;  // two correlations are added
      worst = std::max(worst, sums * added(dk[at], before.k(0, l, d), g.k(0, l, d)));
      wide<T> const reverse = o.kind == reach::bidirectional && l < length - 1 ? dr[at] : 0;
      worst = std::max(worst, added(reverse, before.k_rev(0, l, d), g.k_rev(0, l, d)));
    }
    auto const at = static_cast<std::size_t>(d);
    worst = std::max(worst, added(o.skip ? dk[0] : 0, before.skip[at], g.skip[at]));
    CHECK(worst <= 1);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("convolution gradients: equal the direct sums at every length", "", TEST_SCALARS) {
  int turn = 0;
  for (index_t length : {1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 64, 65, 100, 127, 128, 160})
    for (index_t channels : {1, 3, 16, 17, 37, 48})
      for (reach kind : {reach::causal, reach::bidirectional, reach::circular}) {
        ++turn;
        check_backward<TestType>(length, channels, 1 + turn % 3,
                                 {kind, static_cast<order>(turn % 3), turn % 2 == 0, turn % 5 < 2,
                                  turn % 7 < 3, turn % 4 == 0 ? 1 + length / 2 : 0});
      }
}

TEMPLATE_TEST_CASE("convolution gradients: long", "", TEST_SCALARS) {
  check_backward<TestType>(500, 17, 2, {reach::bidirectional, order::time_major, true, true});
  check_backward<TestType>(1000, 3, 1, {reach::circular, order::channel_major});
  check_backward<TestType>(1500, 3, 1, {reach::causal, order::time_major, true, true, true});
}

TEMPLATE_TEST_CASE("convolution gradients: any may be absent, without changing the others", "",
                   TEST_SCALARS) {
  using T = TestType;
  convolution_case<T> c(70, 21, 2, {reach::bidirectional, order::time_major, true, true});
  prepared<T> const p(c);
  array<T> const dy(2, 70, 21, order::time_major, 9);
  gradients<T> all(c);
  gradients<T> const untouched = all;
  backward(c, p, dy, all.get(c), 0, cpu::tile_count<T>(21));
  for (int bits = 0; bits < 64; ++bits) {
    gradients<T> some = untouched;
    auto g = some.get(c);
    bool const u = bits & 1, pre = bits & 2, post = bits & 4, k = bits & 8, k_rev = bits & 16,
               skip = bits & 32;
    if (!u) g.u = {};
    if (!pre) g.pre = {};
    if (!post) g.post = {};
    if (!k) g.kernel.causal = {};
    if (!k_rev) g.kernel.anticausal = {};
    if (!skip) g.kernel.skip = nullptr;
    backward(c, p, dy, g, 0, cpu::tile_count<T>(21));
    CHECK(some.post.data == (post ? all : untouched).post.data);
    CHECK(some.k.data == (k ? all : untouched).k.data);
    CHECK(some.k_rev.data == (k_rev ? all : untouched).k_rev.data);
    CHECK(some.skip == (skip ? all : untouched).skip);
    // Without kernel gradients the same sums are formed by another function: other contractions, same bound.
    if (!u) CHECK(some.u.data == untouched.u.data);
    if (!pre) CHECK(some.pre.data == untouched.pre.data);
    if (bits >= 4) {
      if (u) CHECK(some.u.data == all.u.data);
      if (pre) CHECK(some.pre.data == all.pre.data);
    } else {
      double const factor = cpu::rounding_factor<T>(p.plan);
      for (index_t i = 0; i < 70; ++i) {
        double n2 = 0;
        for (index_t j = 0; j < 70; ++j) n2 += std::pow(double(dy(1, j, 20)) * c.gate_out(1, j, 20), 2);
        double const bound = 2 * factor * c.kernel_norms(20).one * std::sqrt(n2);
        if (u)
          CHECK(std::abs(some.u(1, i, 20) - all.u(1, i, 20)) <= bound * std::abs(double(c.pre(1, i, 20))));
        if (pre)
          CHECK(std::abs(some.pre(1, i, 20) - all.pre(1, i, 20)) <= bound * std::abs(double(c.u(1, i, 20))));
      }
    }
  }
}

TEMPLATE_TEST_CASE("convolution gradients: the same bits however the tiles are divided", "", TEST_SCALARS) {
  using T = TestType;
  index_t const channels = 6 * cpu::lanes<T> + 1;
  convolution_case<T> c(100, channels, 2, {reach::bidirectional, order::time_major, true, true});
  prepared<T> const p(c);
  array<T> const dy(2, 100, channels, order::time_major, 9);
  gradients<T> whole(c);
  gradients<T> parts = whole;
  backward(c, p, dy, whole.get(c), 0, 7);
  backward(c, p, dy, parts.get(c), 0, 3);
  backward(c, p, dy, parts.get(c), 3, 1);
  backward(c, p, dy, parts.get(c), 4, 3);
  CHECK(parts.u.data == whole.u.data);
  CHECK(parts.pre.data == whole.pre.data);
  CHECK(parts.post.data == whole.post.data);
  CHECK(parts.k.data == whole.k.data);
  CHECK(parts.k_rev.data == whole.k_rev.data);
  CHECK(parts.skip == whole.skip);
}
