// SPDX-License-Identifier: Apache-2.0
/// \file  Rows of attention under one mask: 12 heads of 64 and 6 of 128, all operand precisions.
#pragma once

#include <bench/cuda/mixer_rows.cuh>
#include <smx/mixers/attention.hpp>

namespace bench {

template <class Mask> void add_attention_rows(std::vector<gpu_row>& rows, std::string const& mask) {
  using mixer = smx::attention<float, Mask>;
  constexpr index_t most = 32768;
  for (index_t dim : {64, 128}) {
    std::string const variant = dim == 64 ? mask : mask + "-d128";
    auto const work = [&](index_t length, pass which) {
      return job<mixer>{{}, std::vector(3, smx::extents<4>{1, curve_dim / dim, length, dim}), which};
    };
    auto const add = [&](index_t length, pass which, cuda_operands how) {
      add_row<true>(rows, "attention", variant, length, curve_dim, work(length, which), how);
    };
    auto const add_recipe = [&](index_t length, pass which, cuda_operands how) {
      add_row<false>(rows, "attention", variant, length, curve_dim, work(length, which), how);
    };
    for (index_t length : powers(1024, most))
      for (cuda_operands how :
           {cuda_operands::f32, cuda_operands::tf32, cuda_operands::bf16, cuda_operands::f16})
        add(length, pass::forward, how);
    for (index_t length : powers(2048, most, 4)) {
      for (cuda_operands how : {cuda_operands::f32, cuda_operands::bf16})
        add_recipe(length, pass::forward, how);
      for (cuda_operands how : {cuda_operands::f32, cuda_operands::bf16}) add(length, pass::both, how);
    }
    add_recipe(8192, pass::both, cuda_operands::f32);
    if constexpr (mixer::about.streaming)
      for (index_t length : powers(2048, most, 4)) {
        add_step<true>(rows, "attention", variant, length, curve_dim, mixer{},
                       work(length, pass::forward).inputs);
        add_step<false>(rows, "attention", variant, length, curve_dim, mixer{},
                        work(length, pass::forward).inputs);
      }
  }
}

}  // namespace bench
