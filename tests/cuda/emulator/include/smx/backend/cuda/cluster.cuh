// SPDX-License-Identifier: Apache-2.0
/// \file  Stands in for the library's header of this name: clusters whose blocks are fibers, like threads.
/// Static shared memory is one for all of them: kernels that form clusters use the dynamic one.
#pragma once

#include <cuda_runtime.h>

namespace smx::cuda_kernels {

inline constexpr bool compiles_for_clusters = true;
inline bool has_clusters() { return true; }

inline unsigned block_of_cluster() { return emulator::block_of_cluster(); }
inline void arrive_at_cluster() { emulator::arrive_at_cluster(); }
inline void wait_for_cluster() { emulator::wait_for_cluster(); }
template <class T> T* in_block(T* own, unsigned rank) {
  return reinterpret_cast<T*>(emulator::in_block(reinterpret_cast<std::byte*>(own), rank));
}

}  // namespace smx::cuda_kernels
