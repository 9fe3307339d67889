// SPDX-License-Identifier: Apache-2.0
/// \file  Laws of the backward pass: the adjoint of forward, accumulation, what is written and what is not.
#pragma once

#include <smx/testing/names.hpp>
#include <smx/testing/problem.hpp>

namespace smx::testing::laws {

/// <dy, J u> = <J^T dy, u> for a random direction u of each input and of each weight; J u by central
/// differences with steps h and h/2, extrapolated. Mixers in double only: float has too few digits for a
/// difference. Tolerance: the rounding of forward divided by the step, that of backward, and the difference
/// between the two step sizes, which is more than what the extrapolation leaves. Tables that are not trained
/// have no gradient.
template <HasCases M> verdict backward_is_adjoint(runner<M> const& be, problem<M> const& p) {
  if constexpr (!std::same_as<typename M::scalar, double>) {
    return holds;
  } else {
    constexpr double h = 0x1p-10;
    gradient_values const got = train(be, p).g;
    gradient_values const& allowed = gradient_tolerances(p);
    numbers const dy = values(p.dy());
    double const forward_error = absolute_dot(dy, expected(p).tolerance);
    auto const check = [&](std::string const& name, numbers const& gradient, numbers const& tolerance,
                           std::uint64_t stream, auto const& shift) -> verdict {
      random_stream const direction{77, stream};
      auto const slope = [&](double step) {
        arguments<M> ahead = p.given.clone(p.mixer), behind = p.given.clone(p.mixer);
        shift(ahead, direction, step);
        shift(behind, direction, -step);
        numbers const a = forward_values(be, p.mixer, ahead.w(), ahead.x()),
                      b = forward_values(be, p.mixer, behind.w(), behind.x());
        return (dot(dy, a) - dot(dy, b)) / (2 * step);
      };
      double const wide = slope(h), narrow = slope(h / 2), want = (4 * narrow - wide) / 3;
      numbers u(gradient.size());
      for (std::size_t i = 0; i < u.size(); ++i) u[i] = direction.normal(i);
      double const tolerance_sum =
          4 * forward_error / h + absolute_dot(tolerance, u) + std::fabs(wide - narrow);
      return within(("<gradient of " + name + ", u>").c_str(), {dot(gradient, u)}, {want}, {tolerance_sum});
    };
    auto const add = [](auto const& v, random_stream u, double step) {
      std::uint64_t n = 0;
      loops::for_each_index(v.ext, [&](auto const& i) { loops::at(v, i) += step * u.normal(n++); });
    };
    auto const weights = weight_names(p.mixer), inputs = input_names<M>(p.x());
    auto const trained = trained_weights(p.mixer);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (!trained[i]) continue;
      auto const shift = [&](arguments<M>& a, random_stream u, double step) {
        std::size_t next = 0;
        p.mixer.for_each_weight(
            [&](auto const&, auto const& one) {
              if (next++ == i) add(one, u, step);
            },
            a.weights.write());
      };
      if (auto bad = check(weights[i], got.dw[i], allowed.dw[i], i, shift)) return bad;
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      auto const shift = [&](arguments<M>& a, random_stream u, double step) {
        std::size_t next = 0;
        M::for_each_input(
            [&](char const*, auto& one) {
              if (one.size() > 0 && next++ == i) add(one.view(), u, step);
            },
            a.inputs);
      };
      if (auto bad = check(inputs[i], got.dx[i], allowed.dx[i], 100 + i, shift)) return bad;
    }
    return holds;
  }
}

/// Gradients equal those of the reference backend, within the rounding error of both.
template <HasCases M> verdict gradients_equal_reference(runner<M> const& be, problem<M> const& p) {
  gradient_values const got = train(be, p).g;
  gradient_values const &want = reference_training(p).g, &allowed = gradient_tolerances(p);
  auto const weights = weight_names(p.mixer), inputs = input_names<M>(p.x());
  for (std::size_t i = 0; i < weights.size(); ++i)
    if (auto bad = within(("d" + weights[i]).c_str(), got.dw[i], want.dw[i], scaled(allowed.dw[i], 2)))
      return bad;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (auto bad = within(("d" + inputs[i]).c_str(), got.dx[i], want.dx[i], scaled(allowed.dx[i], 2)))
      return bad;
  return holds;
}

/// Weight gradients are added to what is there, input gradients replace it, and weights, inputs and the
/// upstream gradient keep their bits.
template <HasCases M> verdict gradients_accumulate(runner<M> const& be, problem<M> const& p) {
  using T = typename M::scalar;
  arguments<M> const given = p.given.clone(p.mixer);
  tensor<T, 4> const dy = p.upstream.clone();
  tensor<T, 4> y(p.output);
  gradient_memory<M> g(p.mixer, given.x());
  auto const run = [&] {
    be.train(p.mixer, given.w(), given.x(), dy.cview(), y.view(), g.dw.write(), g.dx);
    return g.read(p.mixer);
  };
  gradient_values const once = run();

  verdict changed = identical("dy, which is read only", values(dy.cview()), values(p.dy()));
  p.mixer.for_each_weight(
      [&](auto const& info, auto const& now, auto const& before) {
        if (!changed) changed = identical(info.name, values(now), values(before));
      },
      given.w(), p.w());
  M::for_each_input(
      [&](char const* name, auto const& now, auto const& before) {
        if (!changed && before.size() > 0) changed = identical(name, values(now), values(before));
      },
      given.x(), p.x());
  if (changed) return in_context("an argument that is only read", changed);

  gradient_values const twice = run();
  gradient_values const& allowed = gradient_tolerances(p);
  auto const weights = weight_names(p.mixer), inputs = input_names<M>(p.x());
  for (std::size_t i = 0; i < weights.size(); ++i)  // three sums of n terms: one in once, two in twice
    if (auto bad = within(("d" + weights[i] + " after a second backward").c_str(), twice.dw[i],
                          scaled(once.dw[i], 2), scaled(allowed.dw[i], 4)))
      return bad;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (auto bad = identical(("d" + inputs[i] + " after a second backward").c_str(), twice.dx[i], once.dx[i]))
      return bad;
  return holds;
}

}  // namespace smx::testing::laws
