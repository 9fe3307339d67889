// SPDX-License-Identifier: Apache-2.0
/// \file  What a CUDA graph can hold: forward and training of a mixer, once their workspace is there,
/// allocate nothing, wait for nothing and use no other stream; a replay gives the bits of the calls
/// themselves.
#pragma once

#include <smx/mixers/planning.hpp>
#include <smx/testing/problem.hpp>

#include "tests/cuda/device.cuh"

namespace test {

/// A mixer's arguments on the device, random.
template <class M> struct on_device {
  using T = typename M::scalar;
  smx::parameters<M, smx::cuda> w, dw;
  typename M::template inputs<smx::owns<smx::cuda>> x_memory, dx_memory;
  smx::inputs_in<M, smx::cuda> x;
  smx::inputs_out<M, smx::cuda> dx;
  smx::tensor<T, 4, smx::device_space> y, dy;

  on_device(smx::cuda& be, smx::testing::problem<M> const& p) : w(be, p.mixer), dw(be, p.mixer) {
    p.mixer.for_each_weight(
        [&](auto const&, auto const& from, auto const& to) {
          smx::testing::transfer<smx::device_space>::in(to.ptr, from.ptr,
                                                        sizeof(T) * static_cast<std::size_t>(from.size()));
        },
        p.w(), w.write());
    M::for_each_input(
        [&](char const*, auto const& from, auto& owned, auto& owned_gradient, auto& read, auto& write) {
          if (from.size() == 0) return;
          owned = smx::tensor<T, 4, smx::device_space>(be.memory(), from.ext);
          owned_gradient = smx::tensor<T, 4, smx::device_space>(be.memory(), from.ext);
          smx::testing::transfer<smx::device_space>::in(owned.data(), from.ptr, owned.bytes());
          read = owned.cview();
          write = owned_gradient.view();
        },
        p.x(), x_memory, dx_memory, x, dx);
    y = smx::tensor<T, 4, smx::device_space>(be.memory(), p.output);
    dy = smx::tensor<T, 4, smx::device_space>(be.memory(), p.output);
    smx::testing::transfer<smx::device_space>::in(dy.data(), p.upstream.data(), dy.bytes());
  }
  void forward(smx::cuda& be, M const& m) {
    auto frame = be.scope();
    m.forward(be, w, x, smx::tape_of<M, smx::cuda>{}, y.view());
  }
  void train(smx::cuda& be, M const& m) {
    auto frame = be.scope();
    auto const tape = m.make_tape(be, x);
    m.forward(be, w, x, tape, y.view());
    m.backward(be, w, x, tape, dy.cview(), dw.write(), dx);
  }
  /// Every output so far, as bytes.
  std::vector<std::byte> results() const {
    std::vector<std::byte> all;
    auto const append = [&](void const* from, std::size_t bytes) {
      all.resize(all.size() + bytes);
      smx::testing::transfer<smx::device_space>::out(all.data() + all.size() - bytes, from, bytes);
    };
    append(y.data(), y.bytes());
    if (dw.bytes() > 0) append(const_cast<smx::parameters<M, smx::cuda>&>(dw).all().ptr, dw.bytes());
    M::for_each_input(
        [&](char const*, auto const& one) {
          if (one.size() > 0) append(one.data(), one.bytes());
        },
        dx_memory);
    return all;
  }
};

/// Launches of forward and training equal the plan's.
template <class M> smx::testing::verdict launches_are_planned(smx::testing::problem<M> const& p) {
  smx::cuda be;
  on_device<M> run(be, p);
  auto const plan = smx::testing::detail::planned(be, p.mixer, p.all_ext);
  run.forward(be, p.mixer);
  smx::index_t const forward = be.launches();
  run.train(be, p.mixer);
  be.synchronize();
  smx::index_t const training = be.launches() - forward;
  if (forward == plan.forward.launches && training == plan.training.launches) return smx::testing::holds;
  return smx::testing::text("%lld and %lld launches, the plan says %lld and %lld",
                            static_cast<long long>(forward), static_cast<long long>(training),
                            static_cast<long long>(plan.forward.launches),
                            static_cast<long long>(plan.training.launches));
}

/// Forward and training captured after `reserve` alone: no call has run before.
template <class M> smx::testing::verdict is_captured(smx::testing::problem<M> const& p) {
  smx::cuda plain;
  on_device<M> direct(plain, p);
  direct.forward(plain, p.mixer);
  direct.train(plain, p.mixer);
  plain.synchronize();

  smx::cuda be;
  auto const plan = smx::testing::detail::planned(be, p.mixer, p.all_ext);
  be.reserve(std::max(plan.forward.workspace, plan.training.workspace));
  on_device<M> replayed(be, p);
  smx::cuda_graph const forward(be, [&] { replayed.forward(be, p.mixer); });
  smx::cuda_graph const training(be, [&] { replayed.train(be, p.mixer); });
  forward.launch();
  training.launch();
  be.synchronize();
  if (replayed.results() != direct.results())
    return smx::testing::text("a replay gives other bits than the calls");
  return smx::testing::holds;
}

}  // namespace test
