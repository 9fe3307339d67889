// SPDX-License-Identifier: Apache-2.0
#include <bench/cuda/mixer_rows.cuh>
#include <smx/mixers/causal_monarch.hpp>

void bench::add_causal_monarch(std::vector<gpu_row>& rows) {
  using mixer = smx::causal_monarch<float>;
  auto const of = [](index_t length) {
    mixer m{};
    m.channels = curve_dim;
    m.length = length;
    return m;
  };
  for (pass which : {pass::forward, pass::both})
    for (index_t length : sparse_lengths())
      add_both(rows, "causal_monarch", "causal-order-2", length, curve_dim,
               job<mixer>{of(length), {{1, 1, length, curve_dim}}, which});
  add_step<true>(rows, "causal_monarch", "causal-order-2", 4096, curve_dim, of(4096),
                 {{1, 1, 4096, curve_dim}});
}
