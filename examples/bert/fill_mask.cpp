// SPDX-License-Identifier: Apache-2.0
#include <examples/bert/fill_mask.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace smx_examples {

std::vector<filled_mask> fill_masks(smx::cpu& be, any_bert& bert, wordpiece_tokenizer const& tokens,
                                    std::string const& text, index_t count) {
  smx::expects(bert.config.head, "fill-mask: expected a model with a masked-LM head, got one without");
  smx::expects(tokens.mask().has_value(), "fill-mask: expected a tokenizer with [MASK], got one without");
  smx::expects_value(count >= 1, "guesses", "at least 1", count);
  index_t const longest = longest_sequence(bert.config);
  std::vector<index_t> ids = tokens.encode(text, longest);
  std::vector<index_t> const lengths{static_cast<index_t>(ids.size())};
  std::vector<filled_mask> masks;
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] == *tokens.mask()) masks.push_back({static_cast<index_t>(i), {}});
  smx::expects(!masks.empty(), "fill-mask: expected a text with [MASK], got one without (or it was cut off)");
  if (bert.monarch()) ids.resize(static_cast<std::size_t>(longest), tokens.padding().value_or(0));
  auto const length = static_cast<index_t>(ids.size());
  std::visit(
      [&](auto& loaded) {
        index_t const words = loaded.model.vocabulary;
        smx::tensor<float, 4> h(loaded.model.rows_extents({1, length})), scores({1, 1, 1, words});
        loaded.encode(be, {ids.data(), {1, length}}, lengths, h.view());
        for (filled_mask& mask : masks) {
          loaded.model.template logits<smx::cpu>(be, loaded.weights.read(),
                                                 smx::slice(h.cview(), 2, mask.place, 1), {}, scores.view());
          be.synchronize();
          float const* const z = scores.data();
          double const most = *std::max_element(z, z + words);
          double const sum =
              std::accumulate(z, z + words, 0.0, [&](double s, float x) { return s + std::exp(x - most); });
          std::vector<index_t> order(static_cast<std::size_t>(words));
          std::iota(order.begin(), order.end(), index_t{0});
          auto const best = order.begin() + std::min(count, words);
          std::partial_sort(order.begin(), best, order.end(),
                            [&](index_t a, index_t b) { return z[a] > z[b]; });
          std::for_each(order.begin(), best, [&](index_t id) {
            std::string const* const token = tokens.tokens().find_token(id);
            mask.guesses.push_back({token != nullptr ? *token : "", id, std::exp(z[id] - most) / sum});
          });
        }
      },
      bert.model);
  return masks;
}

}  // namespace smx_examples
