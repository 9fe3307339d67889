// SPDX-License-Identifier: Apache-2.0
/// \file  Embeddings of texts.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <examples/bert/loaded.hpp>

namespace smx_examples {

/// What stands for a text: the mean of its rows, its first row, or the pooler's tanh of the first row.
enum class text_pooling : char { mean, first, pooler };

struct embed_options {
  std::optional<text_pooling>
      pooling;                    ///< none: the pooler of M2 models, which retrieval uses; else the mean
  std::optional<bool> normalise;  ///< to length 1; none: not after the pooler
  index_t most_tokens = 0;        ///< 0: what the folder says, else 256 at most; M2 models: their length
  index_t length = 0;             ///< M2 models: every text is padded to this; 0: the most tokens
  index_t batch_tokens = 4096;    ///< padding included
  bool quiet = false;
};

/// Called for each text, in order: its number, ids and embedding.
using embedding_sink = std::function<void(std::size_t, std::span<index_t const>, std::span<float const>)>;

/// M2 models convolve over padding too: an embedding depends on the length that it is padded to, so all are
/// padded to one. With attention, texts of about one length form a batch and padding has no effect. Throws
/// precondition_error for lengths that the model does not have.
void embed_texts(smx::cpu& be, any_bert& bert, wordpiece_tokenizer const& tokens,
                 std::vector<std::string> const& texts, embed_options const& options,
                 embedding_sink const& sink);

}  // namespace smx_examples
