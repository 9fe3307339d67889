// SPDX-License-Identifier: Apache-2.0
/// \file  The tokenizer of BERT: WordPiece (Schuster and Nakajima 2012) after BERT's normalisation, with the
/// ids that Hugging Face's `tokenizers` gives.
///
/// A text is cut at added tokens, normalised, and cut at white space and around punctuation. Each word is the
/// longest vocabulary entry that it begins with, and so on with the rest, whose entries begin with "##"; a
/// word that this does not cover, or with more than 100 characters, is [UNK]. Cost: O(w^2) look-ups for a
/// word of w characters, 50 ns a byte of English.
#pragma once

#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/common/text/tokenizer_file.hpp"

namespace smx_examples {

/// An immutable value; any number of threads may use one.
class wordpiece_tokenizer {
 public:
  static constexpr token_id no_limit = std::numeric_limits<token_id>::max();

  /// One token a line, its number the id; [UNK], [CLS] and [SEP] must be there. [PAD] and [MASK], where
  /// there, are recognised inside texts as those three are. Throws file_error when the file cannot be read,
  /// is not UTF-8, or has an empty line or a token twice.
  static wordpiece_tokenizer from_vocabulary_file(std::string const& file, bert_normalizer const& = {});

  /// Throws file_error when the file cannot be read or asks for something that is not supported, which it
  /// names.
  static wordpiece_tokenizer from_tokenizer_json(std::string const& file);
  /// `root` is the whole of the file.
  static wordpiece_tokenizer from_tokenizer_json(nlohmann::json const& root, std::string const& file);

  /// The ids of UTF-8 text, [CLS] and [SEP] around it. What is beyond max_tokens, these included, is cut off
  /// before [SEP]. Throws precondition_error when the text is not UTF-8 or max_tokens leaves no room for the
  /// special ones.
  std::vector<token_id> encode(std::string_view text, token_id max_tokens = no_limit,
                               special_tokens special = special_tokens::with) const;

  /// The tokens with blanks between words, and none before most punctuation, as `tokenizers` decodes. What
  /// normalisation took away is lost. Throws precondition_error for an id without a token.
  std::string decode(std::span<token_id const> ids, special_tokens special = special_tokens::without) const;

  token_id vocabulary_size() const { return tokens_.size(); }
  vocabulary const& tokens() const { return tokens_; }
  bert_normalizer const& normaliser() const { return normaliser_; }
  token_id unknown() const { return unknown_; }
  /// [PAD], or nullopt; [MASK].
  std::optional<token_id> padding() const { return tokens_.find("[PAD]"); }
  std::optional<token_id> mask() const { return tokens_.find("[MASK]"); }

 private:
  wordpiece_tokenizer() = default;
  void append_words(std::vector<token_id>& out, std::string_view text, std::size_t limit) const;
  void append_pieces(std::vector<token_id>& out, std::string_view word, std::size_t characters) const;

  vocabulary tokens_;  // the model's and the added ones
  vocabulary model_;   // those that a word is made of
  added_tokens added_;
  text_frame frame_;
  bert_normalizer normaliser_;
  std::string prefix_ = "##", decoder_prefix_ = "##";
  std::size_t max_characters_ = 100;
  token_id unknown_ = 0;
  bool clean_up_ = true;
};

}  // namespace smx_examples
