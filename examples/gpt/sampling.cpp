// SPDX-License-Identifier: Apache-2.0
#include <examples/gpt/sampling.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <examples/common/training/loop_options.hpp>
#include <smx/core/check.hpp>

namespace smx_examples {

void check_sampling(sampling const& how) {
  expects_number(how.temperature >= 0 && std::isfinite(how.temperature), "temperature",
                 "0 or a positive number", how.temperature);
  smx::expects_value(how.top_k >= 0, "top-k", "0 (all) or a number of tokens", how.top_k);
  expects_number(how.top_p > 0 && how.top_p <= 1, "top-p", "a share above 0 and up to 1", how.top_p);
}

smx::index_t choose_token(std::span<float const> logits, sampling const& how, double uniform) {
  if (how.temperature == 0)
    return static_cast<smx::index_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  if (how.top_k > 0 && static_cast<std::size_t>(how.top_k) < order.size())
    order.resize(static_cast<std::size_t>(how.top_k));
  std::vector<double> share(order.size());
  double sum = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    double const above = static_cast<double>(logits[order[i]]) - static_cast<double>(logits[order[0]]);
    sum += share[i] = std::exp(above / how.temperature);
  }
  double kept = 0;
  std::size_t count = 0;
  while (count < order.size() && (count == 0 || kept < how.top_p * sum)) kept += share[count++];
  double left = uniform * kept;
  for (std::size_t i = 0; i < count; ++i)
    if ((left -= share[i]) < 0) return static_cast<smx::index_t>(order[i]);
  return static_cast<smx::index_t>(order[count - 1]);
}

}  // namespace smx_examples
