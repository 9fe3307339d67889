// SPDX-License-Identifier: Apache-2.0
/// \file  Stands in for the library's header of this name: warpgroup products, barriers and bulk copies from
/// their definitions in the PTX ISA, as late as they allow.
///
/// A product happens when it is waited for: until then its registers hold NaN, and what is in shared memory
/// then is what it reads. A bulk copy happens when a thread waits for its barrier.
/// SMX_EMULATOR_WARPGROUPS=0 in the environment makes a device without all this.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include <smx/core/dtype.hpp>

namespace smx::cuda_kernels {

inline constexpr bool compiles_for_warpgroups = true;

template <class K> bool has_warpgroups(K*) {
  char const* const set = std::getenv("SMX_EMULATOR_WARPGROUPS");
  return set == nullptr || std::strcmp(set, "0") != 0;
}

namespace detail {
[[noreturn]] inline void misuse(char const* what) {
  std::fprintf(stderr, "emulator: %s\n", what);
  std::abort();
}

/// Shared memory starts at address 1024, as it does behind what the system reserves.
inline std::uint32_t shared_address(void const* p) {
  return static_cast<std::uint32_t>(static_cast<std::byte const*>(p) - emulator::shared_memory()) + 1024;
}
inline std::uint16_t shared_half(std::uint32_t address) {
  std::uint32_t const swizzled = address ^ (address >> 7 & 7) << 4;
  std::uint16_t half;
  std::memcpy(&half, emulator::shared_memory() + (swizzled - 1024), sizeof half);
  return half;
}
/// Entry (row, k) of a matrix of rows of 16 numbers: K-major, or, transposed, MN-major ("Canonical Layouts").
inline std::uint16_t described(std::uint64_t matrix, int row, int k, bool transposed) {
  if (matrix >> 62 != 1) misuse("a matrix without the swizzle of 128 bytes");
  auto const field = [&](int at) { return static_cast<std::uint32_t>(matrix >> at & 0x3FFF) << 4; };
  std::uint32_t const start = field(0), leading = field(16), stride = field(32);
  auto const r = static_cast<std::uint32_t>(row), c = static_cast<std::uint32_t>(k);
  if (transposed) return shared_half(start + r % 64 * 2 + r / 64 * leading + c % 8 * 128 + c / 8 * stride);
  return shared_half(start + r % 8 * 128 + r / 8 * stride + c * 2);
}

struct a_registers {
  std::uint32_t of[4];
};
struct group_product {
  bool a_is_shared, add, b_transposed;
  std::uint64_t a, b;
  a_registers registers;
  float (*number)(std::uint16_t);
};
struct group_queue {
  float* d = nullptr;  ///< registers that products under way belong to
  int tiles = 0;
  bool fenced = false, committed = false;
  std::vector<float> before;
  std::vector<group_product> products;
};
inline group_queue& own_queue() {
  static group_queue all[1024];
  return all[emulator::thread_number()];
}
template <class H> float number_of(std::uint16_t bits) {
  H h;
  h.bits = bits;
  return static_cast<float>(h);
}
template <int Tiles> void start_product(float (&d)[Tiles][4], group_product const& p) {
  group_queue& q = own_queue();
  if (!q.fenced) misuse("a warpgroup product without a fence before it");
  if (q.products.empty()) {
    q.d = &d[0][0], q.tiles = Tiles;
    q.before.assign(q.d, q.d + 4 * Tiles);
    for (int i = 0; i < 4 * Tiles; ++i) q.d[i] = std::numeric_limits<float>::quiet_NaN();
  }
  if (q.d != &d[0][0]) misuse("products into two arrays at once");
  q.products.push_back(p);
  q.committed = false;
}
}  // namespace detail

inline std::uint64_t describe_matrix(std::byte const* start, int panel_bytes) {
  std::uint32_t const at = detail::shared_address(start);
  if (at % 16 != 0 || at >= 1u << 18) detail::misuse("a matrix at an address that a descriptor cannot say");
  return at >> 4 | static_cast<std::uint64_t>(panel_bytes >> 4) << 16 | std::uint64_t{1024 >> 4} << 32 |
         std::uint64_t{1} << 62;
}
inline std::byte* align_1024(std::byte* p) { return p + (1024 - detail::shared_address(p) % 1024) % 1024; }

template <int Count> void give_back_registers() {}
template <int Count> void take_registers() {}
template <int Steps, int Tiles> void products_take(std::uint32_t (&)[Steps][4], float (&)[Tiles][4]) {}
inline void products_begin() { detail::own_queue().fenced = true; }
inline void products_commit() { detail::own_queue().committed = true; }

template <int Tiles> void products_wait(float (&d)[Tiles][4]) {
  detail::group_queue& q = detail::own_queue();
  if (!q.committed || q.d != &d[0][0] || q.tiles != Tiles) detail::misuse("a wait for other products");
  std::memcpy(q.d, q.before.data(), sizeof d);
  int const g = emulator::lane() / 4, t = emulator::lane() % 4,
            warp_row = emulator::thread_number() / 32 % 4 * 16;
  for (detail::group_product const& p : q.products) {
    detail::a_registers all[32];
    emulator::exchange_all(p.registers, all);
    for (int n = 0; n < Tiles; ++n)
      for (int i = 0; i < 4; ++i) {
        int const row = g + i / 2 * 8, column = 8 * n + 2 * t + i % 2;
        double sum = p.add ? static_cast<double>(d[n][i]) : 0;
        for (int k = 0; k < 16; ++k) {
          std::uint32_t const pair = all[row % 8 * 4 + k % 8 / 2].of[row / 8 + k / 8 * 2];
          std::uint16_t const a = p.a_is_shared ? detail::described(p.a, warp_row + row, k, false)
                                                : static_cast<std::uint16_t>(pair >> (16 * (k % 2)));
          sum += static_cast<double>(p.number(a)) *
                 static_cast<double>(p.number(detail::described(p.b, column, k, p.b_transposed)));
        }
        d[n][i] = static_cast<float>(sum);
      }
  }
  q.products.clear();
  q.fenced = false;
}

template <class H> void warpgroup_product_128(float (&d)[16][4], std::uint64_t a, std::uint64_t b, int add) {
  detail::start_product(d, {true, add != 0, false, a, b, {}, detail::number_of<H>});
}
template <class H, int Tiles>
void warpgroup_product_add(float (&d)[Tiles][4], std::uint32_t const (&a)[4], std::uint64_t b) {
  detail::start_product(d, {false, true, true, 0, b, {{a[0], a[1], a[2], a[3]}}, detail::number_of<H>});
}

namespace detail {
struct barrier_state {
  std::uint16_t expected, pending;
  std::uint32_t bytes : 31, phase : 1;
};
static_assert(sizeof(barrier_state) == sizeof(std::uint64_t));
struct bulk_copy {
  void* to;
  void const* from;
  int bytes;
  std::uint64_t* barrier;
};
inline std::vector<bulk_copy>& bulk_copies() {
  static std::vector<bulk_copy> all;
  return all;
}
template <class F> void change(std::uint64_t* barrier, F const& f) {
  auto state = __builtin_bit_cast(barrier_state, *barrier);
  f(state);
  if (state.pending == 0 && state.bytes == 0) state.pending = state.expected, state.phase ^= 1;
  *barrier = __builtin_bit_cast(std::uint64_t, state);
}
}  // namespace detail

inline void barrier_init(std::uint64_t* barrier, int count) {
  auto const n = static_cast<std::uint16_t>(count);
  *barrier = __builtin_bit_cast(std::uint64_t, detail::barrier_state{n, n, 0, 0});
}
inline void barriers_ready() {}
inline void barrier_arrive(std::uint64_t* barrier) {
  detail::change(barrier, [](detail::barrier_state& s) { --s.pending; });
}
inline void barrier_expect(std::uint64_t* barrier, int bytes) {
  detail::change(barrier, [&](detail::barrier_state& s) {
    s.bytes = (s.bytes + static_cast<unsigned>(bytes)) & 0x7FFFFFFFu;
    --s.pending;
  });
}
inline void barrier_wait(std::uint64_t* barrier, int parity) {
  while (true) {
    auto& copies = detail::bulk_copies();
    for (std::size_t i = 0; i < copies.size();) {
      detail::bulk_copy const c = copies[i];
      if (c.barrier != barrier) {
        ++i;
        continue;
      }
      copies.erase(copies.begin() + static_cast<std::ptrdiff_t>(i));
      std::memcpy(c.to, c.from, static_cast<std::size_t>(c.bytes));
      detail::change(barrier, [&](detail::barrier_state& s) {
        s.bytes = (s.bytes - static_cast<unsigned>(c.bytes)) & 0x7FFFFFFFu;
      });
    }
    if (static_cast<int>(__builtin_bit_cast(detail::barrier_state, *barrier).phase) != parity) return;
    emulator::poll_again();
  }
}
inline void copy_bulk(void* shared, void const* global, int bytes, std::uint64_t* barrier) {
  if (bytes % 16 != 0 || reinterpret_cast<std::uintptr_t>(shared) % 16 != 0 ||
      reinterpret_cast<std::uintptr_t>(global) % 16 != 0)
    detail::misuse("a bulk copy that is not aligned to 16 bytes");
  detail::bulk_copies().push_back({shared, global, bytes, barrier});
}

}  // namespace smx::cuda_kernels
