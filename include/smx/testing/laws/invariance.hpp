// SPDX-License-Identifier: Apache-2.0
/// \file  Laws of what does not matter: other batch entries, other heads, strides, the number of threads.
#pragma once

#include <smx/testing/guarded.hpp>
#include <smx/testing/problem.hpp>

namespace smx::testing::laws {

/// A batch is its entries one by one, and heads are heads one by one (where they share weights and every
/// input has as many): the same bits.
template <HostBackend B, HasCases M> verdict batch_and_heads_are_independent(B& be, problem<M> const& p) {
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
  auto const splits = [&](int axis) {
    if (p.output[axis] < 2) return false;
    for (extents<4> const& e : p.ext)
      if (e[axis] != p.output[axis]) return false;
    return true;
  };
  if (splits(0))
    for (index_t b = 0; b < p.output[0]; ++b)
      if (auto bad = identical(text("y of batch entry %d alone", static_cast<int>(b)).c_str(), alone(0, b),
                               values(slice(whole.cview(), 0, b, 1))))
        return bad;
  if constexpr (!requires { requires !cases<M>::heads_alike; })
    if (splits(1))
      for (index_t h = 0; h < p.output[1]; ++h)
        if (auto bad = identical(text("y of head %d alone", static_cast<int>(h)).c_str(), alone(1, h),
                                 values(slice(whole.cview(), 1, h, 1))))
          return bad;
  return holds;
}

/// Strides do not change what is computed: y and the gradients are within the tolerances, nothing is written
/// between rows, and what lies there (NaN) is not read. Where a last axis is not contiguous the mixer may
/// refuse instead.
template <HostBackend B, HasCases M> verdict layouts_agree(B& be, problem<M> const& p) {
  for (layout how :
       {layout::offset, layout::gaps, layout::length_major, layout::broadcast, layout::channel_major}) {
    guarded_run<M> run(p, how);
    try {
      forward_into(be, p.mixer, run.w, run.x, run.y.write());
      expectation const want = expected(p.mixer, run.w, run.x);
      if (auto bad = within("y", values(run.y.read()), want.y, want.tolerance))
        return in_context(layout_name(how), bad);
      fill(run.y.write(), quiet_nan<typename M::scalar>);
      train_into(be, p.mixer, run.w, run.x, run.dy.read(), run.y.write(), run.dw, run.dx);
      if (auto bad = within("y with a tape", values(run.y.read()), want.y, want.tolerance))
        return in_context(layout_name(how), bad);
    } catch (precondition_error const& e) {
      if (how == layout::channel_major && p.output[2] > 1) continue;
      return text("%s: threw: %s", layout_name(how), e.what());
    }
    if (auto bad = run.intact(p.mixer)) return in_context(layout_name(how), bad);
    if (how == layout::broadcast) continue;  // another problem: the batch entries became equal
    gradient_values const want = train(be, p).g, allowed = gradient_tolerances(p);
    verdict bad;
    std::size_t i = 0;
    p.mixer.for_each_weight(
        [&](auto const& info, auto const& dw) {
          if (!bad) bad = within(info.name, values(dw), want.dw[i], scaled(allowed.dw[i], 2));
          ++i;
        },
        run.dw);
    i = 0;
    M::for_each_input(
        [&](char const* name, auto const& dx) {
          if (dx.size() == 0) return;
          if (!bad) bad = within(name, values(dx), want.dx[i], scaled(allowed.dx[i], 2));
          ++i;
        },
        run.dx);
    if (bad) return in_context(std::string(layout_name(how)) + ": gradient of", bad);
  }
  return holds;
}

/// The same bits for 1 to 4 threads: output and gradients. `make(n)` gives a backend with n threads.
template <class Make, HasCases M> verdict threads_agree(Make const& make, problem<M> const& p) {
  auto one = make(1);
  training_values const want = train(one, p);
  for (int n = 2; n <= 4; ++n) {
    auto be = make(n);
    training_values const got = train(be, p);
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
