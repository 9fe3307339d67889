// SPDX-License-Identifier: Apache-2.0
// The same templates in two translation units: one program, one answer.
#include <smx/backend/cpu.hpp>
#include <smx/core/tensor.hpp>
#include <smx/version.hpp>

smx::index_t size_seen_by_the_other_unit();

int main() { return smx::checked_size(smx::extents{2, 3}) == size_seen_by_the_other_unit() ? 0 : 1; }
