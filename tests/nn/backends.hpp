// SPDX-License-Identifier: Apache-2.0
/// \file  What the tests of nn share: the backends that a program runs on, and host arrays of random numbers.
#pragma once

#include <cstdint>
#include <vector>

#include <smx/backend/cpu.hpp>
#include <smx/backend/plan.hpp>
#include <smx/backend/reference.hpp>
#include <smx/backend/traced.hpp>
#include <smx/core/rng.hpp>
#include <smx/core/tensor.hpp>

namespace test {

/// f(backend) on every backend of host memory.
template <class F> void on_host_backends(F const& f) {
  {
    smx::reference_backend be;
    f(be);
  }
  for (int threads : {1, 2, 3}) {
    smx::cpu be(threads);
    f(be);
  }
  smx::traced<smx::cpu> be(2);
  f(be);
}

/// The workspace that `run(backend, views)` takes when planned for the CPU with that many threads.
template <class F> std::size_t planned_workspace(smx::cpu const& be, F const& run) {
  smx::cpu::planner plan(be.how());
  {
    auto frame = plan.scope();
    run(plan);
  }
  return plan.workspace_bytes();
}

template <class T, int R>
smx::tensor<T, R> normal(smx::extents<R> const& e, std::uint64_t seed, double scale = 1) {
  smx::tensor<T, R> t(e);
  smx::random_stream const from{seed, 0};
  for (smx::index_t i = 0; i < t.size(); ++i)
    t.data()[i] = static_cast<T>(scale * from.normal(static_cast<std::uint64_t>(i)));
  return t;
}

/// Numbers below `end`.
template <int R>
smx::tensor<smx::index_t, R> ids_below(smx::index_t end, smx::extents<R> const& e, std::uint64_t seed) {
  smx::tensor<smx::index_t, R> t(e);
  smx::random_stream const from{seed, 1};
  for (smx::index_t i = 0; i < t.size(); ++i)
    t.data()[i] =
        static_cast<smx::index_t>(from.uniform(static_cast<std::uint64_t>(i)) * static_cast<double>(end));
  return t;
}

template <class T, int R> std::vector<T> values(smx::tensor<T, R> const& t) {
  return {t.data(), t.data() + t.size()};
}

/// Views without memory, for planners.
template <class T, int R> smx::view<T, R, smx::meta_space> shape(smx::extents<R> const& e) {
  return {nullptr, e};
}

}  // namespace test
