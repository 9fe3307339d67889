// SPDX-License-Identifier: Apache-2.0
/// \file  The most likely tokens where a text has [MASK].
#pragma once

#include <string>
#include <vector>

#include <examples/bert/loaded.hpp>

namespace smx_examples {

struct mask_guess {
  std::string token;
  index_t id = 0;
  double probability = 0;
};
struct filled_mask {
  index_t place = 0;                ///< among the text's tokens, [CLS] counted
  std::vector<mask_guess> guesses;  ///< most likely first
};

/// The `count` best for each mask of a text; M2 models pad to their longest sequence. Throws
/// precondition_error for a model without a masked-LM head and for a text without a mask.
std::vector<filled_mask> fill_masks(smx::cpu& be, any_bert& bert, wordpiece_tokenizer const& tokens,
                                    std::string const& text, index_t count);

}  // namespace smx_examples
