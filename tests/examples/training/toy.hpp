// SPDX-License-Identifier: Apache-2.0
/// \file  The smallest language model that trains: the next token from the last one, logits = table[x]
/// output^T
/// + bias.
#pragma once

#include <cstring>

#include <examples/common/training/checkpoint.hpp>
#include <smx/backend/cpu.hpp>
#include <smx/mixers/run.hpp>
#include <smx/nn/cross_entropy.hpp>
#include <smx/nn/embedding.hpp>
#include <smx/nn/schedule.hpp>

namespace test {

struct toy {
  using scalar = float;
  static constexpr smx::traits about{.name = "toy"};
  smx::index_t tokens = 17, channels = 8;
  friend bool operator==(toy const&, toy const&) = default;

  template <class A> struct weights {
    smx::array<A, float, 2> table, output;
    smx::array<A, float, 1> bias;
  };
  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    smx::initializer const normal{smx::initializer::law::normal, 0.3};
    f(smx::weight_info<2>{"table.weight", {tokens, channels}, normal}, w.table...);
    f(smx::weight_info<2>{"output.weight", {tokens, channels}, normal}, w.output...);
    f(smx::weight_info<1>{"output.bias", {tokens}, {}}, w.bias...);
  }

  nlohmann::json config() const {
    return {{"model", {{"tokens", tokens}, {"channels", channels}}}, {"seed", 5}};
  }
};

using toy_parameters = smx_examples::host_parameters<toy>;
using toy_adamw = smx_examples::host_adamw_state<toy>;

inline bool same_bits(toy_parameters& a, toy_parameters& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.all().ptr, b.all().ptr, a.bytes()) == 0;
}

/// A run: what it has, and one step of it. Its data is a function of the seed and the step.
struct toy_run {
  toy model;
  toy_parameters w, dw;
  toy_adamw s;
  std::int64_t step = 0;

  template <class B>
  toy_run(B& be, toy const& m) : model(m), w(smx::initialize(be, m, 5)), dw(be, m), s(be, m) {}

  /// Takes one step and returns the loss before it.
  template <class B> double train_step(B& be) {
    constexpr smx::index_t rows = 64;
    smx::index_t const d = model.channels, v = model.tokens;
    smx::tensor<smx::index_t, 2> x({1, rows});
    smx::tensor<smx::index_t, 1> next({rows});
    smx::random_stream const random{5, static_cast<std::uint64_t>(step)};
    for (smx::index_t i = 0; i < rows; ++i) {
      x(0, i) =
          static_cast<smx::index_t>(random.uniform(static_cast<std::uint64_t>(i)) * static_cast<double>(v));
      next(i) = (3 * x(0, i) + 1) % v;  // what there is to learn
    }
    smx::embedding<float> const look_up{.rows = v, .channels = d};
    smx::weights_in<smx::embedding<float>, B> table;
    smx::weights_out<smx::embedding<float>, B> dtable;
    table.weight = w.read().table;
    dtable.weight = dw.write().table;
    std::memset(dw.all().ptr, 0, dw.bytes());

    auto const matrix = [](auto const& m) { return smx::broadcast_axis(smx::broadcast_axis(m, 0, 1), 0, 1); };
    smx::tensor<float, 4> y({1, 1, rows, d}), dy({1, 1, rows, d}), logits({1, 1, rows, v});
    look_up.forward(be, table, x.cview(), y.view());
    be.map(smx::identity{}, logits.view(), matrix(smx::broadcast_axis(w.read().bias, 0, rows)));
    be.gemm(smx::op::none, smx::op::transpose, 1.f, y.cview(), matrix(w.read().output), 1.f, logits.view());
    smx::view<float, 2, smx::host_space> const z(logits.data(), {rows, v});
    double const loss = smx::cross_entropy<float>{}.value_and_gradient(be, z, next, z);
    be.gemm(smx::op::transpose, smx::op::none, 1.f, logits.cview(), y.cview(), 1.f,
            matrix(dw.write().output));
    be.reduce(smx::reduction::sum, smx::swap_axes(logits.cview(), 2, 3), 1.f,
              matrix(smx::broadcast_axis(dw.write().bias, 1, 1)));
    be.gemm(smx::op::none, smx::op::none, 1.f, logits.cview(), matrix(w.read().output), 0.f, dy.view());
    look_up.backward(be, x.cview(), dy.cview(), dtable);
    smx::rate_schedule const rate{.peak = 0.05, .warmup = 5, .steps = 120};
    smx::adamw{.most_norm = 1}.update(be, model, dw, rate.at(step), s, w);
    ++step;
    return loss;
  }

  smx_examples::run_state state() const {
    return {model.config(), {{"step", step}, {"data.position", step * 64}}};
  }
};

}  // namespace test
