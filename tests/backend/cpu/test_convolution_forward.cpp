// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "../../scalars.hpp"
#include "convolution_case.hpp"

using namespace test;

namespace {

/// Every output of some channels, or `spots` of them, against the direct sum; both bounds of forward.hpp.
template <class T> void check_forward(index_t length, index_t channels, options const& o, index_t spots = 0) {
  CAPTURE(length, channels, int(o.kind), int(o.layout), o.skip, o.gates, o.kernel_time_major, o.taps,
          sizeof(T));
  convolution_case<T> c(length, channels, 2, o);
  std::vector<T> const before = c.y.data;
  prepared<T> const p(c);
  p.forward(c);
  double const factor = cpu::rounding_factor<T>(p.plan);
  for (index_t b = 0; b < c.batch; ++b)
    for (index_t d : some_channels(channels)) {
      auto const k = c.kernel_norms(d), v = c.signal_norms(b, d);
      double worst = 0, squares = 0;
      for (index_t i = 0; i < length; i += spots == 0 ? 1 : std::max<index_t>(1, length / spots)) {
        double const gate = c.gate_out(b, i, d);
        double const error =
            static_cast<double>(std::abs(c.inner(b, i, d) * wide<T>(gate) - wide<T>(c.y(b, i, d))));
        if (gate == 0) continue;
        worst = std::max(worst, error / std::abs(gate));
        squares += error * error / (gate * gate);
      }
      CHECK(worst <= factor * k.one * v.two);
      CHECK(std::sqrt(squares / double(p.plan.points)) <= factor * k.two * v.two);
    }
  // Nothing between the rows was written.
  std::vector<T> inside = c.y.data;
  for (index_t b = 0; b < c.batch; ++b)
    for (index_t i = 0; i < length; ++i)
      for (index_t d = 0; d < channels; ++d) {
        auto const at = static_cast<std::size_t>(b * c.y.batch + i * c.y.time + d * c.y.channel);
        inside[at] = before[at];
      }
  CHECK(inside == before);
}

}  // namespace

TEST_CASE("transform: points and tables") {
  for (index_t length :
       {1, 2, 15, 16, 17, 24, 25, 31, 33, 40, 41, 48, 49, 1000, 1025, 10007, 32768, 100000}) {
    auto const plan = cpu::make_transform_plan(length);
    index_t smallest = std::max<index_t>(length, 16);
    for (;; ++smallest) {
      index_t odd = smallest;
      while (odd % 2 == 0) odd /= 2;
      if (smallest % 8 == 0 && (odd == 1 || odd == 3 || odd == 5)) break;
    }
    CHECK(plan.points == smallest);
    buffer<double> table(plan.twiddles);
    cpu::fill_twiddles(plan, table.get());
    CHECK(table.intact());
    double worst = 0;
    for (index_t i = 0; i < plan.twiddles; i += 2)
      worst = std::max(worst, std::abs(std::hypot(table.get()[i], table.get()[i + 1]) - 1));
    CHECK(worst <= 4 * 0x1p-53);
  }
  CHECK(cpu::make_transform_plan(4096) == cpu::make_transform_plan(4096));
  CHECK_THROWS_WITH(cpu::make_transform_plan(0), contains("length"));
  CHECK_THROWS_AS(cpu::make_transform_plan(-3), smx::precondition_error);
}

TEMPLATE_TEST_CASE("convolution: equals the direct sum at every length", "", TEST_SCALARS) {
  int turn = 0;
  for (index_t length :
       {1, 2, 3, 5, 7, 8, 15, 16, 17, 24, 31, 33, 40, 64, 65, 80, 100, 127, 128, 160, 250, 500})
    for (index_t channels : {1, 3, 16, 17, 37, 48})
      for (reach kind : {reach::causal, reach::bidirectional, reach::circular}) {
        // The other options walk through all combinations as the loops go on.
        ++turn;
        check_forward<TestType>(length, channels,
                                {kind, static_cast<order>(turn % 3), turn % 2 == 0, turn % 5 < 2,
                                 turn % 7 < 3, turn % 4 == 0 ? 1 + length / 2 : 0});
      }
}

TEMPLATE_TEST_CASE("convolution: all options", "", TEST_SCALARS) {
  for (int bits = 0; bits < 72; ++bits)
    check_forward<TestType>(45, 37,
                            {static_cast<reach>(bits % 3), static_cast<order>(bits / 3 % 3),
                             (bits / 9 & 1) != 0, (bits / 9 & 2) != 0, (bits / 9 & 4) != 0, 0});
  for (index_t taps : {1, 2, 44, 45})
    for (reach kind : {reach::causal, reach::bidirectional, reach::circular})
      check_forward<TestType>(45, 18, {kind, order::time_major, true, false, false, taps});
}

TEMPLATE_TEST_CASE("convolution: long", "", TEST_SCALARS) {
  check_forward<TestType>(1000, 17, {reach::bidirectional, order::time_major, true, true});
  check_forward<TestType>(1500, 3, {reach::circular, order::channel_major});
  check_forward<TestType>(10007, 3, {reach::bidirectional, order::channel_major, true, true}, 40);
  check_forward<TestType>(32768, 2, {reach::causal, order::time_major, true}, 20);
}

TEMPLATE_TEST_CASE("convolution: large outputs are written past the caches where they may", "",
                   TEST_SCALARS) {
  using T = TestType;
  for (bool channel_major : {false, true})
    for (index_t offset : {0, 1}) {  // from a vector boundary, and not
      index_t const length = 1024, channels = cpu::past_cache_bytes / length / index_t(sizeof(T)) / 2;
      convolution_case<T> c(length, channels, 1, {reach::causal, order::time_major});
      prepared<T> const p(c);
      index_t const time = channel_major ? 1 : channels, channel = channel_major ? length : 1;
      std::vector<T> const u = normal_numbers<T>(2 * length * channels, 11);
      buffer<T> y(2 * length * channels + 1), small(length * channels),
          scratch(cpu::forward_scratch<T>(p.plan));
      index_t const tiles = cpu::tile_count<T>(channels), item = length * channels;
      cpu::convolution_forward<T>(p.plan, p.twiddles.get(), p.spectrum.get(), 2, channels,
                                  {u.data(), item, time, channel}, {}, {},
                                  {y.get() + offset, item, time, channel}, 0, tiles, scratch.get());
      for (index_t b = 0; b < 2; ++b) {
        cpu::convolution_forward<T>(p.plan, p.twiddles.get(), p.spectrum.get(), 1, channels,
                                    {u.data() + b * item, item, time, channel}, {}, {},
                                    {small.get(), item, time, channel}, 0, tiles, scratch.get());
        CHECK(std::equal(small.get(), small.get() + item, y.get() + offset + b * item));
      }
      CHECK(y.intact());
    }
}

TEMPLATE_TEST_CASE("convolution: in place, and the same bits however the tiles are divided", "",
                   TEST_SCALARS) {
  for (order layout : {order::time_major, order::channel_major}) {
    convolution_case<TestType> c(100, 6 * cpu::lanes<TestType> + 1, 2,
                                 {reach::bidirectional, layout, true, true});
    prepared<TestType> const p(c);
    p.forward(c);
    auto const whole = c.y.data;
    for (index_t t = 0; t < 7; ++t) p.forward(c, t, 1);
    CHECK(c.y.data == whole);
    p.forward(c, 0, 3);
    p.forward(c, 3, 4);
    CHECK(c.y.data == whole);
    array<TestType> both = c.u;
    buffer<TestType> scratch(cpu::forward_scratch<TestType>(p.plan));
    cpu::convolution_forward<TestType>(p.plan, p.twiddles.get(), p.spectrum.get(), c.batch, c.channels,
                                       std::as_const(both).get(), c.gate(c.pre), c.gate(c.post), both.get(),
                                       0, 7, scratch.get());
    bool same = true;
    for (index_t b = 0; b < 2; ++b)
      for (index_t i = 0; i < c.length; ++i)
        for (index_t d = 0; d < c.channels; ++d) same &= both(b, i, d) == c.y(b, i, d);
    CHECK(same);
  }
}

TEMPLATE_TEST_CASE("convolution: a NaN stays in its channel", "", TEST_SCALARS) {
  for (order layout : {order::time_major, order::channel_major}) {
    convolution_case<TestType> c(77, 37, 1, {reach::causal, layout});
    prepared<TestType> const p(c);
    p.forward(c);
    auto const clean = c.y;
    c.u(0, 50, 18) = std::numeric_limits<TestType>::quiet_NaN();
    p.forward(c);
    bool same = true;
    for (index_t i = 0; i < c.length; ++i)
      for (index_t d = 0; d < c.channels; ++d) same &= d == 18 || c.y(0, i, d) == clean(0, i, d);
    CHECK(same);
    CHECK(std::isnan(c.y(0, 76, 18)));
  }
}

TEMPLATE_TEST_CASE("convolution: the future leaves no more than the bound in the past", "", TEST_SCALARS) {
  convolution_case<TestType> c(300, 5, 1, {reach::causal, order::time_major});
  prepared<TestType> const p(c);
  for (index_t i = 150; i < 300; ++i)
    for (index_t d = 0; d < 5; ++d) c.u(0, i, d) *= TestType(1000);
  p.forward(c);
  for (index_t d = 0; d < 5; ++d) {
    double const bound =
        cpu::rounding_factor<TestType>(p.plan) * c.kernel_norms(d).one * c.signal_norms(0, d).two;
    for (index_t i = 0; i < 150; ++i)
      CHECK(std::abs(double(c.inner(0, i, d)) - double(c.y(0, i, d))) <= bound);
  }
}
