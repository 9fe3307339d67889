// SPDX-License-Identifier: Apache-2.0
#include <bench/mixer_rows.hpp>
#include <smx/mixers/attention.hpp>

void bench::add_attention(std::vector<row>& rows, int threads) {
  constexpr index_t heads = 12;
  for (index_t length : curve_lengths()) {
    std::vector const inputs(3, smx::extents<4>{1, heads, length, curve_dim / heads});  // q, k, v
    add_rows(rows, "attention", "full", length, curve_dim, smx::attention<float>{}, inputs, threads);
    add_rows(rows, "attention", "causal", length, curve_dim, smx::attention<float, smx::causal_mask>{},
             inputs, threads);
  }
}
