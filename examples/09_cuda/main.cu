// SPDX-License-Identifier: Apache-2.0
// The GPU: one function, run by the double-precision reference on the host and by smx::cuda, which is the
// only line that differs. Copies are explicit; the plan says what will be launched before anything runs.
#include <smx/smx.hpp>

#include <cmath>
#include <cstdio>
#include <exception>

#include <smx/backend/cuda.cuh>

// Knows nothing about its backend; seeds give the same numbers on each of them.
template <class B> auto mix_a_sequence(B& be) {
  smx::attention<float, smx::causal_mask> const mix;
  auto x = smx::random_normal<float>(be, {1, 4, 300, 32}, /*seed*/ 2);  // (B,H,L,D)
  return smx::forward(be, mix, {}, x, x, x);                            // (B,H,L,D)
}

int main() try {
  try {
    smx::cuda{};
  } catch (smx::backend_error const& e) {  // no device, or too old a driver
    std::printf("skipped: %s\n", e.what());
    return 77;
  }
  smx::cuda be;
  smx::reference_backend host;
  auto const y = smx::download(be, mix_a_sequence(be));  // waits
  auto const y_host = mix_a_sequence(host);
  double worst = 0;
  for (smx::index_t i = 0; i < y.size(); ++i)
    worst =
        std::fmax(worst, std::fabs(static_cast<double>(y.data()[i]) - static_cast<double>(y_host.data()[i])));
  std::printf("cuda against the reference: largest difference %.2g\n", worst);

  // Gradients, of a Monarch matrix; g.w and g.x are on the device.
  smx::monarch<float> const mix{.length = 4096};
  auto w = smx::initialize(be, mix, 1);
  auto x = smx::random_normal<float>(be, {2, 1, 4096, 64}, 2);  // (B,H,L,D)
  auto g = smx::gradients(be, mix, w, x, smx::forward(be, mix, w, x));
  auto const plan = smx::plan(be, mix, x.extents());
  std::printf("%s", plan.text().c_str());
  std::printf("dx(0,0,0,0) = %g\n", static_cast<double>(smx::download(be, g.x)(0, 0, 0, 0)));

  // A row of softmax is a convex combination: |y| <= max |x|; both sides round sums of 300 terms of it.
  return worst <= 300 * 0x1p-23 * 6 ? 0 : 1;
} catch (std::exception const& e) {
  std::fprintf(stderr, "error: %s\n", e.what());
  return 1;
}
