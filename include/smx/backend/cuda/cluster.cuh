// SPDX-License-Identifier: Apache-2.0
/// \file  Clusters: neighbouring blocks that run at the same time and reach each other's shared memory, from
/// compute capability 9.0 on (PTX ISA, "Cooperative Thread Arrays").
///
/// Elsewhere kernels that use them have no body: hosts ask has_clusters first.
#pragma once

#include <cuda_runtime.h>

#include <smx/backend/cuda/error.cuh>

namespace smx::cuda_kernels {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900

inline constexpr bool compiles_for_clusters = true;

/// Which block of its cluster this is.
__device__ __forceinline__ unsigned block_of_cluster() { return __clusterRelativeBlockRank(); }

/// A barrier of all threads of the cluster in two halves: what a thread has done before it arrives is seen by
/// all that have waited.
__device__ __forceinline__ void arrive_at_cluster() { __cluster_barrier_arrive(); }
__device__ __forceinline__ void wait_for_cluster() { __cluster_barrier_wait(); }

/// Where block `rank` of the cluster has what this block has at `own`, which is in shared memory.
template <class T> __device__ __forceinline__ T* in_block(T* own, unsigned rank) {
  return static_cast<T*>(__cluster_map_shared_rank(own, rank));
}

#else

inline constexpr bool compiles_for_clusters = false;

__device__ __forceinline__ unsigned block_of_cluster() { return 0; }
__device__ __forceinline__ void arrive_at_cluster() {}
__device__ __forceinline__ void wait_for_cluster() {}
template <class T> __device__ __forceinline__ T* in_block(T* own, unsigned) { return own; }

#endif

/// Does nothing; says what this program's kernels were compiled for.
template <class = void> __global__ void compiled_for() {}

/// Whether the current device forms clusters, and kernels were compiled for devices that do: code for 8.0
/// runs on them too, without.
inline bool has_clusters() {
  int device = 0, can = 0;
  cudaFuncAttributes about{};
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&can, cudaDevAttrClusterLaunch, device), "cudaDeviceGetAttribute");
  check(cudaFuncGetAttributes(&about, reinterpret_cast<void const*>(compiled_for<>)),
        "cudaFuncGetAttributes");
  return can != 0 && about.ptxVersion >= 90;
}

}  // namespace smx::cuda_kernels
