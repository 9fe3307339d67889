// SPDX-License-Identifier: Apache-2.0
/// \file  What a mixer says about itself at compile time, and the attention patterns that follow from it.
///
/// Patterns as in CAB (J. Zhang et al., "CAB: Comprehensive Attention Benchmarking on Long Sequence
/// Modeling", ICML 2023): {noncausal, causal} x {self, cross}. Causal cross is causal in the queries and sees
/// every key.
#pragma once

#include <string_view>

namespace smx {

/// none: a row may depend on every position. exact: no change of a later position changes a bit of an earlier
/// row. rounding: a transform mixes positions, so a later position moves an earlier row by rounding errors
/// (the mixer states the bound), and a NaN anywhere reaches every row.
enum class causality : char { none, exact, rounding };

enum class pattern : char { noncausal_self, causal_self, noncausal_cross, causal_cross };

struct traits {
  std::string_view name;
  smx::causality causality = causality::none;
  bool data_dependent = false;  ///< the mixing matrix depends on the inputs
  bool streaming = false;       ///< has make_state, prefill, step
  bool truncates = false;       ///< its state forgets its last tokens at once; others go back to snapshots
  bool evicts = false;          ///< its state can drop its oldest tokens
  double flops_exponent = 2;    ///< forward flops grow as L^e, logarithms left out; checked against the plan
  bool same_source = true;      ///< queries and keys come from one sequence: no cross patterns
  bool row_separable = false;   ///< row i is a function of query i and of the source alone
  bool normalised = false;      ///< rows of the mixing matrix are non-negative and sum to 1
  bool pointwise = false;       ///< mixes channels only, row by row: no sequence pattern applies
};

/// Whether mixer M can be used in pattern P: derived, so that no table can drift from the code.
template <class M, pattern P>
inline constexpr bool supports = [] {
  constexpr traits t = M::about;
  if (t.pointwise) return false;
  switch (P) {
    case pattern::noncausal_self:
      return t.causality == causality::none;
    case pattern::causal_self:
      return t.causality != causality::none;
    case pattern::noncausal_cross:
      return !t.same_source && t.causality == causality::none;
    case pattern::causal_cross:
      return !t.same_source && t.row_separable && t.causality == causality::none;
  }
  return false;
}();

/// Constrains code that needs a pattern: `template <SupportsPattern<pattern::causal_self> M>`.
template <class M, pattern P>
concept SupportsPattern = supports<M, P>;

}  // namespace smx
