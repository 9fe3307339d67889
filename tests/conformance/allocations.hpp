// SPDX-License-Identifier: Apache-2.0
/// \file  Counts what the process takes from the heap; test_allocations.cpp replaces the allocator's entries.
#pragma once

namespace test {

/// Calls of malloc, calloc, realloc and of the aligned forms so far, by all threads; operator new makes one.
long allocations();

}  // namespace test
