// SPDX-License-Identifier: Apache-2.0
/// \file  How kernels are started and find their dynamic shared memory: the two things of CUDA's C++ that are
/// syntax, not functions.
///
/// Kernels start through `launch` only, never by `<<<>>>`, so that tests can run them where there is no GPU.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace smx::cuda_kernels {

/// Blocks of a cluster (see cluster.cuh); balanced: wherever there is room, not on as many SMs as possible.
struct cluster_shape {
  unsigned blocks = 1;
  bool balanced = false;
};

/// Blocks, threads of a block, bytes of dynamic shared memory.
struct launch_shape {
  dim3 grid, block;
  std::size_t shared = 0;
  cluster_shape cluster = {};
};

/// Starts kernel(a...) on a stream and returns the status of the launch. More than 48 KiB of dynamic shared
/// memory are asked for on the way.
template <class... P, class... A>
cudaError_t launch(cudaStream_t stream, launch_shape const& shape, void (*kernel)(P...), A const&... a) {
  if (shape.shared > (std::size_t{48} << 10)) {
    cudaError_t const status =
        cudaFuncSetAttribute(reinterpret_cast<void const*>(kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared));
    if (status != cudaSuccess) return status;
  }
  if (shape.cluster.blocks > 1) {
    cudaLaunchAttribute of[2]{};
    of[0].id = cudaLaunchAttributeClusterDimension;
    of[0].val.clusterDim = {shape.cluster.blocks, 1, 1};
    of[1].id = cudaLaunchAttributeClusterSchedulingPolicyPreference;
    of[1].val.clusterSchedulingPolicyPreference = shape.cluster.balanced
                                                      ? cudaClusterSchedulingPolicyLoadBalancing
                                                      : cudaClusterSchedulingPolicyDefault;
    cudaLaunchConfig_t how{};
    how.gridDim = shape.grid, how.blockDim = shape.block;
    how.dynamicSmemBytes = shape.shared, how.stream = stream;
    how.attrs = of, how.numAttrs = 2;
    return cudaLaunchKernelEx(&how, kernel, static_cast<P>(a)...);
  }
  kernel<<<shape.grid, shape.block, shape.shared, stream>>>(static_cast<P>(a)...);
  return cudaGetLastError();
}

/// The dynamic shared memory of the block, aligned to 128 bytes.
template <class T> __device__ __forceinline__ T* shared_memory() {
  extern __shared__ __align__(128) unsigned char smx_dynamic_shared_memory[];
  return reinterpret_cast<T*>(smx_dynamic_shared_memory);
}

}  // namespace smx::cuda_kernels
