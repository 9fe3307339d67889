// SPDX-License-Identifier: Apache-2.0
/// \file  Tokens and their numbers, both ways. One hash look-up or one index.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <smx/core/extents.hpp>

namespace smx_examples {

/// The type that smx's embedding takes.
using token_id = smx::index_t;

/// Whether the special tokens ([CLS], [SEP], <|endoftext|>, ...) are part of the result.
enum class special_tokens { with, without };

struct text_hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};
/// From texts, found by std::string_view too.
template <class T> using text_map = std::unordered_map<std::string, T, text_hash, std::equal_to<>>;

class vocabulary {
 public:
  /// Ids below this; a file with a larger one is damaged, and would cost memory. The largest in use are 256k.
  static constexpr token_id max_size = token_id{1} << 24;

  /// Throws precondition_error when the token or its id is taken, or the id is not in [0, max_size).
  void add(std::string token, token_id id);

  std::optional<token_id> find(std::string_view token) const {
    auto const at = ids_.find(token);
    return at == ids_.end() ? std::nullopt : std::optional(at->second);
  }
  /// As find; throws precondition_error naming the token when it is not there.
  token_id at(std::string_view token) const;
  /// Throws precondition_error when no token has this id.
  std::string const& token(token_id id) const;
  /// As token; nullptr when there is none.
  std::string const* find_token(token_id id) const;

  /// The largest id and 1: the rows of an embedding. Ids in between may have no token.
  token_id size() const { return static_cast<token_id>(tokens_.size()); }
  /// Bytes of the longest token.
  std::size_t longest() const { return longest_; }

 private:
  text_map<token_id> ids_;
  std::vector<std::optional<std::string>> tokens_;
  std::size_t longest_ = 0;
};

}  // namespace smx_examples
