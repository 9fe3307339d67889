// SPDX-License-Identifier: Apache-2.0
/// \file  How a mixer joins the conformance suite: one specialisation of smx::testing::cases.
///
/// ```cpp
/// template <> struct smx::testing::cases<my_mixer> {
///   static std::vector<example<my_mixer>> examples() { return {{{.length = 7}, {{2, 1, 7, 3}}}}; }
///   static example<my_mixer> sized(index_t length) { return {{.length = length}, {{1, 1, length, 1}}}; }
///   static double terms(my_mixer const& m, host_inputs<my_mixer> const&) { return m.length; }
///   static void oracle(my_mixer const& m, host_weights<my_mixer> const& w, host_inputs<my_mixer> const& x,
///                      view<double, 4, host_space> y, view<double, 4, host_space> bound) { ... }
/// };
/// ```
///
/// oracle     writes y from the formula, in double, with loops of its own, and `bound`: the rounding error
///            that is allowed to each entry of y, as a multiple of the machine epsilon of the mixer's scalar.
///            For a product of matrices with n terms that is n |A||B| (N. Higham, "Accuracy and Stability of
///            Numerical Algorithms", 2002, section 3.5).
/// examples   mixers with the extents of their inputs; lengths 1, 2, a prime, a block +- 1, and a large one.
/// sized      a mixer of about the given length, for the growth of its flops; nothing is computed with it.
/// terms      for mixers that are linear in each argument: how many roundings an entry of y or of the input's
///            gradient collects; errors of gradients are then bounded by terms * |M|^T |dy|. Other mixers
///            give gradient_bounds(m, w, x, dy, dw, dx) instead, which appends an array of multiples of
///            epsilon for each weight and each input.
///
/// Optional:
/// sees(m, x, input, row, position)   whether position `position` of input number `input` may reach row
///            `row`. Without it: every one, or, for causal mixers, position <= row.
/// reaches(m, x, input, row, position)   whether a change there must change the row. Without it: as sees.
///            (A softmax over one key does not depend on the key, though it reads it.)
/// prefix(m, w, n)   the mixer of the first n rows and its weights, as a pair. Without it: the same ones.
/// prefix_bits = false   where the rows of a prefix are allowed a rounding error, though causality is exact:
///            no later position changes a bit, but the length of the input may.
/// query(input)   whether input number `input` holds queries, the others being the source, in mixers for
/// cross
///            patterns. Without it: the first does.
/// crosses(m)   whether a mixer with these options may be used in the cross patterns of its traits. Without
/// it:
///            yes.
/// first_positions(m, x, queries, source)   makes m and x, of whose inputs only so many first positions (at
///            most as many as there are) are left along L, what the law of a shorter example needs beside.
///            Without it: nothing.
/// logarithms  how many factors log L the flops may have beside L^e; 1 without it.
/// goes_on(m)   whether the mixer answers positions beyond those of the example (a mask that is a table does
///            not). Without it: yes.
/// streams(m)   whether a mixer with these options streams, where its traits say that it does. Without it:
/// yes. heads_alike = false   for mixers whose heads differ in their weights.
#pragma once

#include <vector>

#include <smx/mixers/parameters.hpp>

namespace smx::testing {

template <class M> using host_weights = typename M::template weights<reads_in<host_space>>;
template <class M> using host_inputs = typename M::template inputs<reads_in<host_space>>;

/// A mixer and what it is given.
template <class M> struct example {
  M mixer;
  std::vector<extents<4>> inputs;  ///< in the order of for_each_input; {} leaves an optional input out
  bool small = true;               ///< false: leave out the laws that run the mixer many times
};

template <class M> struct cases;

/// What a specialisation must have.
template <class M>
concept HasCases = requires(M const m, host_weights<M> w, host_inputs<M> x, view<double, 4, host_space> y) {
  { cases<M>::examples() } -> std::same_as<std::vector<example<M>>>;
  { cases<M>::sized(index_t{}) } -> std::same_as<example<M>>;
  cases<M>::oracle(m, w, x, y, y);
};

/// Whether position `position` of input number `input` may reach row `row` of the output.
template <class M> bool sees(M const& m, host_inputs<M> const& x, int input, index_t row, index_t position) {
  if constexpr (requires { cases<M>::sees(m, x, input, row, position); })
    return cases<M>::sees(m, x, input, row, position);
  else
    return M::about.causality == causality::none || position <= row;
}

/// Whether the mixer answers positions beyond those of its example.
template <class M> bool goes_on(M const& m) {
  if constexpr (requires { cases<M>::goes_on(m); })
    return cases<M>::goes_on(m);
  else
    return true;
}

/// Whether this mixer streams.
template <class M> bool streams(M const& m) {
  if constexpr (requires { cases<M>::streams(m); })
    return M::about.streaming && cases<M>::streams(m);
  else
    return M::about.streaming;
}

/// Whether a change of that position must change the row.
template <class M>
bool reaches(M const& m, host_inputs<M> const& x, int input, index_t row, index_t position) {
  if constexpr (requires { cases<M>::reaches(m, x, input, row, position); })
    return cases<M>::reaches(m, x, input, row, position);
  else
    return sees(m, x, input, row, position);
}

}  // namespace smx::testing
