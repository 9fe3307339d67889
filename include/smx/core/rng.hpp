// SPDX-License-Identifier: Apache-2.0
/// \file  Counter-based random numbers: entry i of stream s under seed k is a pure function of (k, s, i), so
/// the numbers are
///        the same for any thread count, order and backend.
///
/// Philox 4x32-10: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC
/// 2011.
#pragma once

#include <cmath>
#include <cstdint>

#include <smx/core/config.hpp>
#include <smx/core/extents.hpp>

namespace smx {

/// Four 32-bit words.
struct philox_block {
  std::uint32_t w[4];
  friend constexpr bool operator==(philox_block const&, philox_block const&) = default;
};

/// Ten rounds of Philox on a 128-bit counter under a 64-bit key.
SMX_HD constexpr philox_block philox4x32(philox_block counter, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    std::uint64_t const a = std::uint64_t{0xD2511F53u} * counter.w[0];
    std::uint64_t const b = std::uint64_t{0xCD9E8D57u} * counter.w[2];
    counter = {{static_cast<std::uint32_t>(b >> 32) ^ counter.w[1] ^ key0, static_cast<std::uint32_t>(b),
                static_cast<std::uint32_t>(a >> 32) ^ counter.w[3] ^ key1, static_cast<std::uint32_t>(a)}};
    key0 += 0x9E3779B9u;  // the golden ratio
    key1 += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return counter;
}

/// The numbers of one (seed, stream), addressed by index.
struct random_stream {
  std::uint64_t seed = 0, stream = 0;

  /// 128 random bits of entry `index`, as two words.
  struct bits {
    std::uint64_t high, low;
  };
  SMX_HD constexpr bits at(std::uint64_t index) const {
    philox_block const b =
        philox4x32({{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                     static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)}},
                   static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
    return {std::uint64_t{b.w[0]} << 32 | b.w[1], std::uint64_t{b.w[2]} << 32 | b.w[3]};
  }
  /// Uniform in [0, 1), 53 bits.
  SMX_HD constexpr double uniform(std::uint64_t index) const {
    return static_cast<double>(at(index).high >> 11) * 0x1p-53;
  }
  /// Normal with mean 0 and variance 1 (Box and Muller).
  SMX_HD double normal(std::uint64_t index) const {
    bits const b = at(index);
    double const radius = std::sqrt(-2.0 * std::log(static_cast<double>((b.high >> 11) + 1) * 0x1p-53));
    return radius * std::cos(6.283185307179586477 * (static_cast<double>(b.low >> 11) * 0x1p-53));
  }
};

}  // namespace smx
