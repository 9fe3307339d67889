// SPDX-License-Identifier: Apache-2.0
// A mixer that sees the future where a causal one is required.
// error[g++]: .supports<M, P> .with M = smx::dense<float, false>; P = smx::pattern::causal_self.. evaluated to .false.
// error[clang]: .smx::SupportsPattern<smx::dense<float, false>, smx::pattern::causal_self>. evaluated to false
#include <smx/mixers/dense.hpp>

template <smx::SupportsPattern<smx::pattern::causal_self> M> void generate_text(M const&);

#ifdef FIXED
void caller() { generate_text(smx::dense<float, true>{.length = 4}); }
#else
void caller() { generate_text(smx::dense<float, false>{.length = 4}); }
#endif
