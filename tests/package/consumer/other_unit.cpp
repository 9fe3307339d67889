// SPDX-License-Identifier: Apache-2.0
#include <smx/backend/cpu.hpp>
#include <smx/core/tensor.hpp>

smx::index_t size_seen_by_the_other_unit() {
  smx::tensor<float, 2> x(smx::extents{2, 3});
  return x.size();
}
