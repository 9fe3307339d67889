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

/// The heap of the process.
inline memory<host_space> host_memory() {
  return {[](std::size_t bytes) -> void* {
            std::size_t const rounded =
                bytes + (memory_alignment - bytes % memory_alignment) % memory_alignment;
            void* block = rounded < bytes ? nullptr : std::aligned_alloc(memory_alignment, rounded);
            if (block == nullptr) detail::raise<out_of_memory>(bytes);
            return block;
          },
          [](void* block, std::size_t) { std::free(block); },
          [](void* block, std::size_t bytes) { std::memset(block, 0, bytes); }};
}

/// No memory at all: views made from it have shapes and a null pointer.
inline memory<meta_space> meta_memory() {
  return {[](std::size_t) -> void* { return nullptr; }, [](void*, std::size_t) {}, [](void*, std::size_t) {}};
}

}  // namespace smx
