// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/causal_monarch.hpp"
#include "tests/conformance/cases/long_convolution.hpp"
#include "tests/cuda/short.cuh"

namespace {
test::suite const long_convolution{"short_long_convolution", test::in_short<smx::long_convolution<float>>};
test::suite const causal_monarch{"short_causal_monarch", test::in_short<smx::causal_monarch<float>>};
test::suite const chebyshev_monarch{"short_chebyshev_monarch", test::in_short<smx::chebyshev_monarch<float>>};
}  // namespace
