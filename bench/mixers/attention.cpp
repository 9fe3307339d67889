// SPDX-License-Identifier: Apache-2.0
#include <array>

#include <bench/mixer_rows.hpp>
#include <smx/mixers/attention.hpp>

namespace {

/// 0, 1024, 2048, ...: the starts of segments of 1024 tokens, of as many as a length has.
constexpr std::array<bench::index_t, 33> segment_starts = [] {
  std::array<bench::index_t, 33> starts{};
  for (std::size_t s = 0; s < starts.size(); ++s) starts[s] = 1024 * static_cast<bench::index_t>(s);
  return starts;
}();

}  // namespace

void bench::add_attention(std::vector<row>& rows, int threads) {
  constexpr index_t heads = 12;
  for (index_t length : curve_lengths()) {
    std::vector const qkv(3, smx::extents<4>{1, heads, length, curve_dim / heads});
    add_rows(rows, "attention", "full", length, curve_dim, job<smx::attention<float>>{{}, qkv}, threads);
    add_rows(rows, "attention", "causal", length, curve_dim,
             job<smx::attention<float, smx::causal_mask>>{{}, qkv}, threads);
    add_rows(
        rows, "attention", "causal-alibi", length, curve_dim,
        job<smx::attention<float, smx::causal_mask, smx::modified_scores>>{{.scores = {.alibi = 8}}, qkv},
        threads);
    if (length >= 1024)
      add_rows(rows, "attention", "causal-window-512", length, curve_dim,
               job<smx::attention<float, smx::window_mask>>{{.mask = {512}}, qkv}, threads);
    if (length % 1024 == 0)
      add_rows(
          rows, "attention", "packed-1024", length, curve_dim,
          job<smx::attention<float, smx::packed_mask>>{{.mask = {segment_starts.data(), length / 1024}}, qkv},
          threads);
  }
}
