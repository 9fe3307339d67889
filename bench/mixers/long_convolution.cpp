// SPDX-License-Identifier: Apache-2.0
#include <bench/mixer_rows.hpp>
#include <smx/mixers/long_convolution.hpp>

void bench::add_long_convolution(std::vector<row>& rows, int threads) {
  // Kernels as long as the sequence; no skip term and no gates, which is what the peers do.
  auto const add = [&]<class M>(char const* variant, index_t length, M mixer, layout order) {
    mixer.channels = curve_dim;
    mixer.taps = length;
    mixer.skip = false;
    add_rows(rows, "long_convolution", variant, length, curve_dim,
             job<M>{mixer, {{1, 1, length, curve_dim}}, pass::forward, order}, threads);
  };
  using causal = smx::long_convolution<float>;
  using exact = smx::long_convolution<float, smx::convolution_kind::causal, smx::evaluation::exact>;
  using bidirectional = smx::long_convolution<float, smx::convolution_kind::bidirectional>;
  for (index_t length : curve_lengths()) {
    add("causal", length, causal{}, layout::token_major);
    add("causal-exact", length, exact{}, layout::token_major);
    add("bidirectional", length, bidirectional{}, layout::token_major);
  }
  for (index_t length : {1024, 4096, 8192, 16384, 32768})
    add("causal-channel-major", length, causal{}, layout::channel_major);
}
