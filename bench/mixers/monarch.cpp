// SPDX-License-Identifier: Apache-2.0
#include <bench/mixer_rows.hpp>
#include <smx/mixers/monarch.hpp>

void bench::add_monarch(std::vector<row>& rows, int threads) {
  for (index_t length : curve_lengths())
    add_rows(rows, "monarch", "order-2", length, curve_dim, smx::monarch<float>{.length = length},
             {{1, 1, length, curve_dim}}, threads);
  for (index_t length : curve_lengths())
    add_rows(rows, "monarch", "order-3", length, curve_dim, smx::monarch<float>{.length = length, .order = 3},
             {{1, 1, length, curve_dim}}, threads);
  // As a linear layer: 4096 channels of 4096 tokens.
  add_rows(rows, "monarch", "channels", 4096, 4096,
           smx::monarch<float>{.length = 4096, .axis = smx::axis::channels}, {{1, 1, 4096, 4096}}, threads);
}
