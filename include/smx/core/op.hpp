// SPDX-License-Identifier: Apache-2.0
/// \file  How a matrix product reads an operand.
#pragma once

namespace smx {

/// op(A): A itself or its transpose.
enum class op : char { none = 'n', transpose = 't' };

}  // namespace smx
