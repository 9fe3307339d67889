// SPDX-License-Identifier: Apache-2.0
/// \file  Masked tokens of a text, as a task of the training loop. Which windows a step takes and what is
/// masked in them are functions of seed and step.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include <smx/core/rng.hpp>
#include <smx/core/tensor.hpp>
#include <smx/models/bert.hpp>

namespace smx_examples {

using smx::index_t;

/// Ids that the task needs by name.
struct special_ids {
  index_t cls = 0, sep = 0, mask = 0;
};

/// Rows are [CLS], length - 2 tokens of the text, [SEP]. Of the tokens the same number is masked in every
/// row: 80 % of them become [MASK], 10 % another token, 10 % stay (J. Devlin et al., 2019).
template <class Block> class masked_task {
 public:
  using T = typename Block::scalar;
  using model_type = smx::bert<Block>;

  masked_task(model_type const& m, std::vector<index_t> const& train, std::vector<index_t> const& held_out,
              special_ids special, index_t length, index_t batch, double rate, std::uint64_t seed)
      : train_(&train),
        held_out_(&held_out),
        special_(special),
        length_(length),
        batch_(batch),
        seed_(seed),
        ids_({batch, length}),
        lengths_(static_cast<std::size_t>(batch), length),
        loss_({1}) {
    smx::expects_value(length >= 3, "length", "at least 3", length);
    smx::expects_value(batch >= 1, "batch", "at least 1", batch);
    smx::expects(rate > 0 && rate < 1, "mask rate: expected a number between 0 and 1");
    masked_ = std::max<index_t>(1, std::lround(rate * static_cast<double>(length - 2)));
    places_ = smx::tensor<index_t, 1>({batch * masked_});
    targets_ = smx::tensor<index_t, 1>({batch * masked_});
    model_ = m.with_lengths(lengths_.data(), batch);
  }

  template <class B, class W, class D>
  double loss_and_gradients(B& be, W const& w, index_t step, D const& dw) {
    smx::random_stream const windows{seed_, 1};
    auto const places = static_cast<double>(static_cast<index_t>(train_->size()) - (length_ - 2) + 1);
    for (index_t b = 0; b < batch_; ++b)
      fill(*train_, static_cast<index_t>(windows.uniform(number(step * batch_ + b)) * places), b,
           {seed_, 2 + 2 * number(step * batch_ + b)});
    model_.loss_and_gradients(be, w, smx::bert_tokens<B>{ids_.cview(), {}},
                              smx::masked_tokens<B>{places_.cview(), targets_.cview()}, 1, dw, loss_.view());
    be.synchronize();
    return static_cast<double>(loss_(0));
  }
  template <class P, class W, class D> void plan(P& be, W const& w, D const& dw) const {
    model_.loss_and_gradients(be, w, planned_tokens<P>(), planned_masks<P>(), 1, dw,
                              smx::out<P, T, 1>(nullptr, {1}));
  }
  index_t units() const { return batch_ * length_; }

  index_t held_out_units() const { return static_cast<index_t>(held_out_->size()); }

  /// The mean over windows one after the other, the same masks each time.
  template <class B, class W> double held_out(B& be, W const& w) {
    auto const window = length_ - 2;
    index_t const count = static_cast<index_t>(held_out_->size()) / window;
    double sum = 0;
    index_t batches = 0;
    for (index_t first = 0; first < count; first += batch_, ++batches) {
      for (index_t b = 0; b < batch_; ++b)
        fill(*held_out_, (first + b) % count * window, b, {seed_, 3 + 2 * number(first + b)});
      model_.loss(be, w, smx::bert_tokens<B>{ids_.cview(), {}},
                  smx::masked_tokens<B>{places_.cview(), targets_.cview()}, loss_.view());
      be.synchronize();
      sum += static_cast<double>(loss_(0));
    }
    return sum / static_cast<double>(batches);
  }
  template <class P, class W> void plan_held_out(P& be, W const& w) const {
    model_.loss(be, w, planned_tokens<P>(), planned_masks<P>(), smx::out<P, T, 1>(nullptr, {1}));
  }

 private:
  static std::uint64_t number(index_t n) { return static_cast<std::uint64_t>(n); }

  /// Row b: the window that begins at `at`, with masks from `random`.
  void fill(std::vector<index_t> const& tokens, index_t at, index_t b, smx::random_stream random) {
    index_t const window = length_ - 2;
    ids_(b, 0) = special_.cls;
    ids_(b, length_ - 1) = special_.sep;
    std::copy_n(tokens.begin() + at, window, &ids_(b, 1));
    std::vector<index_t> order(static_cast<std::size_t>(window));
    std::iota(order.begin(), order.end(), index_t{1});
    for (index_t i = 0; i < masked_; ++i) {
      auto const u = [&](index_t which) { return random.uniform(number(3 * i + which)); };
      auto const other = i + static_cast<index_t>(u(0) * static_cast<double>(window - i));
      std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(other)]);
      index_t const place = order[static_cast<std::size_t>(i)];
      places_(b * masked_ + i) = b * length_ + place;
      targets_(b * masked_ + i) = ids_(b, place);
      if (double const how = u(1); how < 0.8)
        ids_(b, place) = special_.mask;
      else if (how < 0.9)
        ids_(b, place) = static_cast<index_t>(u(2) * static_cast<double>(model_.vocabulary));
    }
  }
  template <class P> smx::bert_tokens<P> planned_tokens() const {
    return {smx::in<P, index_t, 2>(nullptr, {batch_, length_}), {}};
  }
  template <class P> smx::masked_tokens<P> planned_masks() const {
    smx::in<P, index_t, 1> const list(nullptr, {batch_ * masked_});
    return {list, list};
  }

  model_type model_;
  std::vector<index_t> const *train_, *held_out_;
  special_ids special_;
  index_t length_, batch_, masked_ = 0;
  std::uint64_t seed_;
  smx::tensor<index_t, 2> ids_;
  smx::tensor<index_t, 1> places_, targets_;
  std::vector<index_t> lengths_;  // masks refer to it
  smx::tensor<T, 1> loss_;
};

}  // namespace smx_examples
