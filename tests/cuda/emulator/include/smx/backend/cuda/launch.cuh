// SPDX-License-Identifier: Apache-2.0
/// \file  Stands in for the library's header of this name: kernels run on the host when their stream is
/// waited for.
#pragma once

#include <cuda_runtime.h>

#include <tuple>

namespace smx::cuda_kernels {

struct cluster_shape {
  unsigned blocks = 1;
  bool balanced = false;
};
struct launch_shape {
  dim3 grid, block;
  std::size_t shared = 0;
  cluster_shape cluster = {};
};

template <class... P, class... A>
cudaError_t launch(cudaStream_t stream, launch_shape const& shape, void (*kernel)(P...), A const&... a) {
  struct call {
    void (*kernel)(P...);
    std::tuple<std::remove_cvref_t<P>...> arguments;
  };
  call const c{kernel, {static_cast<P>(a)...}};
  emulator::enqueue(stream, [shape, c] {
    emulator::run(
        shape.grid, shape.block, shape.shared, shape.cluster.blocks,
        [](void const* context) {
          auto const& [f, arguments] = *static_cast<call const*>(context);
          std::apply(f, arguments);
        },
        &c);
  });
  return cudaSuccess;
}

template <class T> T* shared_memory() { return reinterpret_cast<T*>(emulator::shared_memory()); }

}  // namespace smx::cuda_kernels
