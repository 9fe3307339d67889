// SPDX-License-Identifier: Apache-2.0
/// \file  Laws of who sees whom: reach, causality, prefixes, NaN.
#pragma once

#include <algorithm>

#include <smx/testing/problem.hpp>

namespace smx::testing::laws {

/// All positions of a short axis; of a long one the ends and the neighbours of blocks.
inline std::vector<index_t> probes(index_t n) {
  std::vector<index_t> at;
  if (n <= 24) {
    for (index_t i = 0; i < n; ++i) at.push_back(i);
    return at;
  }
  for (index_t i :
       {index_t{0}, index_t{1}, n / 2, index_t{63}, index_t{64}, index_t{127}, index_t{128}, n - 2, n - 1})
    if (i < n) at.push_back(i);
  std::sort(at.begin(), at.end());
  at.erase(std::unique(at.begin(), at.end()), at.end());
  return at;
}

/// The entries of one row of the output, all batch entries and heads.
inline numbers row_of(numbers const& y, extents<4> const& e, index_t row) {
  numbers out;
  for (index_t bh = 0; bh < e[0] * e[1]; ++bh) {
    auto const first = y.begin() + (bh * e[2] + row) * e[3];
    out.insert(out.end(), first, first + e[3]);
  }
  return out;
}

/// A copy of the arguments in which f(view of the positions, input) was applied to some positions of inputs.
template <HasCases M, class Chosen, class F>
arguments<M> with_changed(problem<M> const& p, Chosen const& chosen, F const& change) {
  arguments<M> a = p.given.clone(p.mixer);
  int input = 0;
  M::for_each_input(
      [&](char const*, auto& one) {
        if (one.size() == 0) return;
        for (index_t j = 0; j < one.extents()[2]; ++j)
          if (chosen(input, j)) change(slice(one.view(), 2, j, 1));
        ++input;
      },
      a.inputs);
  return a;
}

/// Whether position `position` of that input comes after everything of it that the row sees.
template <HasCases M> bool is_future(problem<M> const& p, int input, index_t row, index_t position) {
  for (index_t j = position; j < p.ext[static_cast<std::size_t>(input)][2]; ++j)
    if (sees(p.mixer, p.x(), input, row, j)) return false;
  return true;
}

/// Every position that reaches a row changes it, and a position that the row does not see does not: not by a
/// bit where causality is exact and the position comes later, else not by more than the rounding error of
/// both outputs. Where causality is `rounding`, bits change by leaks too, so that a change counts from beyond
/// that error on; in double only, where the error is far below what a position contributes.
template <HasCases M> verdict rows_depend_on_what_they_see(runner<M> const& be, problem<M> const& p) {
  using T = typename M::scalar;
  constexpr bool leaks = M::about.causality == causality::rounding;
  numbers const before = forward_values(be, p.mixer, p.w(), p.x());
  numbers const& allowed = expected(p).tolerance;
  for (std::size_t k = 0; k < p.ext.size(); ++k)
    for (index_t position : probes(p.ext[k][2])) {
      int const input = static_cast<int>(k);
      auto const a = with_changed(
          p, [&](int i, index_t j) { return i == input && j == position; },
          [&](auto const& v) {
            std::uint64_t n = 0;
            loops::for_each_index(v.ext, [&](auto const& i) {
              loops::at(v, i) += static_cast<T>(random_stream{3, 1}.normal(n++));
            });
          });
      numbers const after = forward_values(be, p.mixer, a.w(), a.x());
      auto const changed =
          text("a change of input %d, position %lld", input, static_cast<long long>(position));
      numbers const tolerance = sum(expected(p, changed, p.mixer, a.w(), a.x()).tolerance, allowed);
      for (index_t row = 0; row < p.output[2]; ++row) {
        std::string const where = text("input %d, position %lld, row %lld", input,
                                       static_cast<long long>(position), static_cast<long long>(row));
        numbers const got = row_of(after, p.output, row), was = row_of(before, p.output, row);
        auto const bad = within("y", got, was, row_of(tolerance, p.output, row));
        if (reaches(p.mixer, p.x(), input, row, position)) {
          bool const reached = leaks ? bad || std::same_as<T, float> : got != was;
          if (!reached) return where + ": a change of this position does not reach the row";
        } else if (!sees(p.mixer, p.x(), input, row, position)) {
          if (bad) return in_context(where + ": a position that the row does not see", bad);
          if (M::about.causality == causality::exact && is_future(p, input, row, position))
            if (auto later = identical("y", got, was))
              return in_context(where + ": a later position than the row sees", later);
        }
      }
    }
  return holds;
}

/// Where causality is exact: with 1e30, and with NaN, in every later position than those that a row sees, in
/// all inputs at once, the row keeps its bits.
template <HasCases M> verdict future_is_unread(runner<M> const& be, problem<M> const& p) {
  if constexpr (M::about.causality != causality::exact) {
    return holds;
  } else {
    using T = typename M::scalar;
    numbers const before = forward_values(be, p.mixer, p.w(), p.x());
    for (index_t row : probes(p.output[2]))
      for (T value : {T(1e30), quiet_nan<T>}) {
        auto const a = with_changed(
            p, [&](int input, index_t j) { return is_future(p, input, row, j); },
            [&](auto const& v) { fill(v, value); });
        numbers const after = forward_values(be, p.mixer, a.w(), a.x());
        if (auto bad = identical("y", row_of(after, p.output, row), row_of(before, p.output, row)))
          return in_context(text("row %lld with %g in every later position", static_cast<long long>(row),
                                 static_cast<double>(value)),
                            bad);
      }
    return holds;
  }
}

/// A causal mixer on the first n positions gives the first n rows: the same bits where causality is exact
/// (unless cases<M>::prefix_bits is false, or bits depend on shapes), else within the rounding error of both.
template <HasCases M>
verdict prefixes_agree(runner<M> const& be, problem<M> const& p, bool same_bits = true) {
  if constexpr (M::about.causality == causality::none) {
    return holds;
  } else {
    constexpr bool bits = M::about.causality == causality::exact && !requires {
      requires !cases<M>::prefix_bits;
    };
    for (extents<4> const& e : p.ext)
      if (e[2] != p.output[2]) return holds;
    auto const whole = forward_tensor(be, p.mixer, p.w(), p.x());
    for (index_t n : probes(p.output[2])) {
      if (n == 0) continue;
      host_inputs<M> x;
      M::for_each_input(
          [&](char const*, auto const& from, auto& to) {
            if (from.size() > 0) to = slice(from, 2, 0, n);
          },
          p.x(), x);
      std::pair<M, host_weights<M>> first = [&]() -> std::pair<M, host_weights<M>> {
        if constexpr (requires { cases<M>::prefix(p.mixer, p.w(), n); })
          return cases<M>::prefix(p.mixer, p.w(), n);
        else
          return {p.mixer, p.w()};
      }();
      if constexpr (requires { cases<M>::first_positions(first.first, x, n, n); })
        cases<M>::first_positions(first.first, x, n, n);
      numbers const got = forward_values(be, first.first, first.second, x),
                    want = values(slice(whole.cview(), 2, 0, n));
      auto const name = text("y of the first %lld positions", static_cast<long long>(n));
      if (bits && same_bits) {
        if (auto bad = identical(name.c_str(), got, want)) return bad;
      } else {
        tensor<double, 4> tolerance(p.output);
        numbers const& all = expected(p).tolerance;
        std::copy(all.begin(), all.end(), tolerance.data());
        if (auto bad = within(name.c_str(), got, want,
                              sum(values(slice(tolerance.cview(), 2, 0, n)),
                                  expected(p, name, first.first, first.second, x).tolerance)))
          return bad;
      }
    }
    return holds;
  }
}

/// A NaN in a position reaches every entry of every row that sees the position.
template <HasCases M> verdict nan_propagates(runner<M> const& be, problem<M> const& p) {
  using T = typename M::scalar;
  for (std::size_t k = 0; k < p.ext.size(); ++k)
    for (index_t position : probes(p.ext[k][2])) {
      auto const a = with_changed(
          p, [&](int input, index_t j) { return static_cast<std::size_t>(input) == k && j == position; },
          [](auto const& v) { fill(v, quiet_nan<T>); });
      numbers const y = forward_values(be, p.mixer, a.w(), a.x());
      for (index_t row = 0; row < p.output[2]; ++row)
        if (sees(p.mixer, p.x(), static_cast<int>(k), row, position))
          for (double entry : row_of(y, p.output, row))
            if (!std::isnan(entry))
              return text("input %zu, position %lld: a NaN there does not reach row %lld, which is %g", k,
                          static_cast<long long>(position), static_cast<long long>(row), entry);
    }
  return holds;
}

}  // namespace smx::testing::laws
