// SPDX-License-Identifier: Apache-2.0
// Mixes a sequence with a Monarch matrix, and checks one channel against the formula.
#include <smx/smx.hpp>

#include <cmath>
#include <cstdio>
#include <iostream>

#include <smx/backend/cpu.hpp>

int main() {
  smx::cpu be;                                                // all cores; cpu(1) takes one
  smx::monarch<float> const mix{.length = 4096, .order = 2};  // a value: sizes and options, no memory

  // What it will cost, before anything runs. A dense matrix would take 2 L^2 flops a channel.
  smx::index_t const channels = 64;
  auto const plan = smx::plan(be, mix, smx::extents{2, 1, 4096, channels});
  std::cout << plan;
  std::printf("a dense matrix of that length takes %.0f times the flops and %.0f times the weights\n\n",
              2.0 * 2 * 4096 * 4096 * channels / plan.forward.flops,
              4096.0 * 4096 * sizeof(float) / static_cast<double>(plan.weights));

  auto const w = smx::initialize(be, mix, /*seed*/ 1);
  auto const x = smx::random_normal<float>(be, {2, 1, 4096, channels}, /*seed*/ 2);  // (B,H,L,D)
  auto const y = smx::forward(be, mix, w, x);                                        // (B,H,L,D)
  auto const g = smx::gradients(be, mix, w, x, y);  // of sum(y^2) / 2: the upstream gradient is y
  std::printf("y(0,0,0,0) = %g, dx(0,0,0,0) = %g, dfactor1(0,0,0) = %g\n", y(0, 0, 0, 0), g.x(0, 0, 0, 0),
              g.w.read().factor[1](0, 0, 0));

  // The formula, in double, for one channel. 4096 = 64 x 64: position n = 64 k + p is seen as (k, p).
  //   u[k,q] = sum_p w1[k,q,p] x[64 k + p]      64 matrices of 64 x 64, one for each k
  //   y[64 s + q] = sum_k w2[q,s,k] u[k,q]      64 more, one for each q
  auto const& w1 = w.read().factor[0];  // (k,q,p)
  auto const& w2 = w.read().factor[1];  // (q,s,k)
  smx::tensor<double, 2> u({64, 64}), size_u({64, 64});
  for (int k = 0; k < 64; ++k)
    for (int q = 0; q < 64; ++q)
      for (int p = 0; p < 64; ++p) {
        double const term = static_cast<double>(w1(k, q, p)) * static_cast<double>(x(1, 0, 64 * k + p, 7));
        u(k, q) += term, size_u(k, q) += std::fabs(term);
      }
  double worst = 0;  // error over what 128 roundings can make of sums of this size
  for (int s = 0; s < 64; ++s)
    for (int q = 0; q < 64; ++q) {
      double sum = 0, size = 0;
      for (int k = 0; k < 64; ++k) {
        sum += static_cast<double>(w2(q, s, k)) * u(k, q);
        size += std::fabs(static_cast<double>(w2(q, s, k))) * size_u(k, q);
      }
      double const allowed = 128 * 0x1p-24 * size;
      worst = std::fmax(worst, std::fabs(static_cast<double>(y(1, 0, 64 * s + q, 7)) - sum) / allowed);
    }
  std::printf("largest error: %.3f of the rounding bound\n", worst);
  return worst <= 1 ? 0 : 1;
}
