// SPDX-License-Identifier: Apache-2.0
#include <smx/backend/cpu.hpp>
#include <smx/mixers/long_convolution.hpp>
#include <smx/mixers/run.hpp>

#include "tests/catch.hpp"

TEST_CASE("after a prefill a convolution's state grows with the tokens to come, not with the prompt",
          "[mixers][long_convolution]") {
  using namespace smx;
  constexpr index_t channels = 16, to_come = 64;
  cpu be(1);
  auto const numbers = [&](index_t prompt) {
    long_convolution<float> const m{.channels = channels, .taps = prompt + to_come};
    auto const w = initialize(be, m, 1);
    auto const x = random_normal<float>(be, {1, 1, prompt, channels}, 2);  // (B,H,L,D)
    inputs_in<long_convolution<float>, cpu> in{};
    in.x = x.cview();
    tensor<float, 4> y(x.extents());
    auto state = m.make_state(be, w.read(), in, prompt + to_come);
    m.prefill(be, w.read(), in, state, y.view());
    return static_cast<index_t>(state.bytes() / sizeof(float)) / channels;
  };
  index_t const after_many = numbers(4096);
  CHECK(after_many == numbers(512));
  CHECK(after_many <= 4 * to_come);
}
