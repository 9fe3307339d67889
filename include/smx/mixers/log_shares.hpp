// SPDX-License-Identifier: Apache-2.0
/// \file  Sums of exponentials by their logarithms, for `map`: -inf is a sum without terms.
#pragma once

#include <cmath>
#include <limits>

#include <smx/core/config.hpp>

namespace smx::detail {

/// log(exp(a) + exp(b))
struct log_add {
  template <class T> SMX_HD T operator()(T a, T b) const {
    T const high = a < b ? b : a, low = a < b ? a : b;
    return low == T(-INFINITY) ? high : high + std::log1p(std::exp(low - high));
  }
};
/// exp(part - all), 0 for a part that is none
struct share_of {
  template <class T> SMX_HD T operator()(T part, T all) const {
    return part == T(-INFINITY) ? T(0) : std::exp(part - all);
  }
};

}  // namespace smx::detail
