// SPDX-License-Identifier: Apache-2.0
/// \file  Owning, contiguous, row-major arrays. A tensor moves; copies are explicit (`clone`).
#pragma once

#include <utility>

#include <smx/core/memory.hpp>
#include <smx/core/view.hpp>

namespace smx {

/// R-dimensional array of T in memory of Space, zero when made. A default-made tensor is empty: extents 0,
/// null pointer. Throws precondition_error for extents below 1 or whose product overflows, out_of_memory with
/// the size asked for.
template <class T, int R, class Space = host_space> class tensor {
 public:
  using value_type = T;
  static constexpr int rank = R;

  tensor() = default;
  tensor(memory<Space> source, smx::extents<R> const& ext)
      : source_(source), bytes_(checked_bytes<T>(ext, "tensor")), ext_(ext) {
    data_ = static_cast<T*>(source_.allocate(bytes_));
    source_.zero(data_, bytes_);
  }
  explicit tensor(smx::extents<R> const& ext) requires std::same_as<Space, host_space>
      : tensor(host_memory(), ext) {}

  tensor(tensor&& other) noexcept { swap(other); }
  tensor& operator=(tensor&& other) noexcept {
    tensor taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~tensor() {
    if (data_ != nullptr) source_.release(data_, bytes_);
  }

  smx::extents<R> const& extents() const { return ext_; }
  index_t size() const {
    return data_ == nullptr && bytes_ == 0 ? 0 : smx::view<T, R, Space>(data_, ext_).size();
  }
  std::size_t bytes() const { return bytes_; }
  T* data() { return data_; }
  T const* data() const { return data_; }

  smx::view<T, R, Space> view() { return {data_, ext_}; }
  smx::view<T const, R, Space> view() const { return {data_, ext_}; }
  smx::view<T const, R, Space> cview() const { return {data_, ext_}; }
  operator smx::view<T, R, Space>() { return view(); }
  operator smx::view<T const, R, Space>() const { return cview(); }

  template <class... I>
  requires std::same_as<Space, host_space> T& operator()(I... i) { return view()(i...); }
  template <class... I>
  requires std::same_as<Space, host_space> T const& operator()(I... i) const { return cview()(i...); }

  tensor clone() const requires std::same_as<Space, host_space> {
    if (data_ == nullptr) return {};
    tensor copy(source_, ext_);
    std::memcpy(copy.data_, data_, bytes_);
    return copy;
  }

  void swap(tensor& other) noexcept {
    std::swap(source_, other.source_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(ext_, other.ext_);
  }

 private:
  memory<Space> source_ = {};
  T* data_ = nullptr;
  std::size_t bytes_ = 0;
  smx::extents<R> ext_ = {};
};

}  // namespace smx
