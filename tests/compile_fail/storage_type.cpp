// SPDX-License-Identifier: Apache-2.0
// bf16 is a storage type: no mixer computes in it.
// error[g++]: template constraint failure for .*Compute<T>
// error[clang]: because .smx::bf16. does not satisfy .Compute.
#include <smx/mixers/dense.hpp>

#ifdef FIXED
smx::dense<float> mixer;
#else
smx::dense<smx::bf16> mixer;
#endif
