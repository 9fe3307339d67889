// SPDX-License-Identifier: Apache-2.0
/// \file  Every law for a mixer on the CUDA backend: as it is, and on recipes alone.
#pragma once

#include <smx/testing/suite.hpp>
#include <smx/testing/untuned.hpp>

#include "tests/cuda/device.cuh"
#include "tests/cuda/harness.hpp"

namespace test {

/// Products of other shapes may be summed in another order: cuBLAS chooses.
inline constexpr smx::testing::backend_traits on_cuda{.may_allocate = true, .shape_changes_bits = true};

template <class M> void conforms(reporter& report) {
  using smx::testing::backend;
  auto const backends = std::tuple{backend{"cuda", [] { return smx::cuda(); }, on_cuda}};
  smx::testing::check_mixer<M>(
      backends, nullptr,
      [&](std::string const& what, smx::testing::verdict const& found) { report(what, found); });
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
}

}  // namespace test
