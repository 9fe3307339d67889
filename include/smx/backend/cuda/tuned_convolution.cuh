// SPDX-License-Identifier: Apache-2.0
/// \file  The GPU's way of running long convolutions (see cuda/convolution/program.cuh): up to 2^22
/// positions, any strides.
#pragma once

#include <smx/backend/cuda/backend.cuh>
#include <smx/backend/cuda/convolution/program.cuh>
#include <smx/backend/tuned.hpp>

namespace smx {

namespace cuda_kernels {
template <class T, class B>
convolution_program<B, T> convolution_program_for(B& be, convolution_shape const& shape) {
  tiling const how = be.how();
  return {shape, limits_of<T>(how.block_bytes, how.clusters)};
}
}  // namespace cuda_kernels

template <class T, class B>
requires OnCuda<B>
bool smx_tuned(B& be, convolution_storage_call<T> const& c) {
  auto const program = cuda_kernels::convolution_program_for<T>(be, c.shape);
  if (!program.takes()) return false;
  *c.size = program.storage_size();
  return true;
}

template <class B, class T, class S>
requires OnCuda<B>
bool smx_tuned(B& be, convolution_prepare_call<T, S> const& c) {
  auto const program = cuda_kernels::convolution_program_for<T>(be, c.shape);
  if (!program.takes()) return false;
  program.prepare(be, c.k, c.k_rev, c.skip, c.storage);
  return true;
}

template <class B, class T, class S>
requires OnCuda<B>
bool smx_tuned(B& be, convolution_forward_call<T, S> const& c) {
  auto const program = cuda_kernels::convolution_program_for<T>(be, c.shape);
  if (!program.takes()) return false;
  program.forward(be, c.storage, c.x, c.pre, c.post, c.y);
  return true;
}

template <class B, class T, class S>
requires OnCuda<B>
bool smx_tuned(B& be, convolution_backward_call<T, S> const& c) {
  auto const program = cuda_kernels::convolution_program_for<T>(be, c.shape);
  if (!program.takes()) return false;
  program.backward(be, c.storage, c.x, c.pre, c.post, c.dy, {c.dk, c.dk_rev, c.dskip, c.dx, c.dpre, c.dpost});
  return true;
}

}  // namespace smx
