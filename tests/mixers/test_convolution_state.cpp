// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include <smx/backend/cpu.hpp>
#include <smx/backend/reference.hpp>
#include <smx/backend/traced.hpp>
#include <smx/mixers/long_convolution.hpp>
#include <smx/mixers/run.hpp>

#include "tests/catch.hpp"

namespace {

using namespace smx;
using mixer = long_convolution<float>;
constexpr index_t channels = 16, to_come = 64;

/// A prompt, then tokens; with or without trim between them.
struct run {
  cpu be{1};
  mixer m;
  parameters<mixer, cpu> w;
  tensor<float, 4> x, y;  // (B,H,L,D)
  state_of<mixer, cpu> state;

  run(index_t prompt, bool trims)
      : m{.channels = channels, .taps = prompt + to_come},
        w(initialize(be, m, 1)),
        x(random_normal<float>(be, {1, 2, prompt + to_come, channels}, 2)),
        y(x.extents()),
        state(m.make_state(be, w.read(), rows(0, prompt), prompt + to_come)) {
    m.prefill(be, w.read(), rows(0, prompt), state, slice(y.view(), 2, 0, prompt));
    if (trims) m.trim(be, w.read(), state);
  }
  inputs_in<mixer, cpu> rows(index_t first, index_t count) const {
    inputs_in<mixer, cpu> in{};
    in.x = slice(x.cview(), 2, first, count);
    return in;
  }
  void step_to_the_end() {
    for (index_t t = state.position; t < x.extents()[2]; ++t)
      m.step(be, w.read(), rows(t, 1), state, slice(y.view(), 2, t, 1));
  }
  index_t numbers() const { return static_cast<index_t>(state.bytes() / sizeof(float)) / channels; }
};

}  // namespace

TEST_CASE("a trimmed state of a convolution grows with the tokens to come, not with the prompt",
          "[mixers][long_convolution]") {
  index_t const after_many = run(4096, true).numbers();
  CHECK(after_many == run(512, true).numbers());
  CHECK(after_many <= 4 * to_come * 2);  // two heads
}

TEST_CASE("trim changes no bit of what follows", "[mixers][long_convolution]") {
  run trimmed(300, true), whole(300, false);
  CHECK(trimmed.state.bytes() < whole.state.bytes());
  trimmed.step_to_the_end();
  whole.step_to_the_end();
  bool same = true;
  for (index_t i = 0; i < whole.y.size(); ++i) same = same && trimmed.y.data()[i] == whole.y.data()[i];
  CHECK(same);
}

TEST_CASE("trim is for the state after its first prefill", "[mixers][long_convolution]") {
  run r(100, false);
  r.m.step(r.be, r.w.read(), r.rows(100, 1), r.state, slice(r.y.view(), 2, 100, 1));
  CHECK_THROWS_WITH(r.m.trim(r.be, r.w.read(), r.state), test::contains("long_convolution: state"));
}

TEST_CASE("a token of a causal convolution costs O(log^2 L), amortised", "[mixers][long_convolution]") {
  // a level of s = 32 2^l points: one transform of 10 s log2 s flops every 2 s positions; the levels below L
  // add up to 5 (5 + ... + (log2 L - 1)) a position
  auto const flops_a_token = [](index_t length, bool as_kernel) {
    mixer const m{.channels = 1, .taps = length};
    auto const run = [&](auto& be) {
      auto const w = initialize(be, m, 1);
      auto const x = random_normal<float>(be, {1, 1, 1, 1}, 2);
      tensor<float, 4> y(x.extents());
      auto state = m.make_state(be, w.read(), {x.cview(), {}, {}}, length);
      be.clear();
      for (index_t t = 0; t < length; ++t) m.step(be, w.read(), {x.cview(), {}, {}}, state, y.view());
      double flops = 0;
      for (auto const& e : be.events())
        if (e.kind == trace_kind::work) flops += e.flops;
      return flops / static_cast<double>(length);
    };
    if (as_kernel) {
      traced<cpu> be(1);
      return run(be);
    }
    traced<reference_backend> be;
    return run(be);
  };
  for (index_t const length : {1024, 4096, 16384}) {
    double const levels = std::log2(static_cast<double>(length));
    CHECK(flops_a_token(length, true) <= 33 + 5 * (levels * (levels - 1) / 2 - 10));
  }
  CHECK(flops_a_token(1024, false) > 1024);  // the plain path, a product and a sum for each past position
}
