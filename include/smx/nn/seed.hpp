// SPDX-License-Identifier: Apache-2.0
/// \file  Seeds for the layers of a model that draw random numbers: each part gets one of its own.
#pragma once

#include <cstdint>

#include <smx/core/config.hpp>

namespace smx::nn {

/// A seed for part number `part` of what has `seed` (the finaliser of SplitMix64: G. Steele et al., OOPSLA
/// 2014).
SMX_HD constexpr std::uint64_t part_seed(std::uint64_t seed, std::uint64_t part) {
  std::uint64_t z = seed + (part + 1) * 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

/// Gives a layer the seed of its random numbers; layers that draw none have no `reseed`.
template <class L> void reseed(L& layer, std::uint64_t seed) {
  if constexpr (requires { layer.reseed(seed); }) layer.reseed(seed);
}

}  // namespace smx::nn
