// SPDX-License-Identifier: Apache-2.0
/// \file  The next token of a text, as a task of the training loop. The sequences of a step begin at places
/// that are functions of seed and step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <smx/core/rng.hpp>
#include <smx/core/tensor.hpp>
#include <smx/models/gpt.hpp>

namespace smx_examples {

using smx::index_t;

/// Mean loss, in nats, of windows of `length` tokens one after the other: each token but the first is a
/// target once, and sees what stands before it in its window.
template <class B, class M, class W>
double mean_loss(B& be, smx::gpt<M> const& m, W const& w, std::vector<std::int32_t> const& tokens,
                 index_t length, index_t batch) {
  using T = typename M::scalar;
  auto const targets = static_cast<index_t>(tokens.size()) - 1;
  smx::tensor<index_t, 2> ids({batch, length}), next({batch, length});
  smx::tensor<T, 1> losses({batch * length}), mean({1});
  double sum = 0;
  for (index_t at = 0; at < targets; at += batch * length) {
    index_t count = 0;
    for (index_t i = 0; i < batch * length; ++i) {
      bool const there = at + i < targets;
      ids(i / length, i % length) = there ? tokens[static_cast<std::size_t>(at + i)] : 0;
      next(i / length, i % length) = there ? tokens[static_cast<std::size_t>(at + i + 1)] : -100;
      count += there ? 1 : 0;
    }
    m.loss(be, w, ids.cview(), next.cview(), losses.view(), mean.view());
    be.synchronize();
    sum += static_cast<double>(mean(0)) * static_cast<double>(count);
  }
  return sum / static_cast<double>(targets);
}

template <class M> struct gpt_task {
  using T = typename M::scalar;

  smx::gpt<M> const& model;
  std::vector<std::int32_t> const &train, &other;  // held out
  index_t length, batch;
  std::uint64_t seed;
  smx::tensor<index_t, 2> ids, targets;  // (batch,length)
  smx::tensor<T, 1> loss;

  gpt_task(smx::gpt<M> const& m, std::vector<std::int32_t> const& of_training,
           std::vector<std::int32_t> const& held, index_t l, index_t b, std::uint64_t s)
      : model(m),
        train(of_training),
        other(held),
        length(l),
        batch(b),
        seed(s),
        ids({b, l}),
        targets({b, l}),
        loss({1}) {}

  void fill(index_t step) {
    smx::random_stream const from{seed, 1};
    auto const places = static_cast<double>(static_cast<index_t>(train.size()) - length);
    for (index_t b = 0; b < batch; ++b) {
      auto const at =
          static_cast<std::size_t>(from.uniform(static_cast<std::uint64_t>(step * batch + b)) * places);
      for (index_t i = 0; i < length; ++i) {
        ids(b, i) = train[at + static_cast<std::size_t>(i)];
        targets(b, i) = train[at + static_cast<std::size_t>(i) + 1];
      }
    }
  }
  template <class B, class W, class D>
  double loss_and_gradients(B& be, W const& w, index_t step, D const& dw) {
    fill(step);
    model.loss_and_gradients(be, w, ids.cview(), targets.cview(), loss.view(), dw);
    be.synchronize();
    return static_cast<double>(loss(0));
  }
  template <class P, class W, class D> void plan(P& be, W const& w, D const& dw) const {
    smx::in<P, index_t, 2> const numbers(nullptr, {batch, length});
    model.loss_and_gradients(be, w, numbers, numbers, smx::out<P, T, 1>(nullptr, {1}), dw);
  }
  index_t units() const { return batch * length; }
  index_t held_out_units() const { return static_cast<index_t>(other.size()); }
  template <class B, class W> double held_out(B& be, W const& w) const {
    return mean_loss(be, model, w, other, length, batch);
  }
  template <class P, class W> void plan_held_out(P& be, W const& w) const {
    smx::in<P, index_t, 2> const numbers(nullptr, {batch, length});
    model.loss(be, w, numbers, numbers, smx::out<P, T, 1>(nullptr, {batch * length}),
               smx::out<P, T, 1>(nullptr, {1}));
  }
  template <class B, class W> std::string first_non_finite(B& be, W const& w, index_t step) {
    fill(step);
    return smx::first_non_finite(be, model, w, ids.cview());
  }
};

}  // namespace smx_examples
