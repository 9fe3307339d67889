// SPDX-License-Identifier: Apache-2.0
/// \file  What a CUDA backend can be told.
#pragma once

#include <cstddef>

namespace smx {

/// What products of f32 arrays are multiplied in on a GPU; sums are f32 in any case. f32 keeps the accuracy
/// of f32. The others round operands for the tensor cores: tf32 to 11 bits, bf16 to 8, f16 to 11 (and to its
/// range: above 65504 there is infinity).
enum class cuda_operands : char { f32, tf32, bf16, f16 };

struct cuda_options {
  cuda_operands operands = cuda_operands::f32;
  std::size_t slab_bytes = std::size_t{1} << 30;       ///< scratch that one range of tiles may take
  std::size_t blas_workspace = std::size_t{32} << 20;  ///< given to cuBLAS, beside the planned workspace
  bool warpgroups = true;  ///< attention in 16-bit operands by wgmma, where the GPU has it
  bool clusters = true;    ///< convolutions of (L,D) arrays by clusters of blocks, where the GPU has them
  bool check_pointers = false;  ///< whether primitives ask the driver where each array is (0.2 us for each)
};

}  // namespace smx
