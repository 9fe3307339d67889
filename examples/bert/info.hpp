// SPDX-License-Identifier: Apache-2.0
/// \file  What a folder with a model holds, and what it would cost to run.
#pragma once

#include <string>

#include <examples/bert/loaded.hpp>

namespace smx_examples {

/// Sizes, tensors and parameters, and the plan for `batch` sequences of `length` tokens; 0: the longest.
/// Reads no weights and allocates none. With `tensors` each tensor is listed.
std::string describe_bert(std::string const& folder, index_t batch, index_t length, int threads,
                          bool tensors);

}  // namespace smx_examples
