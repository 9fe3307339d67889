// SPDX-License-Identifier: Apache-2.0
/// \file  The backends that layers are held against: layers are programs over mixers and primitives, which
/// tests/conformance holds to more of them.
#pragma once

#include <smx/backend/cpu.hpp>
#include <smx/testing/conformance.hpp>

#include "tests/nn/graph.hpp"

namespace test {

/// One thread in the caller's block, or as many as a law asks for.
struct make_cpu {
  smx::cpu operator()(int threads = 1) const { return smx::cpu(threads); }
  smx::cpu operator()(smx::workspace<smx::host_space> ws) const {
    return smx::cpu(std::move(ws), smx::thread_pool(1));
  }
};
struct make_reference {
  smx::reference_backend operator()() const { return {}; }
  smx::reference_backend operator()(smx::workspace<smx::host_space> ws) const {
    return smx::reference_backend(std::move(ws));
  }
};

template <class M> void layer_conforms() {
  smx::testing::conforms<M>(std::tuple{smx::testing::backend{"reference", make_reference{}},
                                       smx::testing::backend{"cpu", make_cpu{}}});
}

}  // namespace test
