// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/mask_memory.hpp"
#include "tests/cuda/device.cuh"
#include "tests/cuda/harness.hpp"

std::string test::missing_device() {
  int count = 0;
  cudaError_t const status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) return std::string("no usable GPU: ") + cudaGetErrorString(status);
  return count > 0 ? "" : "no GPU";
}

void test::prepare() { mask_memory = smx::pinned_memory(); }
