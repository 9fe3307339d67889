// SPDX-License-Identifier: Apache-2.0
// A device array for a host backend, in the calls that allocate and return.
// error[g++]: ArrayOf<X, B, .*X = .smx::tensor<float, 4, smx::device_space>.; B = smx::reference_backend.* evaluated to .false
// error[clang]: .ArrayOf<smx::tensor<float, 4, smx::device_space>, smx::reference_backend, .* evaluated to false
#include <smx/smx.hpp>

#ifdef FIXED
using array = smx::tensor<float, 4, smx::host_space>;
#else
using array = smx::tensor<float, 4, smx::device_space>;
#endif

void caller(smx::reference_backend& be, smx::dense<float> const& mixer, array const& x) {
  auto const w = smx::initialize(be, mixer, 1);
  auto const y = smx::forward(be, mixer, w, x);
}
