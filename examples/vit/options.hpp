// SPDX-License-Identifier: Apache-2.0
/// \file  What smx-vit is told.
#pragma once

#include <cstdint>
#include <string>

#include <examples/common/training/loop_options.hpp>
#include <examples/vit/vit_config.hpp>

namespace smx_examples {

struct program_options {
  std::string data;            ///< a folder of images
  std::string images, labels;  ///< or arrays
  int threads = 0;             ///< 0: all

  vit_config model;  ///< train: sizes of 0 follow from the images
  std::string pool;  ///< "class" or "mean"
  training_options training;
  index_t batch = 64;
  index_t shift = 1;      ///< pixels that images are moved by at most
  double held_out = 0.2;  ///< share of each class
  double smoothing = 0;   ///< of labels
  bool plan = false;

  std::string source;        ///< eval, predict: a checkpoint, or a folder with a published ViT
  std::string part = "all";  ///< eval, predict: "all", or "held-out": what the run did not train on
  std::string sheet;         ///< the picture that is written
  index_t sheet_images = 400;
};

/// The images that the options name. `classes`: names that a model knows; `unlabelled`: without labels is
/// fine.
dataset read_data(program_options const& o, std::vector<std::string> const& classes, bool unlabelled);

/// What a checkpoint says of its data, so that a resumed run sees the same: number, extents, sums of bytes.
nlohmann::json describe(dataset const& d, double held_out);

/// Sizes that were left at 0, the scale of the pixels, and the names of the classes. `members`: those that
/// are trained on. Throws precondition_error for sizes that do not fit the images.
void complete_config(program_options& o, dataset const& d, std::vector<index_t> const& members);

}  // namespace smx_examples
