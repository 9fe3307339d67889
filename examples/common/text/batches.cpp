// SPDX-License-Identifier: Apache-2.0
#include "examples/common/text/batches.hpp"

#include <algorithm>
#include <numeric>
#include <string>

#include <smx/core/check.hpp>

namespace smx_examples {

std::vector<token_batch> make_batches(std::span<std::vector<token_id> const> texts,
                                      token_id max_padded_tokens, token_id padding) {
  smx::expects_value(max_padded_tokens >= 1, "max_padded_tokens", "at least 1", max_padded_tokens);
  auto const limit = static_cast<std::size_t>(max_padded_tokens);
  for (std::size_t i = 0; i < texts.size(); ++i)
    if (texts[i].empty() || texts[i].size() > limit)
      throw smx::precondition_error("texts[" + std::to_string(i) + "]: expected 1 to " +
                                    std::to_string(limit) + " tokens, got " +
                                    std::to_string(texts[i].size()));
  std::vector<std::size_t> order(texts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order,
                           [&](std::size_t a, std::size_t b) { return texts[a].size() > texts[b].size(); });

  std::vector<token_batch> batches;
  for (std::size_t first = 0; first < order.size();) {
    std::size_t const length = texts[order[first]].size();
    std::size_t const rows = std::min(limit / length, order.size() - first);
    token_batch& batch = batches.emplace_back();
    batch.length = static_cast<token_id>(length);
    batch.ids.assign(rows * length, padding);
    for (std::size_t r = 0; r < rows; ++r) {
      auto const& ids = texts[order[first + r]];
      batch.texts.push_back(order[first + r]);
      batch.lengths.push_back(static_cast<token_id>(ids.size()));
      std::ranges::copy(ids, batch.ids.begin() + static_cast<std::ptrdiff_t>(r * length));
    }
    first += rows;
  }
  return batches;
}

}  // namespace smx_examples
