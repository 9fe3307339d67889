// SPDX-License-Identifier: Apache-2.0
// A host view where a device view is expected.
// error[g++]: could not convert .x. from .view<float,.*smx::host_space>. to .view<const float,.*smx::device_space>
// error[clang]: no known conversion from 'view<float, .*smx::host_space>' to 'view<const float, .*smx::device_space>'
#include <smx/core/view.hpp>

void launch(smx::view<float const, 1, smx::device_space>);

#ifdef FIXED
void caller(smx::view<float, 1, smx::device_space> x) { launch(x); }
#else
void caller(smx::view<float, 1, smx::host_space> x) { launch(x); }
#endif
