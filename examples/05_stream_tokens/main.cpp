// SPDX-License-Identifier: Apache-2.0
// Token by token: a prompt at once, then one token after another. The rows are those of forward over the
// whole sequence, up to rounding, and the state has the size of what may still come.
#include <smx/smx.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <smx/backend/cpu.hpp>

namespace sizes {
constexpr smx::index_t length = 300, prompt = 200, channels = 32;
}
using tokens = smx::view<double const, 4, smx::host_space>;  // (B,H,n,D)

tokens rows(smx::tensor<double, 4> const& x, smx::index_t first, smx::index_t count) {
  return smx::slice(x.cview(), 2, first, count);
}

// Streams x... through `mix` and compares with forward over all of it.
template <class M, class W, class... X>
bool stream_and_compare(smx::cpu& be, M const& mix, W const& w, X const&... x) {
  auto const whole = smx::forward(be, mix, w, x...);  // (B,H,L,E)

  smx::stream s(be, mix, w, /*capacity*/ sizes::length);
  double worst = 0, largest = 0;
  auto const compare = [&](smx::tensor<double, 4> const& y, smx::index_t first) {
    for (smx::index_t i = 0; i < y.extents()[2]; ++i)
      for (smx::index_t e = 0; e < y.extents()[3]; ++e) {
        worst = std::max(worst, std::fabs(y(0, 0, i, e) - whole(0, 0, first + i, e)));
        largest = std::max(largest, std::fabs(whole(0, 0, first + i, e)));
      }
  };
  compare(s.prefill(rows(x, 0, sizes::prompt)...), 0);
  for (smx::index_t t = sizes::prompt; t < sizes::length; ++t) compare(s.step(rows(x, t, 1)...), t);

  std::printf("%-22s state %7zu bytes, largest difference %.2e of %.2f\n", M::about.name.data(), s.bytes(),
              worst, largest);
  // One more token does not fit, and the state says so instead of growing behind your back.
  try {
    s.step(rows(x, 0, 1)...);
    return false;
  } catch (smx::precondition_error const& e) { std::printf("  %s\n", e.what()); }
  // Both are off the exact sums by at most some 300 roundings of 1.1e-16, of sums that here stay within 10
  // times the largest entry.
  return worst <= 1e-12 * largest;
}

int main() {
  smx::cpu be;
  auto const random = [&](std::uint64_t seed) {
    return smx::random_normal<double>(be, {1, 1, sizes::length, sizes::channels}, seed);
  };

  // Attention keeps the keys and values of all tokens: (D + E) x capacity numbers.
  smx::attention<double, smx::causal_mask> const attention;
  bool ok =
      stream_and_compare(be, attention, smx::initialize(be, attention, 0), random(1), random(2), random(3));

  // A convolution as long as the sequence keeps what the prompt gives to the outputs to come, O(capacity -
  // prompt) numbers a channel: no cache of the past. A step costs O(log^2) amortised, not O(t).
  smx::long_convolution<double> const conv{.channels = sizes::channels, .taps = sizes::length};
  ok &= stream_and_compare(be, conv, smx::initialize(be, conv, 4), random(5));
  return ok ? 0 : 1;
}
