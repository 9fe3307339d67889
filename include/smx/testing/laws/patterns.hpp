// SPDX-License-Identifier: Apache-2.0
/// \file  Laws of the cross patterns that a mixer's traits promise, from their definitions. (The self
/// patterns
///        are what the laws of reach and of causality say.)
#pragma once

#include <smx/testing/laws/causality.hpp>

namespace smx::testing {

/// Whether input number `input` holds queries; the others are the source.
template <class M> constexpr bool is_query(int input) {
  if constexpr (requires { cases<M>::query(input); })
    return cases<M>::query(input);
  else
    return input == 0;
}

/// Whether this mixer, with its options, may be used in cross patterns.
template <class M> bool crosses(M const& m) {
  if constexpr (requires { cases<M>::crosses(m); })
    return cases<M>::crosses(m);
  else
    return true;
}

namespace laws {

/// The arguments with only the first positions of queries and source.
template <HasCases M> struct first_positions {
  M mixer;
  host_inputs<M> x;

  first_positions(problem<M> const& p, index_t queries, index_t source) : mixer(p.mixer) {
    int input = 0;
    M::for_each_input(
        [&](char const*, auto const& from, auto& to) {
          if (from.size() == 0) return;
          index_t const n = is_query<M>(input++) ? queries : source;
          to = slice(from, 2, 0, n < from.ext[2] ? n : from.ext[2]);
        },
        p.x(), x);
    if constexpr (requires { cases<M>::first_positions(mixer, x, queries, source); })
      cases<M>::first_positions(mixer, x, queries, source);
  }
};

/// Noncausal cross: queries and source may be of any lengths, each without the other.
template <HasCases M> verdict source_has_its_own_length(runner<M> const& be, problem<M> const& p) {
  if constexpr (!supports<M, pattern::noncausal_cross>) {
    return holds;
  } else {
    if (!crosses(p.mixer)) return holds;
    index_t const rows = p.output[2];
    index_t source = 0;
    for (std::size_t i = 0; i < p.ext.size(); ++i)
      if (!is_query<M>(static_cast<int>(i))) source = p.ext[i][2];
    struct lengths {
      index_t queries, source;
    };
    for (lengths n : {lengths{rows, 1}, lengths{rows, (source + 1) / 2}, lengths{1, source},
                      lengths{(rows + 1) / 2, source}}) {
      first_positions<M> const part(p, n.queries, n.source);
      numbers const got = forward_values(be, part.mixer, p.w(), part.x);
      auto const name = text("y of %lld queries and a source of %lld", static_cast<long long>(n.queries),
                             static_cast<long long>(n.source));
      expectation const& want = expected(p, name, part.mixer, p.w(), part.x);
      if (auto bad = within(name.c_str(), got, want.y, want.tolerance)) return bad;
    }
    return holds;
  }
}

/// Causal cross: row i of mix(X[:i+1], Y) is row i of mix(X, Y), and no bit of a row changes with a later
/// query. (How many queries there are may change how a row is summed, so that the first is within the
/// rounding errors of both.)
template <HasCases M> verdict rows_are_separable(runner<M> const& be, problem<M> const& p) {
  if constexpr (!supports<M, pattern::causal_cross>) {
    return holds;
  } else {
    if (!crosses(p.mixer)) return holds;
    using T = typename M::scalar;
    numbers const whole = forward_values(be, p.mixer, p.w(), p.x());
    numbers const& allowed = expected(p).tolerance;
    for (index_t row : probes(p.output[2])) {
      first_positions<M> const part(p, row + 1, std::numeric_limits<index_t>::max());
      extents<4> const e = part.mixer.output_extents(part.x);
      numbers const got = forward_values(be, part.mixer, p.w(), part.x);
      auto const name = text("row %lld of the first queries alone", static_cast<long long>(row));
      numbers const& tolerance = expected(p, name, part.mixer, p.w(), part.x).tolerance;
      if (auto bad = within(name.c_str(), row_of(got, e, row), row_of(whole, p.output, row),
                            sum(row_of(tolerance, e, row), row_of(allowed, p.output, row))))
        return bad;

      auto const later = with_changed(
          p, [&](int input, index_t i) { return is_query<M>(input) && i > row; },
          [](auto const& v) { fill(v, quiet_nan<T>); });
      numbers const changed = forward_values(be, p.mixer, later.w(), later.x());
      if (auto bad = identical("y", row_of(changed, p.output, row), row_of(whole, p.output, row)))
        return in_context(text("row %lld with nan in every later query", static_cast<long long>(row)), bad);
    }
    return holds;
  }
}

}  // namespace laws
}  // namespace smx::testing
