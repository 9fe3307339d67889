// SPDX-License-Identifier: Apache-2.0
/// \file  smx-bert train: a masked language model from text files, with either mixer.
#pragma once

#include <string>
#include <vector>

#include <examples/common/training/loop_options.hpp>

namespace smx_examples {

using smx::index_t;

struct train_options {
  std::string mixer = "m2";  ///< m2 or softmax
  std::vector<std::string> text;
  std::string vocabulary;          ///< vocab.txt or tokenizer.json; empty: made from the texts
  index_t vocabulary_size = 4000;  ///< of one that is made
  std::string out;                 ///< folder for the model that the other commands read; empty: none
  index_t channels = 192, depth = 4, inner = 0, heads = 4;
  index_t length = 128;  ///< of the sequences; M2 models have no more positions
  index_t batch = 8;
  double masked = 0;  ///< share of masked tokens; 0: 0.3 with m2, 0.15 with softmax, as published
  double held_out = 0.1;
  int threads = 0;
  bool plan = false;
  training_options training;
};

/// Throws precondition_error and file_error for what is wrong with options, texts and files, and what the
/// training loop throws.
void train_bert(train_options const& options);

}  // namespace smx_examples
