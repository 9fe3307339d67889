// SPDX-License-Identifier: Apache-2.0
/// \file  The CUDA backend with its tuned kernels, and copies between host and device. For translation units
/// that nvcc compiles; link smx::cuda.
#pragma once

#include <smx/backend/cuda/backend.cuh>
#include <smx/backend/cuda/graph.cuh>
#include <smx/backend/cuda/transfer.cuh>
#include <smx/backend/cuda/tuned_attention.cuh>
#include <smx/backend/cuda/tuned_chunk_scan.cuh>
#include <smx/backend/cuda/tuned_chunk_scan_backward.cuh>
#include <smx/backend/cuda/tuned_convolution.cuh>

namespace smx {

/// The GPU: `smx::cuda be;` instead of `smx::cpu be;`.
using cuda = cuda_backend;

}  // namespace smx
