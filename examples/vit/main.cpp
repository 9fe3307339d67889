// SPDX-License-Identifier: Apache-2.0
/// \file  smx-vit: classifies images with vision transformers around the sequence mixers of smx.
#include <CLI/CLI.hpp>

#include <examples/common/training/command_line.hpp>
#include <examples/vit/commands.hpp>

namespace {

using namespace smx_examples;

void add_data(CLI::App& app, program_options& o) {
  app.add_option("--data", o.data, "Folder of images (PNG, PGM, PPM), one folder for each class");
  app.add_option("--images", o.images, "Instead: array of images, .npy: (N,Y,X), (N,C,Y,X) or (N,Y,X,C)");
  app.add_option("--labels", o.labels, "Array of the labels of --images, .npy: (N), integers from 0");
  add_threads(app, o.threads, "Threads; 0: all cores, or one for steps below 2 GFLOP");
}

void add_train(CLI::App& app, program_options& o) {
  auto& s = o.model.sizes;
  auto& t = o.training;
  app.add_option("--mixer", o.model.mixer, "Sequence mixer")
      ->check(CLI::IsMember(vit_mixers()))
      ->capture_default_str();
  app.add_option("--patch", s.patch_height, "Side of the patches; 0: such that there are at most 64")
      ->capture_default_str();
  app.add_option("--channels", s.channels, "Channels of the model")->capture_default_str();
  app.add_option("--depth", s.depth, "Blocks")->capture_default_str();
  app.add_option("--inner", s.mlp_channels, "Channels inside of the MLPs; 0: twice those of the model")
      ->capture_default_str();
  app.add_option("--blocks", s.mlp_blocks, "m2: diagonal blocks of the MLPs")->capture_default_str();
  app.add_option("--filter-width", s.filter_width, "m2: width of the networks that make the kernels")
      ->capture_default_str();
  app.add_option("--heads", s.heads, "softmax: heads")->capture_default_str();
  app.add_option("--pool", o.pool, "What is classified: a class token, or the mean of all (default of m2)")
      ->check(CLI::IsMember({"class", "mean"}));
  app.add_option("--batch", o.batch, "Images a step")->capture_default_str();
  app.add_option("--shift", o.shift, "Images are moved by up to so many pixels in training")
      ->capture_default_str();
  app.add_option("--label-smoothing", o.smoothing, "Share of the loss that goes to all classes")
      ->capture_default_str();
  app.add_option("--held-out", o.held_out, "Share of each class that is not trained on; the seed chooses it")
      ->capture_default_str();
  add_training_options(app, t, o.plan, "Of the weights, the split and the order of the images");
}

void add_model(CLI::App& app, program_options& o) {
  app.add_option("--model", o.source,
                 "Checkpoint of smx-vit train, or a folder with config.json and model.safetensors of a "
                 "published ViT")
      ->required();
  app.add_option("--part", o.part, "all images, or only what the training of this model held out")
      ->check(CLI::IsMember({"all", "held-out"}))
      ->capture_default_str();
  app.add_option("--batch", o.batch, "Images at once")->check(at_least(1))->capture_default_str();
}

/// What the 8x8 digits are learnt with: 16 tokens of 64 channels, 75 epochs.
void set_defaults(program_options& o) {
  smx::vit_sizes& s = o.model.sizes;
  s.patch_height = 0, s.channels = 64, s.depth = 2, s.mlp_channels = 0, s.heads = 4, s.filter_width = 32;
  s.eps = 1e-6;
  o.training.steps = 1500;
  o.training.rate = 3e-3;
  o.training.warmup = 50;
  o.training.decay = 0.05;
  o.training.log_every = 50;
}

}  // namespace

int main(int argc, char** argv) {
  program_options o;
  set_defaults(o);
  CLI::App app("Image classification around the sequence mixers of smx", "smx-vit");
  app.require_subcommand(1);
  auto& to_train = *app.add_subcommand("train", "Train a model on labelled images");
  auto& to_eval = *app.add_subcommand("eval", "Accuracy of a trained model, in all and of each class");
  auto& to_predict = *app.add_subcommand("predict", "Classify images, and write a contact sheet of them");
  for (auto* one : {&to_train, &to_eval, &to_predict}) add_data(*one, o);
  add_train(to_train, o);
  add_model(to_eval, o);
  add_model(to_predict, o);
  to_predict.add_option("--sheet", o.sheet, "Picture to write: .png, or .ppm");
  to_predict.add_option("--sheet-images", o.sheet_images, "Images on it at most; mistakes come first")
      ->capture_default_str();
  return run_program(app, argc, argv, [&] {
    settle_warmup(to_train, o.training);
    if (to_train.parsed()) train_command(o);
    if (to_eval.parsed()) eval_command(o);
    if (to_predict.parsed()) predict_command(o);
  });
}
