// SPDX-License-Identifier: Apache-2.0
/// \file  A WordPiece vocabulary of a text: special tokens, its characters alone and as continuations, then
/// its most frequent words. Greedy matching spells what is rarer. The same texts give the same list.
#pragma once

#include <string>
#include <vector>

#include <smx/core/extents.hpp>

namespace smx_examples {

/// Lines of a vocab.txt, `size` at most. Throws precondition_error where the characters alone are more.
std::vector<std::string> make_word_list(std::vector<std::string> const& texts, smx::index_t size);

}  // namespace smx_examples
