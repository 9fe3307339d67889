// SPDX-License-Identifier: Apache-2.0
/// \file  The threads of one CUDA block, or of a cluster of blocks, as fibers of one host thread: barriers of
/// cluster, block and warp, exchange inside a warp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned nx = 1, unsigned ny = 1, unsigned nz = 1) : x(nx), y(ny), z(nz) {}
};

namespace emulator {

/// Where the running thread is.
struct position {
  dim3 thread, block, block_size, grid_size;
};
position const& here();
int lane();

void wait_for_block();
/// The barrier of a cluster of blocks, in two halves.
void arrive_at_cluster();
void wait_for_cluster();
void wait_for_warp();
bool block_any(bool);
/// For a thread that looks for what another one does: the others run on.
void poll_again();
/// Of the running thread within its block.
int thread_number();

/// 16 bytes of each lane of a warp, filled before and read after a barrier. Two in turn, so that one barrier
/// an exchange is enough.
std::byte (*next_slots())[16];
unsigned votes(bool);

template <class T> T exchange(T const& own, int from) {
  static_assert(sizeof(T) <= 16 && std::is_trivially_copyable_v<T>);
  auto* const slots = next_slots();
  std::memcpy(slots[lane()], &own, sizeof(T));
  wait_for_warp();
  T other;
  std::memcpy(&other, slots[from], sizeof(T));
  return other;
}

/// What every lane of the warp has.
template <class T> void exchange_all(T const& own, T (&all)[32]) {
  static_assert(sizeof(T) <= 16 && std::is_trivially_copyable_v<T>);
  auto* const slots = next_slots();
  std::memcpy(slots[lane()], &own, sizeof(T));
  wait_for_warp();
  for (int l = 0; l < 32; ++l) std::memcpy(&all[l], slots[l], sizeof(T));
}

/// Shared memory that a block may take: SMX_EMULATED_BLOCK_KIB of the environment, or as on an H200.
int block_bytes();

/// body(context) for every thread of every block, `cluster` blocks of a row at a time. Aborts, with a
/// message, where threads wait for each other in different places for ever.
void run(dim3 grid, dim3 block, std::size_t shared_bytes, unsigned cluster, void (*body)(void const*),
         void const* context);

/// Of the running block.
std::byte* shared_memory();
unsigned block_of_cluster();
/// Where block `rank` of the cluster has what the running one has at `own`.
std::byte* in_block(std::byte* own, unsigned rank);

/// Streams run nothing until they are waited for: who reads too early, or writes what work under way still
/// reads, computes something else.
void* new_stream();
void enqueue(void const* stream, std::function<void()> work);
void finish(void const* stream);
void finish_all();

/// Asynchronous copies of the running thread: they happen when they are waited for, not before.
void later_copy(void* to, void const* from, std::size_t bytes);
void close_copies();
void finish_copies(int left);

}  // namespace emulator
