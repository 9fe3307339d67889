// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include <smx/backend/cpu/convolution/exact.hpp>
#include <smx/backend/cpu/convolution/step.hpp>

#include "../../scalars.hpp"
#include "convolution_case.hpp"

using namespace test;

namespace {

/// The kernel of a case, prepared for `capacity` positions.
template <class T> struct online {
  cpu::online_plan plan;
  buffer<T> kernel, scratch;

  online(convolution_case<T> const& c, index_t capacity)
      : plan(cpu::make_online_plan(capacity, c.taps)),
        kernel(cpu::online_kernel_size<T>(plan, c.channels)),
        scratch(cpu::online_scratch<T>(plan)) {
    cpu::fill_online_twiddles<T>(plan, c.channels, kernel.get());
    cpu::prepare_online_kernel<T>(plan, c.kernel(), c.channels, 0, cpu::tile_count<T>(c.channels),
                                  kernel.get(), scratch.get());
    CHECK(kernel.intact());
    CHECK(scratch.intact());
  }
  void forward(convolution_case<T>& c) const {
    buffer<T> memory(cpu::exact_scratch<T>(plan, c.length));
    cpu::convolution_forward_exact<T>(plan, kernel.get(), c.length, c.batch, c.channels,
                                      std::as_const(c.u).get(), c.gate(c.pre), c.gate(c.post), c.y.get(), 0,
                                      cpu::tile_count<T>(c.channels), memory.get());
    CHECK(memory.intact());
  }
  /// Positions first .. last-1 of the case as positions 0 .. of the state.
  void steps(convolution_case<T>& c, index_t first, index_t last, cpu::online_state<T> state) const {
    auto const at = [](auto s, index_t n) {
      if (s.ptr != nullptr) s.ptr += n * s.time;
      return s;
    };
    index_t const tiles = cpu::tile_count<T>(c.channels);
    for (index_t n = first; n < last; ++n)
      for (index_t t = 0; t < tiles; t += 2)  // two calls are as good as one
        cpu::online_step<T>(plan, kernel.get(), n - first, c.batch, c.channels,
                            at(std::as_const(c.u).get(), n), at(c.gate(c.pre), n), at(c.gate(c.post), n),
                            at(c.y.get(), n), t, std::min<index_t>(2, tiles - t), state, scratch.get());
    CHECK(scratch.intact());
  }
  /// exact.hpp's bound.
  double factor() const {
    double const e = sizeof(T) == 4 ? 0x1p-24 : 0x1p-53;
    return (20 * std::log2(double(plan.largest())) * std::sqrt(std::max(1, plan.levels)) + 32) * e;
  }
};

template <class T>
void check_outputs(convolution_case<T> const& c, index_t first, double factor, index_t spots = 0) {
  for (index_t b = 0; b < c.batch; ++b)
    for (index_t d : some_channels(c.channels)) {
      double const bound = factor * c.kernel_norms(d).one * c.signal_norms(b, d).two;
      double worst = 0;
      for (index_t i = first; i < c.length; i += spots == 0 ? 1 : std::max<index_t>(1, c.length / spots)) {
        double const gate = c.gate_out(b, i, d);
        worst = std::max(
            worst, static_cast<double>(std::abs(c.inner(b, i, d) * wide<T>(gate) - wide<T>(c.y(b, i, d)))) /
                       std::abs(gate));
      }
      CHECK(worst <= bound);
    }
}

template <class T> void check_exact(index_t length, index_t channels, options const& o, index_t spots = 0) {
  CAPTURE(length, channels, int(o.layout), o.skip, o.gates, o.kernel_time_major, o.taps, sizeof(T));
  convolution_case<T> c(length, channels, 2, o);
  online<T> const p(c, length);
  p.forward(c);
  check_outputs(c, 0, p.factor(), spots);
}

/// `prefix` positions at once, the others one by one, against the direct sum.
template <class T>
void check_steps(index_t prefix, index_t length, index_t channels, options const& o, index_t spots = 0) {
  CAPTURE(prefix, length, channels, int(o.layout), o.skip, o.gates, o.kernel_time_major, o.taps, sizeof(T));
  convolution_case<T> c(length, channels, 2, o);
  index_t const budget = length - prefix;
  online<T> const p(c, budget);
  CHECK(p.plan.rows() <= budget);
  index_t const pitch = (p.plan.rows() + 2) * channels;  // items may lie apart
  buffer<T> cells(c.batch * pitch);
  cpu::online_state<T> const state{cells.get(), pitch};
  index_t const tiles = cpu::tile_count<T>(channels);
  if (prefix > 0) {
    buffer<T> memory(cpu::prefill_scratch<T>(p.plan, prefix));
    cpu::online_prefill<T>(p.plan, c.kernel(), prefix, c.batch, channels, std::as_const(c.u).get(),
                           c.gate(c.pre), 0, tiles, state, memory.get());
    CHECK(memory.intact());
  } else {
    cpu::online_reset(p.plan, c.batch, channels, 0, tiles, state);
  }
  p.steps(c, prefix, length, state);
  CHECK(cells.intact());
  // The prefill adds one product of at most 4/3 max(prefix, budget) points.
  double const prefill = cpu::rounding_factor<T>(cpu::make_transform_plan(length));
  check_outputs(c, prefix, p.factor() + prefill, spots);
}

}  // namespace

TEST_CASE("online plan: levels reach over the taps or the capacity, and no further") {
  CHECK(cpu::make_online_plan(1, 1).rows() == 1);
  CHECK(cpu::make_online_plan(32, 1000).levels == 0);
  CHECK(cpu::make_online_plan(33, 1000).levels == 1);
  CHECK(cpu::make_online_plan(1000, 33).levels == 1);
  CHECK(cpu::make_online_plan(1000, 34).levels == 2);
  CHECK(cpu::make_online_plan(1000, 1000).largest() == 512);
  CHECK(cpu::make_online_plan(1000, 1000).rows() == 1000);
  CHECK(cpu::make_online_plan(100000, 100).rows() == 256);
  CHECK_THROWS_WITH(cpu::make_online_plan(0, 1), contains("capacity"));
  CHECK_THROWS_WITH(cpu::make_online_plan(1, 0), contains("taps"));
}

TEMPLATE_TEST_CASE("exact convolution: equals the direct sum", "", TEST_SCALARS) {
  int turn = 0;
  for (index_t length : {1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 250, 500})
    for (index_t channels : {1, 3, 16, 17, 37, 48}) {
      ++turn;
      index_t const taps[] = {0, 0, 1, 1 + length / 3, std::min<index_t>(length, 34)};
      check_exact<TestType>(length, channels,
                            {reach::causal, static_cast<order>(turn % 3), turn % 2 == 0, turn % 4 < 2,
                             turn % 7 < 3, taps[turn % 5]});
    }
  check_exact<TestType>(1000, 17, {reach::causal, order::time_major, true, true});
  check_exact<TestType>(1500, 3, {reach::causal, order::channel_major, true, false, false, 700});
  check_exact<TestType>(10007, 2, {reach::causal, order::time_major, true}, 40);
  check_exact<TestType>(32768, 1, {reach::causal, order::time_major, true}, 20);
}

TEMPLATE_TEST_CASE("exact convolution: the future changes no bit of the past", "", TEST_SCALARS) {
  using T = TestType;
  for (index_t taps : {300, 40}) {
    convolution_case<T> c(300, 18, 1, {reach::causal, order::time_major, true, true, false, taps});
    online<T> const p(c, 300);
    p.forward(c);
    array<T> const clean = c.y, u = c.u;
    for (index_t from : {1, 31, 32, 33, 64, 127, 128, 200, 255, 256, 299})
      for (T v : {T(1e30), std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
        c.u = u;
        for (index_t i = from; i < 300; ++i)
          for (index_t d = 0; d < 18; ++d) c.u(0, i, d) = v;
        p.forward(c);
        bool same = true;
        for (index_t i = 0; i < from; ++i)
          for (index_t d = 0; d < 18; ++d) same &= c.y(0, i, d) == clean(0, i, d);
        CHECK(same);
      }
  }
}

TEMPLATE_TEST_CASE("exact convolution: every allowed past position changes the output", "", TEST_SCALARS) {
  using T = TestType;
  convolution_case<T> c(200, 1, 1, {reach::causal, order::time_major});
  online<T> const p(c, 200);
  p.forward(c);
  array<T> const clean = c.y;
  for (index_t j = 0; j < 200; ++j) {
    T const was = c.u(0, j, 0);
    c.u(0, j, 0) = was + T(1000);
    p.forward(c);
    for (index_t i = j; i < 200; ++i) {
      double const moved = double(c.y(0, i, 0)) - double(clean(0, i, 0)), tap = double(c.k(0, i - j, 0));
      double const bound = 2 * p.factor() * c.kernel_norms(0).one * c.signal_norms(0, 0).two;
      CHECK(std::abs(moved - 1000 * tap) <= bound + 1e-3 * std::abs(tap) * 1000);
    }
    c.u(0, j, 0) = was;
  }
}

TEMPLATE_TEST_CASE("convolution steps: equal the direct sum", "", TEST_SCALARS) {
  int turn = 0;
  for (index_t length : {1, 2, 5, 31, 32, 33, 64, 65, 100, 129, 300})
    for (index_t channels : {1, 3, 16, 17, 37})
      for (index_t prefix : {index_t(0), index_t(1), length / 3, length - 1}) {
        if (prefix >= length) continue;
        ++turn;
        index_t const taps[] = {0, 0, 1, 1 + length / 3, std::min<index_t>(length, 34)};
        check_steps<TestType>(prefix, length, channels,
                              {reach::causal, static_cast<order>(turn % 3), turn % 2 == 0, turn % 4 < 2,
                               turn % 7 < 3, taps[turn % 5]});
      }
  check_steps<TestType>(1200, 1500, 17, {reach::causal, order::time_major, true, true}, 200);
  check_steps<TestType>(300, 1500, 3, {reach::causal, order::time_major, true, false, false, 90}, 200);
}

TEMPLATE_TEST_CASE("convolution steps: the same bits as the exact evaluation", "", TEST_SCALARS) {
  for (index_t taps : {200, 40}) {
    convolution_case<TestType> c(200, 19, 2, {reach::causal, order::time_major, true, true, false, taps});
    online<TestType> const p(c, 200);
    p.forward(c);
    auto const expected = c.y.data;
    buffer<TestType> cells(2 * p.plan.rows() * 19);
    cpu::online_state<TestType> const state{cells.get(), p.plan.rows() * 19};
    cpu::online_reset(p.plan, 2, 19, 0, cpu::tile_count<TestType>(19), state);
    p.steps(c, 0, 200, state);
    CHECK(c.y.data == expected);
  }
}
