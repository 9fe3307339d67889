// SPDX-License-Identifier: Apache-2.0
/// \file  The next token from logits: temperature, top-k, top-p. O(V log V).
#pragma once

#include <span>

#include <smx/core/extents.hpp>

namespace smx_examples {

struct sampling {
  double temperature = 1;  ///< 0: the largest logit, the first of equal ones
  smx::index_t top_k = 0;  ///< of the largest logits; 0: all
  double top_p = 1;        ///< the fewest tokens, by falling probability, that have this share together
};

/// Throws smx::precondition_error, which names the option, for what makes no sense.
void check_sampling(sampling const& how);

/// `uniform` in [0, 1) decides.
smx::index_t choose_token(std::span<float const> logits, sampling const& how, double uniform);

}  // namespace smx_examples
