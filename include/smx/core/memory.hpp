// SPDX-License-Identifier: Apache-2.0
/// \file  Where owned memory comes from: three function pointers per memory space, chosen by the backend.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include <smx/core/check.hpp>
#include <smx/core/space.hpp>

namespace smx {

/// Every allocation starts at a multiple of this many bytes: a cache line, an AVX-512 vector, and what cuBLAS
/// likes.
inline constexpr std::size_t memory_alignment = 256;

/// A source of memory in one space. `allocate` throws out_of_memory; `release` takes what `allocate`
/// returned.
template <class Space> struct memory {
  void* (*allocate)(std::size_t bytes);
  void (*release)(void* block, std::size_t bytes);
  void (*zero)(void* block, std::size_t bytes);
};

namespace detail {
// Named functions: nvcc does not take lambdas that become members of an aggregate of a template.
inline void* take_from_heap(std::size_t bytes) {
  std::size_t const rounded = bytes + (memory_alignment - bytes % memory_alignment) % memory_alignment;
  void* block = rounded < bytes ? nullptr : std::aligned_alloc(memory_alignment, rounded);
  if (block == nullptr) raise<out_of_memory>(bytes);
  return block;
}
inline void give_to_heap(void* block, std::size_t) { std::free(block); }
inline void zero_on_heap(void* block, std::size_t bytes) { std::memset(block, 0, bytes); }

inline void* take_nothing(std::size_t) { return nullptr; }
inline void leave_nothing(void*, std::size_t) {}
}  // namespace detail

/// The heap of the process.
inline memory<host_space> host_memory() {
  return {detail::take_from_heap, detail::give_to_heap, detail::zero_on_heap};
}

/// No memory at all: views made from it have shapes and a null pointer.
inline memory<meta_space> meta_memory() {
  return {detail::take_nothing, detail::leave_nothing, detail::leave_nothing};
}

}  // namespace smx
