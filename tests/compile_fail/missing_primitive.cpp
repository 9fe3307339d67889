// SPDX-License-Identifier: Apache-2.0
// A backend without gemm: the diagnostic names the primitive, the whole requirement in one line.
// error[g++]: the required expression .*be\.gemm\(.* is invalid
// error[clang]: because 'has_gemm<no_gemm, float>' evaluated to false
#include <smx/backend/reference.hpp>
#include <smx/mixers/dense.hpp>

struct no_gemm : smx::reference_backend {
#ifndef FIXED
  void gemm() = delete;
#endif
};

template <smx::Backend<float> B> void needs_a_backend(B&);

void caller(no_gemm& be) { needs_a_backend(be); }
