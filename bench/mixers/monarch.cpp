// SPDX-License-Identifier: Apache-2.0
#include <bench/mixer_rows.hpp>
#include <smx/mixers/monarch.hpp>

void bench::add_monarch(std::vector<row>& rows, int threads) {
  using work = job<smx::monarch<float>>;
  for (index_t length : curve_lengths()) {
    std::vector<smx::extents<4>> const x{{1, 1, length, curve_dim}};
    add_rows(rows, "monarch", "order-2", length, curve_dim, work{{.length = length}, x}, threads);
    add_rows(rows, "monarch", "order-3", length, curve_dim, work{{.length = length, .order = 3}, x}, threads);
  }
  // As a linear layer: 4096 channels of 4096 tokens.
  add_rows(rows, "monarch", "channels", 4096, 4096,
           work{{.length = 4096, .axis = smx::axis::channels}, {{1, 1, 4096, 4096}}}, threads);
}
