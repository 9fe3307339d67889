// SPDX-License-Identifier: Apache-2.0
// A mixer that cannot run token by token, where one that can is required.
// error[g++]: about.\.streaming .with M = smx::dense<float, false>.. evaluated to .false
// error[clang]: because .dense<float, false>::about.streaming. evaluated to false
#include <smx/backend/reference.hpp>
#include <smx/mixers/dense.hpp>

#ifdef FIXED
template <class M, class B>
requires smx::Mixer<M, B>
void generate_text(M const&, B&);
#else
template <class M, class B>
requires smx::StreamingMixer<M, B>
void generate_text(M const&, B&);
#endif

void caller(smx::dense<float> const& mixer, smx::reference_backend& be) { generate_text(mixer, be); }
