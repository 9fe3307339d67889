// SPDX-License-Identifier: Apache-2.0
/// \file  What a model of smx-vit is: sizes, mixer, how pixels are scaled, names of classes; and where that
/// is written down: in the config of a checkpoint, or in the config.json of a published ViT.
#pragma once

#include <string>
#include <vector>

#include <examples/vit/batches.hpp>
#include <nlohmann/json.hpp>
#include <smx/models/vit_checkpoint.hpp>

namespace smx_examples {

/// The mixers that --mixer knows.
std::vector<std::string> const& vit_mixers();

struct vit_config {
  std::string mixer = "m2";
  smx::vit_sizes sizes;
  pixel_scale scale;
  std::vector<std::string> classes;
  bool qkv_bias = true;  ///< of a published checkpoint

  std::string const& class_name(index_t label) const { return classes[static_cast<std::size_t>(label)]; }
};

nlohmann::json to_json(vit_config const& c);

/// A model to run: its config, and the file and the prefixes of its weights.
struct vit_source {
  vit_config config;
  std::string weights;
  bool published = false;  ///< whether the tensors have the names of published checkpoints
  nlohmann::json run;      ///< the whole config of the run that made it; null for a published one
};

/// `path`: a checkpoint of smx-vit, or a folder with the config.json and model.safetensors of a published ViT
/// (preprocessor_config.json says how pixels are scaled; without one they go from 0 .. 255 to -1 .. 1).
/// Throws smx::file_error for a config that lacks something, is no ViT, or contradicts itself.
vit_source read_vit_source(std::string const& path);

/// Throws smx::file_error, which names `source`, where images of this data do not fit the model.
void expect_images_fit(vit_config const& c, dataset const& d, std::string const& source);

}  // namespace smx_examples
