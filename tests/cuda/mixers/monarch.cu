// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cases/block_diagonal.hpp"
#include "tests/conformance/cases/dense.hpp"
#include "tests/conformance/cases/masked_monarch.hpp"
#include "tests/conformance/cases/monarch.hpp"
#include "tests/cuda/short.cuh"

namespace {
test::suite const monarch{"short_monarch", test::in_short<smx::monarch<float>>};
test::suite const block_diagonal{"short_block_diagonal", test::in_short<smx::block_diagonal<float>>};
test::suite const dense{"short_dense", test::in_short<smx::dense<float, true>>};
test::suite const masked_monarch{"short_masked_monarch", test::in_short<smx::masked_monarch<float>>};
}  // namespace
