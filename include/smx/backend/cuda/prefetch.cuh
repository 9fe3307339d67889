// SPDX-License-Identifier: Apache-2.0
/// \file  A hint that memory will be read soon.
#pragma once

#include <cuda_runtime.h>

namespace smx::cuda_kernels {

/// Fetches the line of 128 bytes at `global` into the L2 cache.
__device__ __forceinline__ void prefetch_line(void const* global) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
}

}  // namespace smx::cuda_kernels
