// SPDX-License-Identifier: Apache-2.0
/// \file  What tests need of the device: copies for smx::testing::mirror.
#pragma once

#include <smx/backend/cuda.cuh>
#include <smx/testing/mirror.hpp>

template <> struct smx::testing::transfer<smx::device_space> {
  static memory<device_space> source() { return device_memory(); }
  /// From pageable memory cudaMemcpy returns before the last bytes have arrived; streams of backends do not
  /// wait for the legacy stream.
  static void in(void* there, void const* here, std::size_t bytes) {
    cuda_kernels::check(cudaMemcpy(there, here, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
    cuda_kernels::check(cudaStreamSynchronize(cudaStreamLegacy), "cudaStreamSynchronize");
  }
  static void out(void* here, void const* there, std::size_t bytes) {
    cuda_kernels::check(cudaMemcpy(here, there, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
  }
};
