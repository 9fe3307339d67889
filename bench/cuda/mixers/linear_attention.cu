// SPDX-License-Identifier: Apache-2.0
#include <bench/cuda/mixer_rows.cuh>
#include <smx/mixers/linear_attention.hpp>

void bench::add_linear_attention(std::vector<gpu_row>& rows) {
  using mixer = smx::linear_attention<float>;
  auto const inputs = [](index_t length) { return std::vector(3, smx::extents<4>{1, 12, length, 64}); };
  for (index_t length : powers(1024, longest))
    add_both(rows, "linear_attention", "heads-12", length, curve_dim, job<mixer>{{}, inputs(length)});
  for (index_t length : sparse_lengths())
    add_both(rows, "linear_attention", "heads-12", length, curve_dim,
             job<mixer>{{}, inputs(length), pass::both});
  add_step<true>(rows, "linear_attention", "heads-12", 4096, curve_dim, mixer{}, inputs(4096));
  add_step<false>(rows, "linear_attention", "heads-12", 4096, curve_dim, mixer{}, inputs(4096));
}
