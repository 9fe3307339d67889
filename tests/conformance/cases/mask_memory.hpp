// SPDX-License-Identifier: Apache-2.0
/// \file  Where the arrays of masks lie in the conformance suite: host memory that a GPU reads too, where one
/// is tested.
#pragma once

#include <smx/core/memory.hpp>

namespace test {

/// Set before the first mask is made.
inline smx::memory<smx::host_space> mask_memory = smx::host_memory();

/// For as long as the program runs.
template <class T> T* take_for_mask(smx::index_t count) {
  return static_cast<T*>(mask_memory.allocate(static_cast<std::size_t>(count) * sizeof(T)));
}

}  // namespace test
