// SPDX-License-Identifier: Apache-2.0
// Dense is cuBLAS on the GPU: it has no tuned kernel and no recipe beside it.
#include <bench/cuda/mixer_rows.cuh>
#include <smx/mixers/dense.hpp>

void bench::add_dense(std::vector<gpu_row>& rows) {
  using mixer = smx::dense<float>;
  auto const add = [&](index_t length, pass which, cuda_operands how) {
    add_row<true>(rows, "dense", "full", length, curve_dim,
                  job<mixer>{{.length = length}, {{1, 1, length, curve_dim}}, which}, how);
  };
  // A matrix of 65536 x 65536 takes 17 GB.
  for (index_t length : powers(1024, 65536)) add(length, pass::forward, cuda_operands::f32);
  for (index_t length : sparse_lengths(16384)) add(length, pass::both, cuda_operands::f32);
  for (index_t length : sparse_lengths(65536))
    for (cuda_operands how : {cuda_operands::tf32, cuda_operands::bf16}) add(length, pass::forward, how);
}
