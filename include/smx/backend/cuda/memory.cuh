// SPDX-License-Identifier: Apache-2.0
/// \file  Memory of the current CUDA device, and page-locked memory of the host, which a device reads too.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>

#include <smx/backend/cuda/error.cuh>
#include <smx/core/memory.hpp>

namespace smx {

namespace cuda_kernels {

[[noreturn, gnu::cold, gnu::noinline]] inline void fail_allocation(cudaError_t status, char const* call,
                                                                   char const* kind, std::size_t bytes) {
  static_cast<void>(cudaGetLastError());
  char asked[160];
  std::snprintf(asked, sizeof asked, "of %zu bytes%s", bytes,
                status == cudaErrorStreamCaptureUnsupported
                    ? " while a stream is captured: expected a workspace of the planned size before (reserve)"
                    : "");
  if (status != cudaErrorMemoryAllocation) check(status, call, asked);
  std::size_t left = 0, all = 0;
  char where[64];
  if (cudaMemGetInfo(&left, &all) == cudaSuccess)
    std::snprintf(where, sizeof where, "%s memory (%zu free)", kind, left);
  else
    std::snprintf(where, sizeof where, "%s memory", kind);
  smx::detail::raise<out_of_memory>(bytes, where);
}

inline void* take_device(std::size_t bytes) {
  void* block = nullptr;
  cudaError_t const status = cudaMalloc(&block, bytes);
  if (status != cudaSuccess) fail_allocation(status, "cudaMalloc", "device", bytes);
  return block;
}
/// cudaFree waits for the work that may still use the block. Nothing can be thrown: it runs in destructors.
inline void give_device(void* block, std::size_t) { static_cast<void>(cudaFree(block)); }
/// Done when it returns: streams of backends do not wait for the legacy stream.
inline void zero_device(void* block, std::size_t bytes) {
  check(cudaMemsetAsync(block, 0, bytes, cudaStreamLegacy), "cudaMemsetAsync");
  check(cudaStreamSynchronize(cudaStreamLegacy), "cudaStreamSynchronize");
}

inline void* take_pinned(std::size_t bytes) {
  void* block = nullptr;
  cudaError_t const status = cudaHostAlloc(&block, bytes, cudaHostAllocMapped | cudaHostAllocPortable);
  if (status != cudaSuccess) fail_allocation(status, "cudaHostAlloc", "page-locked host", bytes);
  return block;
}
inline void give_pinned(void* block, std::size_t) { static_cast<void>(cudaFreeHost(block)); }
inline void zero_pinned(void* block, std::size_t bytes) { std::memset(block, 0, bytes); }

}  // namespace cuda_kernels

/// Of the current device. Throws out_of_memory with the sizes asked for and free.
inline memory<device_space> device_memory() {
  return {cuda_kernels::take_device, cuda_kernels::give_device, cuda_kernels::zero_device};
}

/// Host memory that copies to and from a device fastest, and that kernels may read at the same address: what
/// masks point at (lengths, segments) when attention runs on a device, and staging for files.
inline memory<host_space> pinned_memory() {
  return {cuda_kernels::take_pinned, cuda_kernels::give_pinned, cuda_kernels::zero_pinned};
}

}  // namespace smx
