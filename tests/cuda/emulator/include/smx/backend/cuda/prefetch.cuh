// SPDX-License-Identifier: Apache-2.0
/// \file  Stands in for the library's header of this name: reads the line, so that a sanitizer sees a bad
/// address.
#pragma once

#include <cuda_runtime.h>

namespace smx::cuda_kernels {

inline void prefetch_line(void const* global) {
  static_cast<void>(*static_cast<char const volatile*>(global));
}

}  // namespace smx::cuda_kernels
