// SPDX-License-Identifier: Apache-2.0
/// \file  Laws of what does not matter: other batch entries, other heads, strides, the number of threads.
#pragma once

#include <smx/testing/guarded.hpp>
#include <smx/testing/maker.hpp>
#include <smx/testing/names.hpp>
#include <smx/testing/problem.hpp>

namespace smx::testing::laws {

/// A batch is its entries one by one, and heads are heads one by one (where they share weights and every
/// input has as many): the same bits, or, where those depend on shapes, within the rounding errors of both.
template <HasCases M>
verdict batch_and_heads_are_independent(runner<M> const& be, problem<M> const& p, bool same_bits = true) {
  auto const whole = forward_tensor(be, p.mixer, p.w(), p.x());
  auto const alone = [&](int axis, index_t i) {
    host_inputs<M> one;
    M::for_each_input(
        [&](char const*, auto const& from, auto& to) {
          if (from.size() > 0) to = slice(from, axis, i, 1);
        },
        p.x(), one);
    return forward_values(be, p.mixer, p.w(), one);
  };
  tensor<double, 4> allowed(p.output);
  if (!same_bits) {
    numbers const all = expected(p).tolerance;
    std::copy(all.begin(), all.end(), allowed.data());
  }
  auto const equal = [&](std::string const& what, int axis, index_t i) {
    numbers const got = alone(axis, i), want = values(slice(whole.cview(), axis, i, 1));
    if (same_bits) return identical(what.c_str(), got, want);
    return within(what.c_str(), got, want, scaled(values(slice(allowed.cview(), axis, i, 1)), 2));
  };
  auto const splits = [&](int axis) {
    if (p.output[axis] < 2) return false;
    for (extents<4> const& e : p.ext)
      if (e[axis] != p.output[axis]) return false;
    return true;
  };
  if (splits(0))
    for (index_t b = 0; b < p.output[0]; ++b)
      if (auto bad = equal(text("y of batch entry %d alone", static_cast<int>(b)), 0, b)) return bad;
  if constexpr (!requires { requires !cases<M>::heads_alike; })
    if (splits(1))
      for (index_t h = 0; h < p.output[1]; ++h)
        if (auto bad = equal(text("y of head %d alone", static_cast<int>(h)), 1, h)) return bad;
  return holds;
}

/// The results of a run in guarded arrays are y and these gradients, within the tolerances; nothing is
/// written between rows, and what lies there (NaN) is not read.
template <HasCases M>
verdict runs_in_layout(runner<M> const& be, problem<M> const& p, guarded_run<M>& run, expectation const& y,
                       gradient_values const* want, gradient_values const& allowed) {
  be.forward(p.mixer, run.w, run.x, run.y.write());
  if (auto bad = within("y", values(run.y.read()), y.y, y.tolerance)) return bad;
  fill(run.y.write(), quiet_nan<typename M::scalar>);
  be.train(p.mixer, run.w, run.x, run.dy.read(), run.y.write(), run.dw, run.dx);
  if (auto bad = within("y with a tape", values(run.y.read()), y.y, y.tolerance)) return bad;
  if (auto bad = run.intact(p.mixer)) return bad;
  if (want == nullptr) return holds;
  verdict bad;
  std::size_t i = 0, j = 0;
  p.mixer.for_each_weight(
      [&](auto const& info, auto const& dw) {
        if (!bad) bad = within(info.name, values(dw), want->dw[i], scaled(allowed.dw[i], 2));
        ++i;
      },
      run.dw);
  M::for_each_input(
      [&](char const* name, auto const& dx) {
        if (dx.size() == 0) return;
        if (!bad) bad = within(name, values(dx), want->dx[j], scaled(allowed.dx[j], 2));
        ++j;
      },
      run.dx);
  return in_context("gradient", bad);
}

/// Strides do not change what is computed. Where a last axis is not contiguous, of all arguments or of one
/// alone, the mixer may refuse instead, naming the argument.
template <HasCases M> verdict layouts_agree(runner<M> const& be, problem<M> const& p) {
  gradient_values const want = train(be, p).g;
  gradient_values const& allowed = gradient_tolerances(p);
  auto const names = argument_names(p);
  auto const tried = [&](std::string const& where, guarded_run<M>& run, bool may_refuse,
                         gradient_values const* gradients) -> verdict {
    // broadcast is another problem: the batch entries became equal
    expectation const& y = gradients == nullptr ? expected(p, where, p.mixer, run.w, run.x) : expected(p);
    try {
      return in_context(where, runs_in_layout(be, p, run, y, gradients, allowed));
    } catch (precondition_error const& e) {
      if (may_refuse && names_one_of(e.what(), names)) return holds;
      return text("%s: threw: %s", where.c_str(), e.what());
    }
  };
  for (layout how :
       {layout::offset, layout::gaps, layout::length_major, layout::broadcast, layout::channel_major}) {
    guarded_run<M> run(p, how);
    if (auto bad = tried(layout_name(how), run, how == layout::channel_major,
                         how == layout::broadcast ? nullptr : &want))
      return bad;
  }
  if (p.output[2] > 40) return holds;
  for (int one = 0, count = 1; one < count; ++one) {
    guarded_run<M> run(p, one, layout::channel_major);
    count = run.count;
    if (auto bad =
            tried(text("argument %d alone with a last axis that is not contiguous", one), run, true, &want))
      return bad;
  }
  return holds;
}

/// The same bits for 1 to 4 threads: output and gradients, of backends that have threads.
template <HasCases M> verdict threads_agree(maker<M> const& make, problem<M> const& p) {
  if (!make.takes_threads()) return holds;
  training_values const want = train(make.with_threads(1), p);
  for (int n = 2; n <= 4; ++n) {
    training_values const got = train(make.with_threads(n), p);
    verdict bad = identical("y", got.y, want.y);
    for (std::size_t i = 0; i < want.g.dw.size() && !bad; ++i)
      bad = identical("weight gradient", got.g.dw[i], want.g.dw[i]);
    for (std::size_t i = 0; i < want.g.dx.size() && !bad; ++i)
      bad = identical("input gradient", got.g.dx[i], want.g.dx[i]);
    if (bad) return in_context(text("%d threads against one", n), bad);
  }
  return holds;
}

}  // namespace smx::testing::laws
