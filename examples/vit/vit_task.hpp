// SPDX-License-Identifier: Apache-2.0
/// \file  Classification of images as a task of the training loop, and the same forward for new images.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <examples/vit/batches.hpp>
#include <smx/models/vit.hpp>
#include <smx/nn/cross_entropy.hpp>

namespace smx_examples {

/// What a model says of one image.
struct prediction {
  index_t label = 0;
  double probability = 0;
  double loss = 0;  ///< of the right label, in nats; 0 where it is not known
};

/// Classifies members of a data set, `batch` at a time.
template <class Block, class B>
std::vector<prediction> classify(B& be, smx::vit<Block> const& m,
                                 smx::weights_in<smx::vit<Block>, B> const& w, dataset const& d,
                                 std::vector<index_t> const& members, pixel_scale scale, index_t batch) {
  auto const total = static_cast<index_t>(members.size());
  batch = std::min(batch, total);
  smx::tensor<float, 4> x(be.memory(), smx::extents<4>{batch, d.channels, d.height, d.width}),
      y(be.memory(), smx::extents<4>{batch, 1, 1, m.second.classes});
  std::vector<prediction> all;
  for (index_t first = 0; first < total; first += batch) {
    index_t const count = std::min(batch, total - first);
    fill_images(d, members, scale, first, count, x.data());
    auto frame = be.scope();
    m.forward(be, w, {slice(x.cview(), 0, 0, count)}, {}, slice(y.view(), 0, 0, count));
    be.synchronize();
    for (index_t b = 0; b < count; ++b) {
      float const *const begin = y.data() + b * m.second.classes, *const end = begin + m.second.classes,
                         *const best = std::max_element(begin, end);
      double sum = 0;
      for (float const* z = begin; z != end; ++z) sum += std::exp(static_cast<double>(*z - *best));
      prediction p{best - begin, 1 / sum, 0};
      index_t const label = d.labels[static_cast<std::size_t>(members[static_cast<std::size_t>(first + b)])];
      if (label >= 0) p.loss = std::log(sum) - static_cast<double>(begin[label] - *best);
      all.push_back(p);
    }
  }
  return all;
}

template <class Block> class vit_task {
 public:
  using model = smx::vit<Block>;

  vit_task(model const& m, dataset const& d, image_batches batches, std::vector<index_t> held_out,
           pixel_scale scale, double smoothing)
      : m_(m), data_(d), batches_(std::move(batches)), held_out_(std::move(held_out)), scale_(scale) {
    loss_.label_smoothing = smoothing;
    smx::extents<4> const e = images(batches_.batch());
    x_ = smx::tensor<float, 4>(smx::host_memory(), e);
    labels_ = smx::tensor<index_t, 1>(smx::host_memory(), smx::extents<1>{e[0]});
  }

  template <class B>
  double loss_and_gradients(B& be, smx::weights_in<model, B> const& w, index_t step,
                            smx::weights_out<model, B> const& dw) {
    batches_.fill(step, x_.data(), labels_.data());
    auto frame = be.scope();
    smx::tensor<float, 1> loss(be.memory(), smx::extents<1>{1});
    run(be, w, x_.cview(), labels_.cview(), loss.view(), dw);
    be.synchronize();
    return loss(0);
  }
  template <class P>
  void plan(P& planner, smx::weights_in<model, P> const& w, smx::weights_out<model, P> const& dw) {
    smx::extents<4> const e = images(batches_.batch());
    run<P>(planner, w, {nullptr, e}, {nullptr, {e[0]}}, {nullptr, {1}}, dw);
  }
  index_t units() const { return batches_.batch(); }

  index_t held_out_units() const { return static_cast<index_t>(held_out_.size()); }
  template <class B> double held_out(B& be, smx::weights_in<model, B> const& w) {
    predictions_ = classify<Block>(be, m_, w, data_, held_out_, scale_, batches_.batch());
    double sum = 0;
    for (prediction const& p : predictions_) sum += p.loss;
    return sum / static_cast<double>(predictions_.size());
  }
  template <class P> void plan_held_out(P& planner, smx::weights_in<model, P> const& w) {
    smx::extents<4> const e = images(std::min(batches_.batch(), static_cast<index_t>(held_out_.size())));
    auto frame = planner.scope();
    m_.forward(planner, w, {{nullptr, e}}, {}, {nullptr, {e[0], 1, 1, m_.second.classes}});
  }

  /// The part of the model whose output, for the images of this step, is the first that is not finite.
  template <class B> std::string first_non_finite(B& be, smx::weights_in<model, B> const& w, index_t step) {
    batches_.fill(step, x_.data(), labels_.data());
    auto frame = be.scope();
    smx::inputs_in<model, B> const in{x_.cview()};
    auto const tape = m_.make_tape(be, in);
    auto const y = be.template scratch<float>(m_.output_extents(in));
    m_.forward(be, w, in, tape, y);
    be.synchronize();
    auto const finite = [](auto const& v) {
      return std::all_of(v.ptr, v.ptr + v.size(), [](float one) { return std::isfinite(one); });
    };
    auto const& encoder = tape.first;
    if (!finite(x_.cview())) return "the images";
    if (!finite(encoder.tokens)) return "the embedding of the patches";
    index_t const depth = m_.first.blocks.depth;
    for (index_t i = 0; i < depth; ++i)
      if (!finite(i + 1 < depth ? encoder.blocks.h[i + 1] : encoder.h)) return "block " + std::to_string(i);
    return !finite(tape.h) ? "the last norm" : !finite(y) ? "the classifier" : "";
  }

  /// Of the held-out images, when they were last asked.
  std::vector<prediction> const& predictions() const { return predictions_; }

 private:
  smx::extents<4> images(index_t batch) const { return {batch, data_.channels, data_.height, data_.width}; }

  template <class B>
  void run(B& be, smx::weights_in<model, B> const& w, smx::in<B, float, 4> x, smx::in<B, index_t, 1> labels,
           smx::out<B, float, 1> loss, smx::weights_out<model, B> const& dw) {
    auto frame = be.scope();
    index_t const batch = x.ext[0], classes = m_.second.classes;
    smx::inputs_in<model, B> const in{x};
    auto const tape = m_.make_tape(be, in);
    auto const y = be.template scratch<float>(smx::extents<4>{batch, 1, 1, classes});
    auto const dx = be.template scratch<float>(x.ext);
    m_.forward(be, w, in, tape, y);
    smx::out<B, float, 2> const logits(y.ptr, {batch, classes});
    loss_.forward_backward(be, smx::in<B, float, 1>{}, as_input(logits), labels, 1, smx::out<B, float, 1>{},
                           loss, logits);
    m_.backward(be, w, in, tape, as_input(y), dw, {dx});
  }

  model const& m_;
  dataset const& data_;
  image_batches batches_;
  std::vector<index_t> held_out_;
  pixel_scale scale_;
  smx::cross_entropy<float> loss_;
  smx::tensor<float, 4> x_;
  smx::tensor<index_t, 1> labels_;
  std::vector<prediction> predictions_;
};

}  // namespace smx_examples
