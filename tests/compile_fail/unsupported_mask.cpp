// SPDX-License-Identifier: Apache-2.0
// Attention under a causal mask of its own sequence where queries meet another source.
// error[g++]: .supports<M, P> .with M = smx::attention<float, smx::window_mask.*P = smx::pattern::causal_cross.. evaluated to .false.
// error[clang]: .smx::SupportsPattern<smx::attention<float, smx::window_mask.*, smx::pattern::causal_cross>. evaluated to false
#include <smx/mixers/attention.hpp>

template <smx::SupportsPattern<smx::pattern::causal_cross> M> void read_source(M const&);

#ifdef FIXED
void caller() { read_source(smx::attention<float, smx::padding_mask>{}); }
#else
void caller() { read_source(smx::attention<float, smx::window_mask>{}); }
#endif
