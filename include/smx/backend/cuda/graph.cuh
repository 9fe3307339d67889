// SPDX-License-Identifier: Apache-2.0
/// \file  A sequence of calls on a CUDA backend, recorded once and started as one: what hides the cost of
/// launching many small kernels, a token's step above all.
#pragma once

#include <cuda_runtime.h>

#include <utility>
#include <vector>

#include <smx/backend/cuda/backend.cuh>

namespace smx {

/// `cuda_graph g(be, [&] { mix.step(be, w, x, state, y); });`, then `g.launch()` as often as wanted: the same
/// kernels on the same memory. What a call decides on the host (the length of a cache of keys) is decided at
/// recording; a state whose step is the same each time (ssd, linear attention) goes on token by token.
///
/// Every view in the work must stay where it is, and the backend's arena must not grow afterwards: reserve
/// the largest workspace first, and record outside of frames (be.scope()) that have taken scratch. The
/// backend outlives the graph: its stream runs it, in its memory. Throws backend_error for work that
/// allocates or waits (a first call without reserve). One launch at a time: launches are ordered by the
/// stream.
class cuda_graph {
 public:
  template <class F> cuda_graph(cuda_backend& be, F const& work) : stream_(be.stream()) {
    cuda_kernels::check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal),
                        "cudaStreamBeginCapture");
    cudaGraph_t graph = nullptr;
#if defined(__cpp_exceptions)
    try {
      work();
    } catch (...) {  // capture ends in any case, or the stream could not be used again
      static_cast<void>(cudaStreamEndCapture(stream_, &graph));
      static_cast<void>(cudaGetLastError());
      if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
      throw;
    }
#else
    work();
#endif
    cuda_kernels::check(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
    cudaError_t status = count_kernels(graph);
    if (status == cudaSuccess) status = cudaGraphInstantiate(&run_, graph, 0);
    static_cast<void>(cudaGraphDestroy(graph));
    cuda_kernels::check(status, "cudaGraphInstantiate");
  }
  cuda_graph(cuda_graph&& other) noexcept
      : stream_(other.stream_), run_(std::exchange(other.run_, nullptr)), kernels_(other.kernels_) {}
  cuda_graph& operator=(cuda_graph&&) = delete;
  ~cuda_graph() {
    if (run_ != nullptr) static_cast<void>(cudaGraphExecDestroy(run_));
  }

  /// Starts the recorded work on the backend's stream; be.synchronize() waits for it.
  void launch() const { cuda_kernels::check(cudaGraphLaunch(run_, stream_), "cudaGraphLaunch"); }
  /// Kernels in it, those inside of cuBLAS included.
  index_t kernels() const { return kernels_; }

 private:
  cudaError_t count_kernels(cudaGraph_t graph) {
    std::size_t count = 0;
    cudaError_t status = cudaGraphGetNodes(graph, nullptr, &count);
    std::vector<cudaGraphNode_t> nodes(count);
    if (status == cudaSuccess && count > 0) status = cudaGraphGetNodes(graph, nodes.data(), &count);
    for (std::size_t i = 0; i < count && status == cudaSuccess; ++i) {
      cudaGraphNodeType type{};
      status = cudaGraphNodeGetType(nodes[i], &type);
      if (type == cudaGraphNodeTypeKernel) ++kernels_;
    }
    return status;
  }

  cudaStream_t stream_;
  cudaGraphExec_t run_ = nullptr;
  index_t kernels_ = 0;
};

}  // namespace smx
