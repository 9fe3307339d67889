// SPDX-License-Identifier: Apache-2.0
/// \file  The parts of a tokenizer.json that every kind of tokenizer shares: the vocabulary, the added tokens
/// and what the post-processor puts around a text.
///
/// `truncation` and `padding` are not read: whoever encodes says how many tokens there may be. The template
/// for pairs of texts is not read either. All else that is not supported is refused by name.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "examples/common/text/added_tokens.hpp"
#include "examples/common/text/json_fields.hpp"
#include "examples/common/text/unicode.hpp"
#include "examples/common/text/vocabulary.hpp"

namespace smx_examples {

/// What stands before and after every text, such as [CLS] and [SEP].
struct text_frame {
  std::vector<token_id> before, after;
};

/// model.vocab. Throws file_error, as all here do.
vocabulary read_vocabulary(json_fields& model);

/// Puts those into `tokens` that the model's vocabulary does not have yet. `normaliser` nullptr: texts stay
/// as they are.
added_tokens read_added_tokens(json_fields& root, vocabulary& tokens, bert_normalizer const* normaliser);

/// null, TemplateProcessing, BertProcessing, and ByteLevel, which only moves offsets.
text_frame read_frame(json_fields& root, vocabulary const& tokens);

/// version, and the members that are not read.
void check_version(json_fields& root);

/// `body` between the frame; first cut to what fits. Throws precondition_error when the frame alone does not
/// fit.
std::vector<token_id> framed(std::vector<token_id> body, text_frame const& frame, token_id max_tokens,
                             special_tokens special);

/// How many tokens of a text fit beside the frame. Throws precondition_error when the frame does not.
std::size_t room_for_text(text_frame const& frame, token_id max_tokens, special_tokens special);

}  // namespace smx_examples
