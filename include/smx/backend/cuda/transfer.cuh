// SPDX-License-Identifier: Apache-2.0
/// \file  Copies between host and device: explicit, contiguous, done when they return.
#pragma once

#include <smx/backend/cuda/backend.cuh>
#include <smx/core/tensor.hpp>

namespace smx {

/// to := from, both contiguous, of equal extents. Fastest from pinned_memory().
template <class T, int R>
void upload(cuda_backend& be, view<T const, R, host_space> from,
            std::type_identity_t<view<T, R, device_space>> to) {
  expects_extents("upload: to", to.ext, from.ext);
  expects(is_contiguous(from) && is_contiguous(to), "upload: from, to: expected contiguous arrays");
  cuda_kernels::check(cudaMemcpyAsync(to.ptr, from.ptr, sizeof(T) * static_cast<std::size_t>(from.size()),
                                      cudaMemcpyHostToDevice, be.stream()),
                      "cudaMemcpyAsync", from.ext);
  be.synchronize();
}
template <class T, int R>
void download(cuda_backend& be, view<T const, R, device_space> from,
              std::type_identity_t<view<T, R, host_space>> to) {
  expects_extents("download: to", to.ext, from.ext);
  expects(is_contiguous(from) && is_contiguous(to), "download: from, to: expected contiguous arrays");
  cuda_kernels::check(cudaMemcpyAsync(to.ptr, from.ptr, sizeof(T) * static_cast<std::size_t>(from.size()),
                                      cudaMemcpyDeviceToHost, be.stream()),
                      "cudaMemcpyAsync", from.ext);
  be.synchronize();
}

/// A copy of `from` on the device.
template <class T, int R>
tensor<T, R, device_space> upload(cuda_backend& be, tensor<T, R, host_space> const& from) {
  tensor<T, R, device_space> to(be.memory(), from.extents());
  upload<T, R>(be, from.cview(), to.view());
  return to;
}
/// A copy of `from` in host memory.
template <class T, int R>
tensor<T, R, host_space> download(cuda_backend& be, tensor<T, R, device_space> const& from) {
  tensor<T, R, host_space> to(from.extents());
  download<T, R>(be, from.cview(), to.view());
  return to;
}

}  // namespace smx
