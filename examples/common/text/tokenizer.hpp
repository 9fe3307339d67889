// SPDX-License-Identifier: Apache-2.0
/// \file  Any of the tokenizers as one value, so that a program takes what its user has: bytes, byte pairs or
/// word pieces.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "examples/common/text/byte_pair.hpp"
#include "examples/common/text/wordpiece.hpp"

namespace smx_examples {

/// An immutable value; any number of threads may use one.
class tokenizer {
 public:
  static constexpr token_id no_limit = std::numeric_limits<token_id>::max();
  using any = std::variant<byte_tokenizer, byte_pair_tokenizer, wordpiece_tokenizer>;

  /// Bytes, unless another is given.
  tokenizer() = default;
  tokenizer(any which) : which_(std::move(which)) {}

  /// A tokenizer.json, by its model.type; a file of any other name ending is a WordPiece vocabulary; a folder
  /// has one of them under the name tokenizer.json or, without that, vocab.txt. Throws file_error.
  static tokenizer load(std::string const& path);

  /// See the kinds: what is cut off beyond max_tokens, and what is not a text.
  std::vector<token_id> encode(std::string_view text, token_id max_tokens = no_limit,
                               special_tokens special = special_tokens::with) const;
  std::string decode(std::span<token_id const> ids, special_tokens special = special_tokens::with) const;
  token_id vocabulary_size() const;
  /// "bytes", "byte pairs" or "word pieces".
  char const* kind() const;

  any const& which() const { return which_; }

 private:
  any which_;
};

}  // namespace smx_examples
