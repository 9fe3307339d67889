// SPDX-License-Identifier: Apache-2.0
#include <smx/backend/cpu.hpp>
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
