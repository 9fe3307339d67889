// SPDX-License-Identifier: Apache-2.0
#include <bench/cuda/mixer_rows.cuh>
#include <smx/mixers/long_convolution.hpp>

void bench::add_long_convolution(std::vector<gpu_row>& rows) {
  using mixer = smx::long_convolution<float>;
  // Kernels as long as the sequence; no skip term and no gates, which is what the peers do.
  auto const of = [](index_t length) {
    mixer m{};
    m.channels = curve_dim;
    m.taps = length;
    m.skip = false;
    return m;
  };
  auto const add = [&](char const* variant, index_t length, layout order, pass which, cuda_operands how) {
    add_both(rows, "long_convolution", variant, length, curve_dim,
             job<mixer>{of(length), {{1, 1, length, curve_dim}}, which, order}, how);
  };
  for (index_t length : powers(1024, longest)) {
    add("causal", length, layout::token_major, pass::forward, cuda_operands::f32);
    add("causal-channel-major", length, layout::channel_major, pass::forward, cuda_operands::f32);
  }
  for (index_t length : sparse_lengths())
    add("causal", length, layout::token_major, pass::both, cuda_operands::f32);
  add_step<true>(rows, "long_convolution", "causal", 4096, curve_dim, of(4096), {{1, 1, 4096, curve_dim}});
  add_step<false>(rows, "long_convolution", "causal", 4096, curve_dim, of(4096), {{1, 1, 4096, curve_dim}});
}
