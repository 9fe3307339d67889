// SPDX-License-Identifier: Apache-2.0
// Dropping the oldest tokens of a state that has summed them up.
// error[g++]: about.\.evicts .with M = smx::masked_monarch<float>.. evaluated to .false
// error[clang]: because .masked_monarch<float>::about.evicts. evaluated to false
#include <smx/backend/reference.hpp>
#include <smx/mixers/attention.hpp>
#include <smx/mixers/masked_monarch.hpp>
#include <smx/mixers/stream.hpp>

#ifdef FIXED
using mixer = smx::attention<float, smx::causal_mask>;
#else
using mixer = smx::masked_monarch<float>;
#endif

void caller(smx::stream<mixer, smx::reference_backend>& s) { s.evict_front(3); }
