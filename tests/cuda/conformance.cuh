// SPDX-License-Identifier: Apache-2.0
/// \file  Every law for a mixer on the CUDA backend: as it is, and on recipes alone.
#pragma once

#include <smx/testing/suite.hpp>
#include <smx/testing/untuned.hpp>

#include "tests/cuda/capture.cuh"
#include "tests/cuda/device.cuh"
#include "tests/cuda/harness.hpp"

namespace test {

/// Products of other shapes may be summed in another order: cuBLAS chooses.
inline constexpr smx::testing::backend_traits on_cuda{.may_allocate = true, .shape_changes_bits = true};

/// Of every third example, so that small and large ones are among them.
template <class M> void launches(reporter& report) {
  auto const examples = smx::testing::cases<M>::examples();
  for (std::size_t i = examples.size() > 1 ? 1 : 0; i < examples.size(); i += 3) {
    smx::testing::problem<M> const p(examples[i]);
    std::string const what = smx::testing::described(p) + " on cuda: ";
    report(what + "launches are planned", smx::testing::judged([&] { return launches_are_planned(p); }));
    report(what + "streaming is planned", smx::testing::judged([&] { return streaming_is_planned(p); }));
#if defined(__CUDACC__)  // the emulator has no graphs
    report(what + "a graph holds it", smx::testing::judged([&] { return is_captured(p); }));
#endif
  }
}

template <class M> void conforms(reporter& report) {
  using smx::testing::backend;
  auto const backends = std::tuple{backend{"cuda", [] { return smx::cuda(); }, on_cuda}};
  smx::testing::check_mixer<M>(
      backends, nullptr,
      [&](std::string const& what, smx::testing::verdict const& found) { report(what, found); });
  launches<M>(report);
}

/// For mixers that cuda has kernels for.
template <class M> void conforms_with_recipes(reporter& report) {
  using smx::testing::backend;
  auto const backends =
      std::tuple{backend{"cuda", [] { return smx::cuda(); }, on_cuda},
                 backend{"cuda, recipes", [] { return smx::testing::untuned<smx::cuda>(); }, on_cuda}};
  smx::testing::check_mixer<M>(
      backends, nullptr,
      [&](std::string const& what, smx::testing::verdict const& found) { report(what, found); });
  launches<M>(report);
}

}  // namespace test
