// SPDX-License-Identifier: Apache-2.0
#include "examples/common/text/added_tokens.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include <smx/core/check.hpp>

#include "examples/common/text/unicode.hpp"

namespace smx_examples {
namespace {

/// Where the white space at the end of `text` begins. Continuation bytes are 10xxxxxx.
std::size_t trimmed_size(std::string_view text) {
  while (!text.empty()) {
    std::size_t last = text.size() - 1;
    while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    if (!is_whitespace(first_code_point(text.substr(last)).value)) break;
    text = text.substr(0, last);
  }
  return text.size();
}

std::size_t leading_space(std::string_view text) {
  std::size_t bytes = 0;
  while (bytes < text.size()) {
    code_point const c = first_code_point(text.substr(bytes));
    if (!is_whitespace(c.value)) break;
    bytes += c.bytes;
  }
  return bytes;
}

}  // namespace

void added_tokens::add(added_token token, std::string pattern) {
  if (pattern.empty())
    throw smx::precondition_error("added token " + std::to_string(token.id) +
                                  ": expected a text, got nothing");
  std::size_t const index = tokens_.size(), size = pattern.size();
  auto& sizes = sizes_[static_cast<unsigned char>(pattern[0])];
  if (!by_content_.emplace(token.content, index).second || !by_id_.emplace(token.id, index).second ||
      !by_pattern_[token.normalised].emplace(std::move(pattern), index).second)
    throw smx::precondition_error("added token '" + token.content + "' is there twice");
  if (auto const at = std::ranges::lower_bound(sizes, size, std::greater<>{});
      at == sizes.end() || *at != size)
    sizes.insert(at, size);
  tokens_.push_back(std::move(token));
}

added_tokens::found_token added_tokens::match(std::string_view text, bool normalised) const {
  for (std::size_t const size : sizes_[static_cast<unsigned char>(text[0])]) {
    if (size > text.size()) continue;
    auto const at = by_pattern_[normalised].find(text.substr(0, size));
    if (at != by_pattern_[normalised].end()) return {&tokens_[at->second], size};
  }
  return {nullptr, 0};
}

std::vector<text_part> added_tokens::split(std::string_view text, bool normalised) const {
  std::vector<text_part> parts;
  std::size_t begin = 0;  // of the text that no part has yet
  for (std::size_t at = 0; at < text.size();) {
    auto const [found, size] = match(text.substr(at), normalised);
    if (found == nullptr) {
      ++at;
      continue;
    }
    std::size_t const end = at + size;
    std::size_t const stop = end + (found->strip_right ? leading_space(text.substr(end)) : 0);
    std::size_t const start = found->strip_left ? begin + trimmed_size(text.substr(begin, at - begin)) : at;
    if (start > begin) parts.push_back({text.substr(begin, start - begin), nullptr});
    parts.push_back({text.substr(start, stop - start), found});
    begin = at = stop;
  }
  if (begin < text.size()) parts.push_back({text.substr(begin), nullptr});
  return parts;
}

added_token const* added_tokens::find(token_id id) const {
  auto const at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : &tokens_[at->second];
}

}  // namespace smx_examples
