// SPDX-License-Identifier: Apache-2.0
/// \file  Tokens that are recognised inside a text before anything else is done with it, such as "[MASK]".
///
/// Leftmost match, the longest where several begin. A token that is `normalised` is looked for after the text
/// was normalised, the others before. Cost: for every byte that begins a token, one look-up for each size
/// that such tokens have.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "examples/common/text/vocabulary.hpp"

namespace smx_examples {

struct added_token {
  std::string content;
  token_id id = 0;
  bool strip_left = false, strip_right = false;  ///< Takes the white space on that side with it.
  bool normalised = false;
  bool special = true;  ///< Left out by decode() without special tokens.
};

/// A part of a text: a token, or text between tokens.
struct text_part {
  std::string_view text;
  added_token const* token;  ///< nullptr for text.
};

class added_tokens {
 public:
  /// Throws precondition_error when the content is empty or there already. `pattern` is what the text has:
  /// the content, normalised where the token is.
  void add(added_token token, std::string pattern);

  /// The parts of `text` in order, found among the tokens that are `normalised` or those that are not. They
  /// point into the text and into this.
  std::vector<text_part> split(std::string_view text, bool normalised) const;

  added_token const* find(token_id id) const;

 private:
  struct found_token {
    added_token const* token;
    std::size_t size;  // bytes of the text
  };
  found_token match(std::string_view text, bool normalised) const;

  std::vector<added_token> tokens_;
  std::unordered_map<token_id, std::size_t> by_id_;   // indices of tokens_
  text_map<std::size_t> by_content_, by_pattern_[2];  // by_pattern_[normalised]
  std::array<std::vector<std::size_t>, 256> sizes_;   // of the patterns that begin with a byte, largest first
};

}  // namespace smx_examples
