// SPDX-License-Identifier: Apache-2.0
// A device array for a mixer that runs on a host backend.
// error[g++]: could not convert .x. from .view<float,.*smx::device_space>. to .view<const float,.*smx::host_space>
// error[clang]: no viable conversion from .const view<float, .*smx::device_space>. to .view<const float, .*smx::host_space>
#include <smx/backend/reference.hpp>
#include <smx/mixers/dense.hpp>

#ifdef FIXED
using array = smx::view<float, 4, smx::host_space>;  // (B,H,L,D)
#else
using array = smx::view<float, 4, smx::device_space>;  // (B,H,L,D)
#endif

auto caller(array const& x) { return smx::inputs_in<smx::dense<float>, smx::reference_backend>{x}; }
