// SPDX-License-Identifier: Apache-2.0
#include "examples/common/text/vocabulary.hpp"

#include <algorithm>
#include <utility>

#include <smx/core/check.hpp>

namespace smx_examples {

void vocabulary::add(std::string token, token_id id) {
  if (id < 0 || id >= max_size)
    throw smx::precondition_error("token '" + token + "': expected an id from 0 to " +
                                  std::to_string(max_size - 1) + ", got " + std::to_string(id));
  auto const index = static_cast<std::size_t>(id);
  if (index < tokens_.size() && tokens_[index])
    throw smx::precondition_error("token '" + token + "': its id " + std::to_string(id) + " is that of '" +
                                  *tokens_[index] + "'");
  auto const [at, is_new] = ids_.emplace(token, id);
  if (!is_new)
    throw smx::precondition_error("token '" + token + "' is there twice, with the ids " +
                                  std::to_string(at->second) + " and " + std::to_string(id));
  if (index >= tokens_.size()) tokens_.resize(index + 1);
  longest_ = std::max(longest_, token.size());
  tokens_[index] = std::move(token);
}

token_id vocabulary::at(std::string_view token) const {
  if (auto const id = find(token)) return *id;
  throw smx::precondition_error("the vocabulary has no token '" + std::string(token) + "'");
}

std::string const* vocabulary::find_token(token_id id) const {
  if (id < 0 || id >= size()) return nullptr;
  auto const& token = tokens_[static_cast<std::size_t>(id)];
  return token ? &*token : nullptr;
}

std::string const& vocabulary::token(token_id id) const {
  if (auto const* const token = find_token(id)) return *token;
  throw smx::precondition_error("token id: expected that of a token, below " + std::to_string(size()) +
                                ", got " + std::to_string(id));
}

}  // namespace smx_examples
