// SPDX-License-Identifier: Apache-2.0
/// \file  The shuffle that splits and epochs share: a function of the seed and a number.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <smx/core/rng.hpp>

namespace smx_examples {

/// R. Fisher and F. Yates; the same order on every machine.
inline void shuffle(std::vector<smx::index_t>& v, std::uint64_t seed, std::uint64_t stream) {
  smx::random_stream const from{seed, stream};
  for (std::size_t n = v.size(); n > 1; --n)
    std::swap(v[n - 1], v[static_cast<std::size_t>(from.uniform(n) * static_cast<double>(n))]);
}

}  // namespace smx_examples
