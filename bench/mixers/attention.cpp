// SPDX-License-Identifier: Apache-2.0
#include <bench/mixer_rows.hpp>
#include <smx/mixers/attention.hpp>

void bench::add_attention(std::vector<row>& rows, int threads) {
  constexpr index_t heads = 12;
  for (index_t length : curve_lengths()) {
    std::vector const qkv(3, smx::extents<4>{1, heads, length, curve_dim / heads});
    add_rows(rows, "attention", "full", length, curve_dim, job<smx::attention<float>>{{}, qkv}, threads);
    add_rows(rows, "attention", "causal", length, curve_dim,
             job<smx::attention<float, smx::causal_mask>>{{}, qkv}, threads);
  }
}
