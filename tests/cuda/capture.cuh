// SPDX-License-Identifier: Apache-2.0
/// \file  What a CUDA graph can hold: forward and training of a mixer, once their workspace is there,
/// allocate nothing, wait for nothing and use no other stream; a replay gives the bits of the calls
/// themselves.
#pragma once

#include <utility>

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

/// Launches of a stream's parts, each less those before.
struct stream_launches {
  smx::index_t prefill, step, next_step;
  friend bool operator==(stream_launches const&, stream_launches const&) = default;
};
/// Prefills all but two positions, and steps over these, on the backend or its planner; launches(be): how
/// many so far. What is in the arrays does not matter.
template <class M, class B, class F>
stream_launches stream(B& be, smx::testing::problem<M> const& p, F const& launches) {
  using array = smx::tensor<typename M::scalar, 4, smx::space_t<B>>;
  smx::index_t const length = p.output[2];
  smx::parameters<M, B> const w(be, p.mixer);
  typename M::template inputs<smx::owns<B>> memory;
  M::for_each_input(
      [&](char const*, auto const& from, auto& to) {
        if (from.size() > 0) to = array(be.memory(), from.ext);
      },
      p.x(), memory);
  auto const rows = [&](smx::index_t first, smx::index_t count) {
    smx::inputs_in<M, B> x;
    M::for_each_input(
        [&](char const*, auto const& from, auto& to) {
          if (from.size() > 0) to = smx::slice(from.cview(), 2, first, count);
        },
        memory, x);
    return x;
  };
  array y(be.memory(), p.output);
  auto state = p.mixer.make_state(be, w.read(), rows(0, 1), length);
  smx::index_t before = launches(be);
  auto const since = [&] { return launches(be) - std::exchange(before, launches(be)); };
  auto const step = [&](smx::index_t at) {
    auto frame = be.scope();
    p.mixer.step(be, w.read(), rows(at, 1), state, smx::slice(y.view(), 2, at, 1));
  };
  stream_launches found{};
  {
    auto frame = be.scope();
    p.mixer.prefill(be, w.read(), rows(0, length - 2), state, smx::slice(y.view(), 2, 0, length - 2));
  }
  found.prefill = since();
  step(length - 2);
  found.step = since();
  step(length - 1);
  found.next_step = since();
  be.synchronize();
  return found;
}
/// Launches and scratch of a prefill and of steps equal those that a planner counts.
template <class M> smx::testing::verdict streaming_is_planned(smx::testing::problem<M> const& p) {
  if constexpr (M::about.streaming) {
    bool one_length = p.output[2] >= 3 && smx::testing::streams(p.mixer);
    for (smx::extents<4> const& e : p.ext) one_length = one_length && e[2] == p.output[2];
    if (!one_length) return smx::testing::holds;
    smx::cuda be;
    smx::plan_backend<smx::cuda_backend> plan(be.how());
    auto const ran = stream(be, p, [](auto const& b) { return b.launches(); });
    auto const planned = stream(plan, p, [](auto const& b) { return b.result().launches; });
    auto const words = [](stream_launches const& n) {
      return smx::testing::text("%lld, %lld and %lld", static_cast<long long>(n.prefill),
                                static_cast<long long>(n.step), static_cast<long long>(n.next_step));
    };
    if (ran != planned)
      return smx::testing::text("%s launches of a prefill and two steps, planned are %s", words(ran).c_str(),
                                words(planned).c_str());
    if (be.workspace_bytes() != plan.result().workspace)
      return smx::testing::text("%zu bytes of scratch, planned are %zu", be.workspace_bytes(),
                                plan.result().workspace);
  }
  return smx::testing::holds;
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
