// SPDX-License-Identifier: Apache-2.0
#include <smx/backend/cpu.hpp>
#include <smx/smx.hpp>

smx::index_t use(smx::cpu_backend<>& be, smx::monarch<float> const& mixer, smx::tensor<float, 4> const& x) {
  auto const w = smx::initialize(be, mixer, 1);
  auto const y = smx::forward(be, mixer, w, x);
  auto const g = smx::gradients(be, mixer, w, x, y);
  return g.x.size();
}
