// SPDX-License-Identifier: Apache-2.0
#include <bench/mixer_rows.hpp>
#include <smx/mixers/causal_monarch.hpp>
#include <smx/mixers/masked_monarch.hpp>

void bench::add_causal_monarch(std::vector<row>& rows, int threads) {
  auto const add = [&]<class M>(char const* name, char const* variant, index_t length, M mixer) {
    mixer.channels = curve_dim;
    mixer.length = length;
    add_rows(rows, name, variant, length, curve_dim,
             job<M>{mixer, {{1, 1, length, curve_dim}}, pass::forward, layout::token_major}, threads);
  };
  using causal = smx::causal_monarch<float>;
  using exact = smx::causal_monarch<float, smx::evaluation::exact>;
  for (index_t length : curve_lengths()) {
    add("causal_monarch", "causal-order-2", length, causal{});
    add("causal_monarch", "causal-order-3", length, causal{.order = 3});
    add("causal_monarch", "causal-exact", length, exact{});
    add("chebyshev_monarch", "causal", length, smx::chebyshev_monarch<float>{});
    add("masked_monarch", "causal", length, smx::masked_monarch<float>{});
  }
}
