// SPDX-License-Identifier: Apache-2.0
// An input without the heads axis.
// error[g++]: could not convert .x. from .view<float,3,.*. to .view<const float,4,
// error[clang]: no viable conversion from .const view<float, 3, .* to .view<const float, 4
#include <smx/backend/reference.hpp>
#include <smx/mixers/dense.hpp>

#ifdef FIXED
using array = smx::view<float, 4, smx::host_space>;  // (B,H,L,D)
#else
using array = smx::view<float, 3, smx::host_space>;  // (B,L,D)
#endif

auto caller(array const& x) { return smx::inputs_in<smx::dense<float>, smx::reference_backend>{x}; }
