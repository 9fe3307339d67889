// SPDX-License-Identifier: Apache-2.0
/// \file  The backends that every mixer is held against: one line each.
#pragma once

#include <smx/backend/cpu.hpp>
#include <smx/backend/traced.hpp>
#include <smx/smx.hpp>
#include <smx/testing/conformance.hpp>
#include <smx/testing/untuned.hpp>

#include "tests/conformance/allocations.hpp"

namespace test {

template <class W>
concept Workspace = std::same_as<W, smx::workspace<smx::host_space>>;

#if defined(TEST_CONFORMANCE_SCALAR)
template <class M> inline constexpr bool selected = std::same_as<typename M::scalar, TEST_CONFORMANCE_SCALAR>;
#else
template <class> inline constexpr bool selected = true;
#endif

/// Mixers that are run under a trace too: between them they call every primitive and every tuned kernel.
template <class> inline constexpr bool is_traced = false;
template <> inline constexpr bool is_traced<smx::attention<double>> = true;
template <> inline constexpr bool is_traced<smx::long_convolution<double>> = true;
template <> inline constexpr bool is_traced<smx::masked_monarch<double>> = true;
template <> inline constexpr bool is_traced<smx::monarch<double>> = true;
template <> inline constexpr bool is_traced<smx::ssd<double>> = true;

/// One thread in the caller's block, or as many as a law asks for.
struct make_cpu {
  smx::cpu operator()(int threads = 1) const { return smx::cpu(threads); }
  smx::cpu operator()(smx::workspace<smx::host_space> ws) const {
    return smx::cpu(std::move(ws), smx::thread_pool(1));
  }
};

/// All of them in double. In float, whose kernels are other code, the CPU backend: the reference sums in
/// double whatever it is given, and recipes are the same calls.
template <class M> auto backends() {
  using namespace smx;
  using smx::testing::backend;
  using smx::testing::untuned;
  if constexpr (std::same_as<typename M::scalar, float>) {
    return std::tuple{backend{"cpu", make_cpu{}}};
  } else {
    auto const all = std::tuple{
        backend{"reference", [](Workspace auto... ws) { return reference_backend(std::move(ws)...); }},
        backend{"cpu, 2 threads", [](int threads = 2) { return cpu(threads); }},
        backend{"cpu, serial, recipes",
                [](Workspace auto... ws) { return untuned<cpu_backend<serial_pool>>(std::move(ws)...); }},
    };
    if constexpr (is_traced<M>)
      return std::tuple_cat(all, std::tuple{backend{"traced cpu",
                                                    [] { return traced<cpu>(2); },
                                                    {.may_allocate = true, .like_another = true}}});
    else
      return all;
  }
}

/// Every law for mixer M on every backend, if this build tests mixers of its type.
template <class M> void conforms() {
  if constexpr (selected<M>)
    smx::testing::conforms<M>(backends<M>(), allocations);
  else
    SUCCEED("not a type of this build");
}

}  // namespace test
