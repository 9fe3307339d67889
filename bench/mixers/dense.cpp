// SPDX-License-Identifier: Apache-2.0
#include <bench/mixer_rows.hpp>
#include <smx/mixers/dense.hpp>

void bench::add_dense(std::vector<row>& rows, int threads) {
  for (index_t length : curve_lengths())
    add_rows(rows, "dense", "full", length, curve_dim,
             job<smx::dense<float>>{{.length = length}, {{1, 1, length, curve_dim}}}, threads);
}
