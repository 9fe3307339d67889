// SPDX-License-Identifier: Apache-2.0
/// \file  What smx-gpt is told.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <examples/common/training/loop_options.hpp>

namespace smx_examples {

using smx::index_t;

/// What a model is made from; a checkpoint keeps it.
struct model_config {
  std::string mixer = "m2";
  index_t vocabulary = 256, channels = 192, depth = 4;
  index_t length = 256;    ///< of the sequences that it is trained on
  index_t max_length = 0;  ///< positions that it has; 0: the length. ssd needs none
  index_t inner = 0;       ///< channels inside of the MLPs; 0: 4 times the channels
  index_t heads = 4;       ///< attention, ssd
  index_t state = 64;      ///< ssd: N
  bool residual = false;   ///< m2: the second long convolution
  bool positions = true;   ///< attention: a table of positions
};

nlohmann::json to_json(model_config const& c);
/// Throws smx::file_error, which names `file`, for what is missing or of another type.
model_config read_model_config(nlohmann::json const& from, std::string const& file);

struct program_options {
  model_config model;
  training_options training;
  index_t batch = 8;
  std::vector<std::string> text;  ///< files; empty: the licence texts of Debian
  double held_out = 0.1;          ///< share of each file, its end
  std::string tokenizer;          ///< tokenizer.json; empty: bytes
  int threads = 0;                ///< 0: all
  bool plan = false;

  std::string checkpoint;  ///< generate, eval: a checkpoint of train, or a folder with GPT-2
  std::string prompt = "This ";
  index_t tokens = 200;
  double temperature = 0.8;
  index_t top_k = 0;  ///< 0: all tokens
  double top_p = 1;
  std::uint64_t seed = 1;
  bool plain = false;            ///< generate: the text alone, no figures behind it
  std::vector<index_t> lengths;  ///< eval; empty: the trained length, and twice that where it can
};

}  // namespace smx_examples
