// SPDX-License-Identifier: Apache-2.0
/// \file  A folder with a model as people publish it: config.json, model.safetensors, tokenizer.json or
/// vocab.txt.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <examples/common/text/wordpiece.hpp>
#include <smx/models/bert_checkpoint.hpp>

namespace smx_examples {

/// What a folder says, but for the weights. Files that are not there are left out of it.
struct bert_folder {
  std::string path, weights_file;
  smx::bert_options options;                ///< numbers and booleans of config.json
  std::optional<smx::index_t> most_tokens;  ///< of sentence_bert_config.json
};

/// Throws file_error for a folder that is missing or has no weights, for a config.json that is not JSON, and
/// for options of it that no model here has (another activation, relative positions).
bert_folder read_bert_folder(std::string const& path);

/// The tokenizer of a folder; throws file_error where it is missing or not WordPiece.
wordpiece_tokenizer read_bert_tokenizer(std::string const& folder);

}  // namespace smx_examples
