// SPDX-License-Identifier: Apache-2.0
// A host array for the GPU, compiled against the emulator's headers, so that it is checked without nvcc, too.
// error[g++]: ArrayOf<X, B, .*X = .smx::tensor<float, 4, smx::host_space>.; B = smx::cuda_backend.* evaluated to .false
// error[clang]: .ArrayOf<smx::tensor<float, 4>, smx::cuda_backend, .* evaluated to false
#include <smx/backend/cuda.cuh>
#include <smx/smx.hpp>

#ifdef FIXED
using array = smx::tensor<float, 4, smx::device_space>;
#else
using array = smx::tensor<float, 4, smx::host_space>;
#endif

void caller(smx::cuda& be, smx::dense<float> const& mixer, array const& x) {
  auto const w = smx::initialize(be, mixer, 1);
  auto const y = smx::forward(be, mixer, w, x);
}
