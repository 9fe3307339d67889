// SPDX-License-Identifier: Apache-2.0
/// \file  A causal mixer token by token, on any backend: one call is a few tokens at the end of a long
/// sequence, because what a token costs depends on its position.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include <bench/mixer_work.hpp>

namespace bench {

/// Tokens of one call: a multiple of the blocks in which a streaming convolution works off what it owes, up
/// to 16.
inline constexpr index_t step_tokens = 16;
/// Calls of a row: warm-up, counted, captured, timed without a graph.
inline constexpr index_t step_calls = 4;

template <class M, class B> class step_work {
 public:
  using scalar = typename M::scalar;
  using array = smx::tensor<scalar, 4, smx::space_t<B>>;

  /// `inputs`: the extents of the whole sequence, as of a forward job.
  step_work(B& be, M const& mixer, std::vector<smx::extents<4>> const& inputs)
      : mixer_(mixer), length_(inputs[0][2]), w_(be, mixer) {
    take(be, inputs, length_ - step_calls * step_tokens, before_, before_read_);
    take(be, inputs, 1, x_, x_read_);
    y_ = array(be.memory(), mixer_.output_extents(x_read_));
  }

  void fill(B& be) {
    filler<B> from(be);
    from.weights(mixer_, w_);
    from.template inputs<M>(before_);
    from.template inputs<M>(x_);
  }
  /// The sequence up to where the calls begin.
  void prepare(B& be) {
    state_.emplace(mixer_.make_state(be, w_.read(), x_read_, length_));
    {
      array y(be.memory(), mixer_.output_extents(before_read_));
      auto frame = be.scope();
      mixer_.prefill(be, w_.read(), before_read_, *state_, y.view());
      be.synchronize();
    }
    before_ = {};
  }
  /// Without waiting for the end.
  void enqueue(B& be) {
    for (index_t t = 0; t < step_tokens; ++t) {
      auto frame = be.scope();
      mixer_.step(be, w_.read(), x_read_, *state_, y_.view());
    }
  }
  std::size_t tensor_bytes() const { return w_bytes() + (state_ ? state_->bytes() : 0); }

 private:
  using held = typename M::template inputs<smx::owns<B>>;

  std::size_t w_bytes() const { return static_cast<std::size_t>(w_.size()) * sizeof(scalar); }
  void take(B& be, std::vector<smx::extents<4>> const& inputs, index_t count, held& to,
            smx::inputs_in<M, B>& read) {
    std::size_t next = 0;
    M::for_each_input(
        [&](char const*, auto& owned, auto& view) {
          if (next == inputs.size()) return;
          smx::extents<4> e = inputs[next++];
          e[2] = count;
          owned = array(be.memory(), e);
          view = owned.view();
        },
        to, read);
  }

  M mixer_;
  index_t length_;
  smx::parameters<M, B> w_;
  held before_, x_;
  smx::inputs_in<M, B> before_read_, x_read_;
  array y_;
  std::optional<smx::state_of<M, B>> state_;
};

}  // namespace bench
