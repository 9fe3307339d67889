// SPDX-License-Identifier: Apache-2.0
/// \file  The backends that every mixer is held against: one line each.
#pragma once

#include <smx/backend/cpu.hpp>
#include <smx/backend/traced.hpp>
#include <smx/testing/conformance.hpp>
#include <smx/testing/untuned.hpp>

#include "tests/conformance/allocations.hpp"

namespace test {

template <class W>
concept Workspace = std::same_as<W, smx::workspace<smx::host_space>>;

inline auto backends() {
  using namespace smx;
  using smx::testing::backend;
  using smx::testing::untuned;
  return std::tuple {
    backend{"reference", [](Workspace auto... ws) { return reference_backend(std::move(ws)...); }},
        backend{"cpu, serial",
                [](Workspace auto... ws) { return cpu_backend<serial_pool>(std::move(ws)...); }},
        backend{"cpu, 2 threads", [](int threads = 2) { return cpu(threads); }},
#if !defined(__clang__)  // clang is asked about its code for the kernels; g++ also about what wraps them
        backend{"cpu, 3 threads", [] { return cpu(3); }},
        backend{"traced cpu", [] { return traced<cpu>(2); }, {.may_allocate = true}},
        backend{"cpu, recipes",
                [](Workspace auto... ws) { return untuned<cpu_backend<serial_pool>>(std::move(ws)...); }},
#endif
  };
}

/// Every law for mixer M on every backend.
template <class M> void conforms() { smx::testing::conforms<M>(backends(), allocations); }

}  // namespace test
