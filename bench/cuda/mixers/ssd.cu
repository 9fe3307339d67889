// SPDX-License-Identifier: Apache-2.0
// SSD at Mamba-2's shapes: 24 and 80 heads of 64, N = 128, one group.
#include <bench/cuda/mixer_rows.cuh>
#include <smx/mixers/ssd.hpp>

void bench::add_ssd(std::vector<gpu_row>& rows) {
  using mixer = smx::ssd<float>;
  constexpr index_t head_dim = 64, states = 128;
  auto const inputs = [](index_t heads, index_t length) {
    return std::vector<smx::extents<4>>{
        {1, heads, length, head_dim}, {1, heads, length, 1}, {1, 1, length, states}, {1, 1, length, states}};
  };
  auto const add = [&](index_t heads, index_t length, pass which, cuda_operands how) {
    add_both(rows, "ssd", "heads-" + std::to_string(heads), length, heads * head_dim,
             job<mixer>{{.heads = heads}, inputs(heads, length), which}, how);
  };
  for (index_t length : powers(1024, longest)) {
    add(24, length, pass::forward, cuda_operands::f32);
    add(80, length, pass::forward, cuda_operands::f32);
  }
  for (index_t length : sparse_lengths()) {
    add(24, length, pass::both, cuda_operands::f32);
    for (cuda_operands how : {cuda_operands::tf32, cuda_operands::bf16})
      for (index_t heads : {24, 80}) add(heads, length, pass::forward, how);
  }
  for (index_t heads : {24, 80}) {
    mixer const m{.heads = heads};
    std::string const variant = "heads-" + std::to_string(heads);
    add_step<true>(rows, "ssd", variant, 4096, heads * head_dim, m, inputs(heads, 4096));
    add_step<false>(rows, "ssd", variant, 4096, heads * head_dim, m, inputs(heads, 4096));
  }
}
