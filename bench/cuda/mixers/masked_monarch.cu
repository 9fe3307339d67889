// SPDX-License-Identifier: Apache-2.0
#include <bench/cuda/mixer_rows.cuh>
#include <smx/mixers/masked_monarch.hpp>

void bench::add_masked_monarch(std::vector<gpu_row>& rows) {
  using mixer = smx::masked_monarch<float>;
  auto const of = [](index_t length) {
    mixer m{};
    m.channels = curve_dim;
    m.length = length;
    return m;
  };
  for (pass which : {pass::forward, pass::both})
    for (index_t length : sparse_lengths())
      add_both(rows, "masked_monarch", "causal", length, curve_dim,
               job<mixer>{of(length), {{1, 1, length, curve_dim}}, which});
  add_step<true>(rows, "masked_monarch", "causal", 4096, curve_dim, of(4096), {{1, 1, 4096, curve_dim}});
}
