// SPDX-License-Identifier: Apache-2.0
#include <bench/cuda/mixer_rows.cuh>
#include <smx/mixers/monarch.hpp>

void bench::add_monarch(std::vector<gpu_row>& rows) {
  using work = job<smx::monarch<float>>;
  auto const along = [](index_t length, int order, pass which) {
    return work{{.length = length, .order = order}, {{1, 1, length, curve_dim}}, which};
  };
  auto const add = [&](index_t length, int order, pass which, cuda_operands how) {
    add_both(rows, "monarch", "order-" + std::to_string(order), length, curve_dim,
             along(length, order, which), how);
  };
  for (int order : {2, 3}) {
    for (index_t length : powers(1024, longest)) add(length, order, pass::forward, cuda_operands::f32);
    for (index_t length : sparse_lengths()) {
      add(length, order, pass::both, cuda_operands::f32);
      for (cuda_operands how : {cuda_operands::tf32, cuda_operands::bf16})
        add_row<true>(rows, "monarch", "order-" + std::to_string(order), length, curve_dim,
                      along(length, order, pass::forward), how);
    }
  }
  // As a linear layer: 4096 channels of 4096 tokens.
  for (pass which : {pass::forward, pass::both})
    add_both(rows, "monarch", "channels", 4096, 4096,
             work{{.length = 4096, .axis = smx::axis::channels}, {{1, 1, 4096, 4096}}, which});
}
