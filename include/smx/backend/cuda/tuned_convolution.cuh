// SPDX-License-Identifier: Apache-2.0
/// \file  The GPU's way of running long convolutions (see cuda/convolution/program.cuh): up to 2^22
/// positions, any strides.
#pragma once

#include <smx/backend/cuda/backend.cuh>
#include <smx/backend/cuda/convolution/program.cuh>
#include <smx/backend/tuned.hpp>

namespace smx {

template <class T, class B>
requires OnCuda<B>
bool smx_tuned(B&, convolution_storage_call<T> const& c) {
  cuda_kernels::convolution_program<B, T> const program(c.shape);
  if (!program.takes(1)) return false;
  *c.size = program.storage_size();
  return true;
}

template <class B, class T, class S>
requires OnCuda<B>
bool smx_tuned(B& be, convolution_prepare_call<T, S> const& c) {
  cuda_kernels::convolution_program<B, T> const program(c.shape);
  if (!program.takes(1)) return false;
  program.prepare(be, c.k, c.k_rev, c.skip, c.storage);
  return true;
}

template <class B, class T, class S>
requires OnCuda<B>
bool smx_tuned(B& be, convolution_forward_call<T, S> const& c) {
  cuda_kernels::convolution_program<B, T> const program(c.shape);
  if (!program.takes(1)) return false;
  program.forward(be, c.storage, c.x, c.pre, c.post, c.y);
  return true;
}

template <class B, class T, class S>
requires OnCuda<B>
bool smx_tuned(B& be, convolution_backward_call<T, S> const& c) {
  cuda_kernels::convolution_program<B, T> const program(c.shape);
  if (!program.takes(1)) return false;
  program.backward(be, c.storage, c.x, c.pre, c.post, c.dy, {c.dk, c.dk_rev, c.dskip, c.dx, c.dpre, c.dpost});
  return true;
}

}  // namespace smx
