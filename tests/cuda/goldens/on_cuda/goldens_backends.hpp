// SPDX-License-Identifier: Apache-2.0
/// \file  Where the families run: on the GPU (or its emulator), in double and single precision.
#pragma once

#include <cstring>
#include <string>

#include "tests/cuda/device.cuh"

namespace goldens {

template <class F> void for_each_backend(F const& f) {
  f("cuda", [] { return smx::cuda(); });
}

inline std::string missing_backend() {
  int count = 0;
  cudaError_t const status = cudaGetDeviceCount(&count);
  return status != cudaSuccess ? cudaGetErrorString(status) : count == 0 ? "no GPU" : "";
}

inline smx::memory<smx::host_space> shared_memory() { return smx::pinned_memory(); }

/// Copies from the host to memory of a backend, and back; done when they return. Families ask for results
/// without waiting for the backend that is still at them, whose stream the copies do not wait for.
template <class Space> struct transfer : smx::testing::transfer<Space> {
  static void out(void* here, void const* there, std::size_t bytes) {
    smx::cuda_kernels::check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    smx::testing::transfer<Space>::out(here, there, bytes);
  }
};
template <> struct transfer<smx::host_space> {
  static void in(void* there, void const* here, std::size_t bytes) { std::memcpy(there, here, bytes); }
  static void out(void* here, void const* there, std::size_t bytes) { std::memcpy(here, there, bytes); }
};

}  // namespace goldens
