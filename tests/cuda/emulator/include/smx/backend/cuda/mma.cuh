// SPDX-License-Identifier: Apache-2.0
/// \file  Stands in for the library's header of this name: the instructions from their definitions in the PTX
/// ISA.
#pragma once

#include <cuda_runtime.h>

#include <smx/core/dtype.hpp>

namespace smx::cuda_kernels {

template <class T> std::uint32_t pack_halves(float low, float high) {
  return T(low).bits | static_cast<std::uint32_t>(T(high).bits) << 16;
}
inline std::uint32_t to_tf32(float x) {
  auto const bits = __builtin_bit_cast(std::uint32_t, x);
  if ((bits & 0x7F800000u) == 0x7F800000u) return bits;
  return (bits + 0x1000u) & ~0x1FFFu;
}
/// The relative error of the real one is up to 2^-22; that of this one is 2^-22, of either sign.
inline float exp2_fast(float x) {
  float const y = std::exp2(x);
  float const off = (__builtin_bit_cast(std::uint32_t, x) & 1u) != 0 ? 1 + 0x1p-22f : 1 - 0x1p-22f;
  return y < 0x1p-126f ? 0.0f : x == 0 ? 1.0f : y * off;
}

namespace detail {
struct operands {
  std::uint32_t of[4];
};
template <class T> float half_at(std::uint32_t both, int high) {
  T h;
  h.bits = static_cast<std::uint16_t>(both >> (16 * high));
  return static_cast<float>(h);
}
}  // namespace detail

template <class T> void mma_16x8x16(float (&c)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2]) {
  detail::operands all_a[32], all_b[32];
  emulator::exchange_all(detail::operands{{a[0], a[1], a[2], a[3]}}, all_a);
  emulator::exchange_all(detail::operands{{b[0], b[1], 0, 0}}, all_b);
  // Rows g and g + 8 of A, columns 2 t and 2 t + 1 of B: four threads hold each.
  int const g = emulator::lane() / 4, t = emulator::lane() % 4;
  double left[2][16], right[2][16];
  for (int owner = 0; owner < 4; ++owner)
    for (int half = 0; half < 2; ++half)
      for (int high = 0; high < 2; ++high)
        for (int one = 0; one < 2; ++one) {
          int const k = 8 * half + 2 * owner + high;
          left[one][k] =
              static_cast<double>(detail::half_at<T>(all_a[4 * g + owner].of[one + 2 * half], high));
          right[one][k] =
              static_cast<double>(detail::half_at<T>(all_b[4 * (2 * t + one) + owner].of[half], high));
        }
  for (int i = 0; i < 4; ++i) {
    double sum = static_cast<double>(c[i]);
    for (int k = 0; k < 16; ++k) sum += left[i / 2][k] * right[i % 2][k];
    c[i] = static_cast<float>(sum);
  }
}

inline void mma_16x8x8(float (&c)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2]) {
  detail::operands all_a[32], all_b[32];
  auto const number = [](std::uint32_t bits) {
    return static_cast<double>(__builtin_bit_cast(float, bits & ~0x1FFFu));
  };
  emulator::exchange_all(detail::operands{{a[0], a[1], a[2], a[3]}}, all_a);
  emulator::exchange_all(detail::operands{{b[0], b[1], 0, 0}}, all_b);
  int const g = emulator::lane() / 4, t = emulator::lane() % 4;
  for (int i = 0; i < 4; ++i) {
    int const row = g + (i / 2) * 8, column = 2 * t + i % 2;
    double sum = static_cast<double>(c[i]);
    for (int k = 0; k < 8; ++k)
      sum += number(all_a[row % 8 * 4 + k % 4].of[row / 8 + k / 4 * 2]) *
             number(all_b[column * 4 + k % 4].of[k / 4]);
    c[i] = static_cast<float>(sum);
  }
}

template <bool Transposed> void load_matrices(std::uint32_t (&to)[4], void const* row) {
  auto const* const own = static_cast<std::uint16_t const*>(row);
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) std::abort();
  int const g = emulator::lane() / 4, t = emulator::lane() % 4;
  std::uint16_t const* rows[32];
  emulator::exchange_all(own, rows);
  for (int i = 0; i < 4; ++i) {
    std::uint32_t both = 0;
    for (int high = 0; high < 2; ++high) {
      int const r = Transposed ? 2 * t + high : g, column = Transposed ? g : 2 * t + high;
      std::uint16_t const* const from = rows[8 * i + r];
      both |= static_cast<std::uint32_t>(from[column]) << (16 * high);
    }
    to[i] = both;
  }
}

inline void copy_async_16(void* shared, void const* global, bool there = true) {
  if (reinterpret_cast<std::uintptr_t>(shared) % 16 != 0 ||
      (there && reinterpret_cast<std::uintptr_t>(global) % 16 != 0))
    std::abort();
  emulator::later_copy(shared, there ? global : nullptr, 16);
}
inline void copy_async_4(void* shared, void const* global, bool there = true) {
  if (reinterpret_cast<std::uintptr_t>(shared) % 4 != 0 ||
      (there && reinterpret_cast<std::uintptr_t>(global) % 4 != 0))
    std::abort();
  emulator::later_copy(shared, there ? global : nullptr, 4);
}
inline void copy_commit() { emulator::close_copies(); }
template <int Left> void copy_wait() { emulator::finish_copies(Left); }

}  // namespace smx::cuda_kernels
