// SPDX-License-Identifier: Apache-2.0
/// \file  What a CUDA backend owns beside its arena: the stream, the cuBLAS handle with its workspace, a flag
/// that kernels raise.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <smx/backend/cuda/cluster.cuh>
#include <smx/backend/cuda/error.cuh>
#include <smx/backend/cuda/memory.cuh>

namespace smx::cuda_kernels {

class resources {
 public:
  explicit resources(std::size_t blas_bytes) {
    expect_device();
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    owns_stream_ = true;
    take(blas_bytes);
  }
  resources(std::size_t blas_bytes, cudaStream_t stream) : stream_(stream) {
    expect_device();
    take(blas_bytes);
  }
  resources(resources const&) = delete;
  resources& operator=(resources const&) = delete;
  /// Work that is under way may use the arena: it is waited for.
  ~resources() { release(); }

  cudaStream_t stream() const { return stream_; }
  cublasHandle_t blas() const { return blas_; }
  /// Shared memory that a block may ask for.
  std::size_t block_bytes() const { return block_bytes_; }
  /// Whether blocks can reach each other's.
  bool clusters() const { return clusters_; }
  int* flag() const { return flag_; }
  /// Whether a kernel raised the flag; lowers it.
  bool flag_was_raised() {
    bool const raised = *static_cast<int volatile*>(flag_) != 0;
    *static_cast<int volatile*>(flag_) = 0;
    return raised;
  }

  /// Throws unless the current device can read what `pointer` names.
  void expect_reachable(void const* pointer) const {
    if (pointer == nullptr) return;
    cudaPointerAttributes where{};
    check(cudaPointerGetAttributes(&where, pointer), "cudaPointerGetAttributes");
    int device = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    bool const pinned = where.type == cudaMemoryTypeHost && where.devicePointer == pointer;
    bool const own = where.type == cudaMemoryTypeDevice && where.device == device;
    if (pinned || own || where.type == cudaMemoryTypeManaged) return;
    char text[160];
    std::snprintf(
        text, sizeof text, "cuda: array: expected memory of device %d, got %s %d", device,
        where.type == cudaMemoryTypeDevice ? "memory of device" : "memory that no device reads; kind",
        where.type == cudaMemoryTypeDevice ? where.device : static_cast<int>(where.type));
    smx::detail::raise<precondition_error>(text);
  }

 private:
  static void expect_device() {
    int count = 0;
    check(cudaGetDeviceCount(&count), "no usable device: cudaGetDeviceCount");
    if (count == 0) smx::detail::raise<backend_error>("cuda: no usable device: cudaGetDeviceCount says 0");
  }
  /// A constructor that throws runs no destructor: what was taken is given back here.
  void take(std::size_t blas_bytes) {
#if defined(__cpp_exceptions)
    try {
      take_all(blas_bytes);
    } catch (...) {
      release();
      throw;
    }
#else
    take_all(blas_bytes);
#endif
  }
  void take_all(std::size_t blas_bytes) {
    int device = 0, bytes = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
          "cudaDeviceGetAttribute");
    block_bytes_ = static_cast<std::size_t>(bytes);
    clusters_ = cuda_kernels::has_clusters();
    flag_ = static_cast<int*>(take_pinned(sizeof(int)));
    *flag_ = 0;
    check(cublasCreate(&blas_), "cublasCreate");
    check(cublasSetStream(blas_, stream_), "cublasSetStream");  // resets the workspace, so before it
    if (blas_bytes == 0) return;
    blas_workspace_ = take_device(blas_bytes);
    check(cublasSetWorkspace(blas_, blas_workspace_, blas_bytes), "cublasSetWorkspace");
  }
  void release() {
    if (flag_ != nullptr) static_cast<void>(cudaStreamSynchronize(stream_));
    if (blas_ != nullptr) static_cast<void>(cublasDestroy(blas_));
    if (blas_workspace_ != nullptr) give_device(blas_workspace_, 0);
    if (flag_ != nullptr) give_pinned(flag_, 0);
    if (owns_stream_) static_cast<void>(cudaStreamDestroy(stream_));
  }

  cudaStream_t stream_ = nullptr;
  bool owns_stream_ = false;
  cublasHandle_t blas_ = nullptr;
  void* blas_workspace_ = nullptr;
  std::size_t block_bytes_ = 0;
  bool clusters_ = false;
  int* flag_ = nullptr;
};

}  // namespace smx::cuda_kernels
