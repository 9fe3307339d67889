// SPDX-License-Identifier: Apache-2.0
/// \file  Laws of the forward pass: equals the oracle, does not depend on a tape, runs twice the same.
#pragma once

#include <smx/testing/names.hpp>
#include <smx/testing/problem.hpp>

namespace smx::testing::laws {

/// forward equals the dense mixing matrix times the input, within the rounding error of its sums.
template <HasCases M> verdict forward_equals_oracle(runner<M> const& be, problem<M> const& p) {
  expectation const& want = expected(p);
  return within("y", forward_values(be, p.mixer, p.w(), p.x()), want.y, want.tolerance);
}

/// A tape records; it does not change a bit of the output.
template <HasCases M> verdict tape_changes_nothing(runner<M> const& be, problem<M> const& p) {
  return identical("y with a tape", train(be, p).y, forward_values(be, p.mixer, p.w(), p.x()));
}

/// The second run gives the bits of the first: output and gradients.
template <HasCases M> verdict repeats(runner<M> const& be, problem<M> const& p) {
  training_values const first = train(be, p), second = train(be, p);
  if (auto bad = identical("y of the second run", second.y, first.y)) return bad;
  for (std::size_t i = 0; i < first.g.dw.size(); ++i)
    if (auto bad = identical("weight gradient of the second run", second.g.dw[i], first.g.dw[i])) return bad;
  for (std::size_t i = 0; i < first.g.dx.size(); ++i)
    if (auto bad = identical("input gradient of the second run", second.g.dx[i], first.g.dx[i])) return bad;
  return holds;
}

/// Where rows of the mixing matrix are normalised: values that are all equal come out unchanged, and a row
/// that sees one position only is that position's value. The values are the input named "v", else the last
/// one; value head = floor(h Hv / H). The oracle's tolerance holds here too.
template <HasCases M> verdict normalised_rows(runner<M> const& be, problem<M> const& p) {
  if constexpr (!M::about.normalised) {
    return holds;
  } else {
    using T = typename M::scalar;
    int const value = [&] {
      auto const names = input_names<M>(p.x());
      int last = static_cast<int>(names.size()) - 1;
      for (int i = 0; i <= last; ++i)
        if (names[static_cast<std::size_t>(i)] == "v") return i;
      return last;
    }();
    auto const with_values = [&](auto const& change) {
      arguments<M> a = p.given.clone(p.mixer);
      int next = 0;
      M::for_each_input(
          [&](char const*, auto& one) {
            if (one.size() > 0 && next++ == value) change(one.view());
          },
          a.inputs);
      return a;
    };
    index_t const positions = p.ext[static_cast<std::size_t>(value)][2];
    auto const seen = [&](index_t row, index_t& only) {
      index_t count = 0;
      for (index_t j = 0; j < positions; ++j)
        if (sees(p.mixer, p.x(), value, row, j)) ++count, only = j;
      return count;
    };

    auto const constant = with_values([](auto const& v) { fill(v, T(1.5)); });
    auto const y = forward_tensor(be, p.mixer, constant.w(), constant.x());
    numbers const& tolerance = expected(p, "constant values", p.mixer, constant.w(), constant.x()).tolerance;
    numbers want;
    for (index_t i = 0; i < p.output[0] * p.output[1]; ++i)
      for (index_t row = 0; row < p.output[2]; ++row) {
        index_t only = 0;
        want.insert(want.end(), static_cast<std::size_t>(p.output[3]), seen(row, only) > 0 ? 1.5 : 0.0);
      }
    if (auto bad = within("y of constant values", values(y.cview()), want, tolerance)) return bad;

    view<T const, 4, host_space> v;
    int next = 0;
    M::for_each_input(
        [&](char const*, auto const& one) {
          if (one.size() > 0 && next++ == value) v = one;
        },
        p.x());
    auto const z = forward_tensor(be, p.mixer, p.w(), p.x());
    numbers const& allowed = expected(p).tolerance;
    for (index_t row = 0; row < p.output[2]; ++row) {
      index_t only = 0;
      if (seen(row, only) != 1) continue;
      numbers got, single, near;
      for (index_t b = 0; b < p.output[0]; ++b)
        for (index_t h = 0; h < p.output[1]; ++h)
          for (index_t d = 0; d < p.output[3]; ++d) {
            got.push_back(z(b, h, row, d));
            single.push_back(v(b, h * v.ext[1] / p.output[1], only, d));
            near.push_back(allowed[static_cast<std::size_t>(
                ((b * p.output[1] + h) * p.output[2] + row) * p.output[3] + d)]);
          }
      if (auto bad = within("y of a row that sees one value", got, single, near)) return bad;
    }
    return holds;
  }
}

}  // namespace smx::testing::laws
