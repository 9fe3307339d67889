// SPDX-License-Identifier: Apache-2.0
/// \file  The laws that say most about a mixer on a backend, for the examples that are small: what every
/// build runs. All laws for all examples: conformance.cuh.
#pragma once

#include <smx/testing/laws/forward.hpp>
#include <smx/testing/laws/gradients.hpp>
#include <smx/testing/laws/streaming.hpp>

#include "tests/cuda/capture.cuh"
#include "tests/cuda/device.cuh"
#include "tests/cuda/harness.hpp"

namespace test {

/// forward against the oracle, gradients against the reference, streaming against forward, launches against
/// the plan; on a GPU also in a graph.
template <class M> void in_short(reporter& report) {
  using namespace smx::testing;
  int number = 0;
  for (example<M> const& e : cases<M>::examples()) {
    ++number;
    if (!e.small) continue;
    problem<M> const p(e);
    auto const be = runner<M>::in_short_on([] { return smx::cuda(); });
    auto const law = [&](char const* name, auto const& f) {
      report(text("%s, example %d: %s", M::about.name.data(), number, name), judged(f));
    };
    law("forward equals the oracle", [&] { return laws::forward_equals_oracle(be, p); });
    law("gradients equal those of the reference", [&] { return laws::gradients_equal_reference(be, p); });
    law("streaming equals forward", [&] { return laws::streaming_equals_forward(be, p); });
    law("launches are planned", [&] { return launches_are_planned(p); });
    law("streaming is planned", [&] { return streaming_is_planned(p); });
#if defined(__CUDACC__)  // the emulator has no graphs
    law("a graph holds it", [&] { return is_captured(p); });
#endif
  }
}

}  // namespace test
