// SPDX-License-Identifier: Apache-2.0
/// \file  Texts of different lengths in batches: rows of about the same length together, so that little is
/// padding. O(n log n) for n texts, and the memory of the padded tokens.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "examples/common/text/vocabulary.hpp"

namespace smx_examples {

/// Rows of one length. Row r has the text number `texts[r]`, `lengths[r]` tokens of it, then padding.
struct token_batch {
  std::vector<std::size_t> texts;
  std::vector<token_id> lengths;
  token_id length = 0;        ///< Of the rows: the longest text's.
  std::vector<token_id> ids;  // (rows, length)

  std::size_t rows() const { return texts.size(); }
};

/// Every text in exactly one batch, longest first (so the first batch needs the most memory), texts of one
/// length in their order. A batch has at most max_padded_tokens tokens, padding included. Throws
/// precondition_error when a text is empty or has more tokens than that.
std::vector<token_batch> make_batches(std::span<std::vector<token_id> const> texts,
                                      token_id max_padded_tokens, token_id padding);

}  // namespace smx_examples
