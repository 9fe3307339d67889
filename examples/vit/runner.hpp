// SPDX-License-Identifier: Apache-2.0
/// \file  The commands of smx-vit for one kind of block. Each is compiled in a file of its own.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include <examples/common/training/loop.hpp>
#include <examples/vit/options.hpp>
#include <examples/vit/vit_task.hpp>
#include <smx/backend/cpu.hpp>
#include <smx/mixers/planning.hpp>

namespace smx_examples {

/// What the program does with one mixer.
struct mixer_program {
  char const* name;
  /// Trains; `train` are the images that are learnt from, `held_out` the others.
  void (*train)(program_options const&, dataset const&, std::vector<index_t> const& train,
                std::vector<index_t> const& held_out);
  /// What the model of the source says of the members.
  std::vector<prediction> (*classify)(program_options const&, vit_source const&, dataset const&,
                                      std::vector<index_t> const& members);
};

mixer_program m2_program();
mixer_program softmax_program();

namespace detail {

inline index_t count_right(dataset const& d, std::vector<index_t> const& members,
                           std::vector<prediction> const& predictions) {
  index_t right = 0;
  for (std::size_t n = 0; n < members.size(); ++n)
    right += predictions[n].label == d.labels[static_cast<std::size_t>(members[n])] ? 1 : 0;
  return right;
}

/// Threads for work of so many flops at a time: steps of a small model are hundreds of short passes, which
/// two threads hardly shorten, and which wait for each other where other programs run.
inline int threads_for(int asked, double flops) { return asked == 0 && flops < 2e9 ? 1 : asked; }

}  // namespace detail

template <class Block>
void train_model(program_options const& o, dataset const& d, std::vector<index_t> const& members,
                 std::vector<index_t> const& held_out) {
  auto const m = smx::make_vit<Block>(o.model.sizes);
  smx::extents<4> const images{o.batch, d.channels, d.height, d.width};
  smx::cpu be(detail::threads_for(o.threads, smx::plan(m, images).training.flops));
  vit_task<Block> task(m, d, image_batches(d, members, o.model.scale, o.batch, o.shift, o.training.seed),
                       held_out, o.model.scale, o.smoothing);
  training_options t = o.training;
  t.title = "smx-vit train, " + o.model.mixer;
  t.unit = "images";
  t.config = {{"vit", to_json(o.model)},
              {"data", describe(d, o.held_out)},
              {"batch", o.batch},
              {"shift", o.shift},
              {"label_smoothing", o.smoothing}};
  check_training_options(t);
  training_plan const plan = plan_training(be, m, task);
  std::string const text = print_plan(plan, t, o.model.mixer, be.threads());
  if (o.plan) {
    std::fputs(text.c_str(), stdout);
    expects_memory(t.title, plan.memory(!t.checkpoint.empty()));
    return;
  }
  if (!t.quiet) std::fputs(text.c_str(), stderr);
  auto const result = train(be, m, task, t, plan, [&](auto& w) {
    w = smx::initialize(be, m, t.seed);
    smx::nn::fill_tables(be, m, w.write());
  });
  if (!result.interrupted.empty()) return;
  double const loss = task.held_out(be, result.weights.read());
  index_t const right = detail::count_right(d, held_out, task.predictions());
  std::printf("held out: %.2f %% right (%lld of %zu), loss %.4f, after %lld steps, %s\n",
              100.0 * static_cast<double>(right) / static_cast<double>(held_out.size()),
              static_cast<long long>(right), held_out.size(), loss, static_cast<long long>(result.step),
              print_seconds(result.seconds).c_str());
}

template <class Block>
std::vector<prediction> classify_members(program_options const& o, vit_source const& from, dataset const& d,
                                         std::vector<index_t> const& members) {
  auto const m = smx::make_vit<Block>(from.config.sizes);
  smx::extents<4> const images{o.batch, d.channels, d.height, d.width};
  smx::cpu be(detail::threads_for(o.threads, smx::plan(m, images).forward.flops));
  expects_memory("smx-vit", smx::plan(be, m, images).forward.workspace);
  host_parameters<smx::vit<Block>> w(be, m);
  if (from.published) {
    if constexpr (requires { m.first.blocks.layer.first.inner.heads; }) {
      smx::safetensors_file const file(from.weights);
      smx::checkpoint_reader reader(file, {"vit.", ""});
      smx::read_hf_vit(m, from.config.qkv_bias, reader, w.write());
      for (std::string const& name : reader.finish())
        std::fprintf(stderr, "%s: tensor '%s' is unknown and was not used\n", from.weights.c_str(),
                     name.c_str());
    }
  } else {
    tensor_reader file(from.weights);
    file.want("", m, w);
    file.read({.unknown_is_error = true});
  }
  return classify<Block>(be, m, w.read(), d, members, from.config.scale, o.batch);
}

/// The commands for vit<Block>.
template <class Block> mixer_program program_of(char const* name) {
  return {name, &train_model<Block>, &classify_members<Block>};
}

}  // namespace smx_examples
