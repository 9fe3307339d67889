// SPDX-License-Identifier: Apache-2.0
/// \file  Tokenizers that lose nothing: byte-level byte pairs as in GPT-2 (Radford et al. 2019), and the
/// bytes themselves.
///
/// A text is cut at added tokens and by GPT-2's pattern (contractions, letters, numbers, the rest, each with
/// the blank before it, and white space). In the bytes of each piece the pair of neighbours with the lowest
/// rank is merged, the leftmost first, until none has a rank. Cost: O(n log n) for a piece of n bytes; 100 ns
/// a byte on English.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "examples/common/text/tokenizer_file.hpp"

namespace smx_examples {

/// The pieces that GPT-2's pattern
///     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
/// cuts UTF-8 text into; together they are the text. `text` must be well-formed.
std::vector<std::string_view> split_as_gpt2(std::string_view text);

/// An immutable value; any number of threads may use one.
class byte_pair_tokenizer {
 public:
  static constexpr token_id no_limit = std::numeric_limits<token_id>::max();

  /// Throws file_error when the file cannot be read, asks for something that is not supported, which it
  /// names, or does not have all 256 bytes in its vocabulary, which texts could not be encoded without.
  static byte_pair_tokenizer from_tokenizer_json(std::string const& file);
  /// `root` is the whole of the file.
  static byte_pair_tokenizer from_tokenizer_json(nlohmann::json const& root, std::string const& file);

  /// The ids of UTF-8 text and of what the post-processor puts around it, at most max_tokens: the end of the
  /// text is cut off. Throws precondition_error when the text is not UTF-8 or max_tokens leaves no room.
  std::vector<token_id> encode(std::string_view text, token_id max_tokens = no_limit,
                               special_tokens special = special_tokens::with) const;

  /// The bytes that were encoded, exactly, unless the file asks for a blank before the text or for added
  /// tokens that take white space with them. Some ids alone may not be UTF-8: characters have several bytes.
  /// Throws precondition_error for an id without a token.
  std::string decode(std::span<token_id const> ids, special_tokens special = special_tokens::with) const;

  token_id vocabulary_size() const { return tokens_.size(); }
  /// In the file's spelling: a blank is "Ġ".
  vocabulary const& tokens() const { return tokens_; }

 private:
  struct merge {
    std::uint32_t rank;
    token_id to;
  };

  byte_pair_tokenizer() = default;
  void read_model(json_fields& model);
  void read_merges(json_fields& model);
  void append_piece(std::vector<token_id>& out, std::string_view bytes) const;
  void append_merged(std::vector<token_id>& out, std::string_view bytes) const;

  vocabulary tokens_;               // the model's and the added ones
  vocabulary model_;                // those that a piece is made of
  std::vector<std::string> bytes_;  // that an id stands for
  added_tokens added_;
  text_frame frame_;
  std::array<token_id, 256> byte_ids_{};
  std::unordered_map<std::uint64_t, merge> merges_;  // of left << 32 | right
  bool prefix_blank_ = false, use_pattern_ = true, whole_pieces_ = false;
};

/// Each byte is its own id. Any bytes are a text.
class byte_tokenizer {
 public:
  std::vector<token_id> encode(std::string_view text,
                               token_id max_tokens = byte_pair_tokenizer::no_limit) const;
  /// Throws precondition_error for an id that is not in [0, 256).
  std::string decode(std::span<token_id const> ids) const;
  token_id vocabulary_size() const { return 256; }
};

}  // namespace smx_examples
