// SPDX-License-Identifier: Apache-2.0
/// \file  An example with numbers in it, and the runs of a mixer that the laws are made of.
#pragma once

#include <limits>
#include <map>
#include <optional>
#include <string>

#include <smx/backend/reference.hpp>
#include <smx/testing/cases.hpp>
#include <smx/testing/numbers.hpp>
#include <smx/testing/runner.hpp>

namespace smx::testing {

/// One array for each weight and each input that is there.
struct gradient_values {
  std::vector<numbers> dw, dx;
};
struct training_values {
  numbers y;
  gradient_values g;
};

/// An output of the oracle and the rounding error that is allowed to each entry.
struct expectation {
  numbers y, tolerance;
};

/// The weights of a mixer in host memory, zero.
template <class M> parameters_in<M, host_space> zero_weights(M const& m) {
  reference_backend host;
  return {host, m};
}

/// Weights and inputs that a law may change.
template <class M> struct arguments {
  using scalar = typename M::scalar;
  parameters_in<M, host_space> weights;
  typename M::template inputs<owns_in<host_space>> inputs;

  host_weights<M> const& w() const { return weights.read(); }
  host_inputs<M> x() const {
    host_inputs<M> read;
    M::for_each_input(
        [](char const*, auto const& owned, auto& to) {
          if (owned.size() > 0) to = owned.cview();
        },
        inputs, read);
    return read;
  }
  arguments clone(M const& m) const {
    arguments copy{zero_weights(m), {}};
    m.for_each_weight([](auto const&, auto const& from, auto const& to) { copy_entries(from, to); },
                      weights.read(), copy.weights.write());
    M::for_each_input([](char const*, auto const& from, auto& to) { to = from.clone(); }, inputs,
                      copy.inputs);
    return copy;
  }
};

/// An example with normal random numbers for weights, inputs and the upstream gradient. It remembers what the
/// oracle and the reference say of it, which is the same for every backend; one thread at a time uses it, and
/// nobody changes it after a first law.
template <class M> struct problem {
  using scalar = typename M::scalar;
  static_assert(M::input_count >= 1);

  M mixer;
  std::vector<smx::extents<4>> ext;      ///< of the inputs that are there
  std::vector<smx::extents<4>> all_ext;  ///< as in the example: {} for an input that is left out
  bool small;
  arguments<M> given;
  smx::extents<4> output;
  tensor<scalar, 4> upstream;  // (B,H,L,D) of the output

  struct answers {
    std::map<std::string, expectation> outputs;
    std::optional<gradient_values> tolerances;
    std::optional<training_values> reference;
  };
  mutable answers known;

  explicit problem(example<M> const& e, std::uint64_t seed = 1)
      : mixer(e.mixer), all_ext(e.inputs), small(e.small), given{zero_weights(mixer), {}} {
    std::uint64_t stream = 0;
    mixer.for_each_weight(
        [&](auto const& info, auto const& to) {  // constants too are random: 0 would hide a wrong gradient
          fill_normal(to, {seed, stream++}, info.init.scale > 0 ? info.init.scale : 0.5);
        },
        given.weights.write());
    std::size_t next = 0;
    M::for_each_input(
        [&](char const*, auto& to) {
          smx::extents<4> const n = next < e.inputs.size() ? e.inputs[next] : smx::extents<4>{};
          ++next;
          if (n == smx::extents<4>{}) return;
          to = tensor<scalar, 4>(n);
          fill_normal(to.view(), {seed, stream++});
          ext.push_back(n);
        },
        given.inputs);
    output = mixer.output_extents(given.x());
    upstream = tensor<scalar, 4>(output);
    fill_normal(upstream.view(), {seed, stream++});
  }

  host_weights<M> const& w() const { return given.w(); }
  host_inputs<M> x() const { return given.x(); }
  view<scalar const, 4, host_space> dy() const { return upstream.cview(); }
};

/// The output for these arguments. What forward does not write stays NaN.
template <class M>
tensor<typename M::scalar, 4> forward_tensor(runner<M> const& be, M const& m, host_weights<M> const& w,
                                             host_inputs<M> const& x) {
  tensor<typename M::scalar, 4> y(m.output_extents(x));
  fill(y.view(), quiet_nan<typename M::scalar>);
  be.forward(m, w, x, y.view());
  return y;
}
template <class M>
numbers forward_values(runner<M> const& be, M const& m, host_weights<M> const& w, host_inputs<M> const& x) {
  return values(forward_tensor(be, m, w, x).cview());
}

/// Memory for the gradients of a problem: weights' zero, inputs' NaN.
template <class M> struct gradient_memory {
  using scalar = typename M::scalar;
  parameters_in<M, host_space> dw;
  typename M::template inputs<owns_in<host_space>> owned;
  typename M::template inputs<writes_in<host_space>> dx;

  gradient_memory(M const& m, host_inputs<M> const& x) : dw(zero_weights(m)) {
    M::for_each_input(
        [](char const*, auto const& given, auto& own, auto& write) {
          if (given.size() == 0) return;
          own = tensor<scalar, 4>(given.ext);
          fill(own.view(), quiet_nan<scalar>);
          write = own.view();
        },
        x, owned, dx);
  }
  gradient_values read(M const& m) const {
    gradient_values g;
    m.for_each_weight([&](auto const&, auto const& one) { g.dw.push_back(values(one)); }, dw.read());
    M::for_each_input(
        [&](char const*, auto const& one) {
          if (one.size() > 0) g.dx.push_back(values(one));
        },
        dx);
    return g;
  }
};

template <class M>
training_values train(runner<M> const& be, M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                      view<typename M::scalar const, 4, host_space> dy) {
  gradient_memory<M> g(m, x);
  tensor<typename M::scalar, 4> y(m.output_extents(x));
  fill(y.view(), quiet_nan<typename M::scalar>);
  be.train(m, w, x, dy, y.view(), g.dw.write(), g.dx);
  return {values(y.cview()), g.read(m)};
}
template <class M> training_values train(runner<M> const& be, problem<M> const& p) {
  return train(be, p.mixer, p.w(), p.x(), p.dy());
}

template <class M> runner<M> on_reference() {
  return runner<M>::on([] { return reference_backend(); });
}
/// Training on the reference backend.
template <class M>
training_values train_on_reference(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                                   view<typename M::scalar const, 4, host_space> dy) {
  return train(runner<M>::in_short_on([] { return reference_backend(); }), m, w, x, dy);
}

/// Training on the reference backend, computed once for a problem.
template <class M> training_values const& reference_training(problem<M> const& p) {
  if (!p.known.reference) p.known.reference = train_on_reference(p.mixer, p.w(), p.x(), p.dy());
  return *p.known.reference;
}

/// What the oracle says of these arguments.
template <HasCases M> expectation expected(M const& m, host_weights<M> const& w, host_inputs<M> const& x) {
  extents<4> const e = m.output_extents(x);
  auto const n = static_cast<std::size_t>(checked_size(e));
  expectation out{numbers(n, quiet_nan<double>), numbers(n, quiet_nan<double>)};
  cases<M>::oracle(m, w, x, view<double, 4, host_space>(out.y.data(), e),
                   view<double, 4, host_space>(out.tolerance.data(), e));
  using limits = std::numeric_limits<typename M::scalar>;
  for (double& one : out.tolerance) one = one * limits::epsilon() + limits::denorm_min();
  return out;
}
/// The same, computed once for a problem under the name of what a law makes of it: those arguments must be
/// the same each time.
template <HasCases M>
expectation const& expected(problem<M> const& p, std::string const& derived, M const& m,
                            host_weights<M> const& w, host_inputs<M> const& x) {
  auto const found = p.known.outputs.find(derived);
  if (found != p.known.outputs.end()) return found->second;
  return p.known.outputs.emplace(derived, expected(m, w, x)).first->second;
}
template <HasCases M> expectation const& expected(problem<M> const& p) {
  return expected(p, "", p.mixer, p.w(), p.x());
}

namespace detail {
template <HasCases M> gradient_values find_gradient_tolerances(problem<M> const& p) {
  using T = typename M::scalar;
  gradient_values bound;
  if constexpr (requires { cases<M>::gradient_bounds(p.mixer, p.w(), p.x(), p.dy(), bound.dw, bound.dx); }) {
    cases<M>::gradient_bounds(p.mixer, p.w(), p.x(), p.dy(), bound.dw, bound.dx);
  } else {
    arguments<M> a = p.given.clone(p.mixer);
    auto const make_absolute = [](auto const& v) {
      loops::for_each_index(v.ext, [&](auto const& i) { loops::at(v, i) = std::fabs(loops::at(v, i)); });
    };
    p.mixer.for_each_weight([&](auto const&, auto const& one) { make_absolute(one); }, a.weights.write());
    M::for_each_input(
        [&](char const*, auto& one) {
          if (one.size() > 0) make_absolute(one.view());
        },
        a.inputs);
    auto dy = p.upstream.clone();
    make_absolute(dy.view());
    bound = train_on_reference(p.mixer, a.w(), a.x(), dy.cview()).g;
    double const terms = cases<M>::terms(p.mixer, p.x());
    for (numbers& one : bound.dx) one = scaled(one, terms);
    // a weight collects at most one more term for each entry of the output
    for (numbers& one : bound.dw) one = scaled(one, terms + static_cast<double>(p.upstream.size()));
  }
  for (auto* group : {&bound.dw, &bound.dx})
    for (numbers& one : *group)
      for (double& b : one) b = b * std::numeric_limits<T>::epsilon() + std::numeric_limits<T>::denorm_min();
  return bound;
}
}  // namespace detail

/// The rounding error that is allowed to each entry of each gradient (see cases), computed once for a
/// problem.
template <HasCases M> gradient_values const& gradient_tolerances(problem<M> const& p) {
  if (!p.known.tolerances) p.known.tolerances = detail::find_gradient_tolerances(p);
  return *p.known.tolerances;
}

}  // namespace smx::testing
