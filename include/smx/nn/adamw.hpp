// SPDX-License-Identifier: Apache-2.0
/// \file  AdamW: one update of all weights from their gradient g, step t = 1, 2, ...
///
///   m := b1 m + (1 - b1) g,   v := b2 v + (1 - b2) g^2
///   w := w - rate decay w - rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)
///
/// I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019; torch.optim.AdamW is the
/// same to rounding. `decoupled = false` is Adam: decay w is added to g instead. The gradient's norm is that
/// of all weights together; clipping is torch's clip_grad_norm_. 15 flops a weight, bound by memory: w, g, m
/// and v are read and w, m and v written, g once more for its norm and twice more where it is clipped.
#pragma once

#include <cmath>
#include <concepts>
#include <string>

#include <smx/backend/shapes.hpp>
#include <smx/mixers/parameters.hpp>

namespace smx {

namespace detail {

struct square {
  template <class T> SMX_HD constexpr T operator()(T x) const { return x * x; }
};
struct square_root {
  template <class T> SMX_HD T operator()(T x) const { return std::sqrt(x); }
};
template <class T> SMX_HD bool is_number(T x) { return x - x == T(0); }

/// What a gradient of that norm is multiplied with, as in torch; 1 where the norm is not a number.
template <class T> SMX_HD T clip_factor(T most, T norm) {
  T const factor = most / (norm + T(1e-6));
  return is_number(norm) && factor < T(1) ? factor : T(1);
}
template <class T> struct clip_entry {
  T most;
  SMX_HD T operator()(T g, T norm) const { return g * clip_factor(most, norm); }
};
// Each of these changes nothing where the norm of the gradient is not a number.
template <class T> struct first_moment {
  T share, decay;
  SMX_HD T operator()(T m, T g, T norm) const { return is_number(norm) ? m + share * (g - m) : m; }
  SMX_HD T operator()(T m, T g, T norm, T w) const { return (*this)(m, g + decay * w, norm); }
};
template <class T> struct second_moment {
  T beta, share, decay;
  SMX_HD T operator()(T v, T g, T norm) const { return is_number(norm) ? beta * v + share * g * g : v; }
  SMX_HD T operator()(T v, T g, T norm, T w) const { return (*this)(v, g + decay * w, norm); }
};
template <class T> struct adam_step {
  T keep, rate, root, epsilon;
  SMX_HD T operator()(T w, T m, T v, T norm) const {
    return is_number(norm) ? keep * w - rate * m / (std::sqrt(v) / root + epsilon) : w;
  }
};

}  // namespace detail

/// norm (1) := sqrt(sum g^2). The order of the sum depends on the size alone: the same bits for any number of
/// threads. Squares are of type T: entries above 1.8e19 in float overflow to an infinite norm.
template <class B, Compute T>
void gradient_norm(B& be, view<T const, 1, space_t<B>> g, view<T, 1, space_t<B>> norm) {
  constexpr index_t block = 4096;  // entries of one partial sum: 16 KB of floats
  expects_extents("gradient_norm: norm", norm.ext, {1});
  expects_value(g.str[0] == 1 || g.ext[0] <= 1, "gradient_norm: g", "a contiguous span; stride", g.str[0]);
  auto const row = [](auto const& v) {  // (1,1,1,N)
    return broadcast_axis(broadcast_axis(broadcast_axis(v, 0, 1), 0, 1), 0, 1);
  };
  auto const sum = broadcast_axis(broadcast_axis(broadcast_axis(norm, 1, 1), 0, 1), 0, 1);  // (1,1,1,1)
  if (g.ext[0] == 0) return be.map(constant<T>{T(0)}, norm);
  index_t const whole = g.ext[0] / block, rest = g.ext[0] % block;
  auto frame = be.scope();
  auto const parts = be.template scratch<T>(extents<1>{whole + (rest > 0 ? 1 : 0)});
  auto const add_squares = [](auto& sub, auto const& from, auto const& to) {  // (N,K) -> (N)
    auto const squares = sub.template scratch<T>(from.ext);
    sub.map(detail::square{}, squares, from);
    sub.reduce(reduction::sum, broadcast_axis(broadcast_axis(as_input(squares), 0, 1), 0, 1), T(0),
               broadcast_axis(broadcast_axis(broadcast_axis(to, 1, 1), 0, 1), 0, 1));
  };
  if (whole > 0)
    be.tiles(whole, block * sizeof(T), [&](auto& sub, index_t first, index_t count) {
      add_squares(sub, split_axis(slice(g, 0, first * block, count * block), 0, count, block),
                  slice(parts, 0, first, count));
    });
  if (rest > 0)
    add_squares(be, split_axis(slice(g, 0, whole * block, rest), 0, 1, rest), slice(parts, 0, whole, 1));
  be.reduce(reduction::sum, row(as_input(parts)), T(0), sum);
  be.map(detail::square_root{}, norm, as_input(norm));
}

/// The name of the first weight with an entry that is not a finite number; empty: there is none. For values
/// and gradients alike.
template <class M>
std::string non_finite_weight(M const& m, typename M::template weights<reads_in<host_space>> const& w) {
  std::string name;
  m.for_each_weight(
      [&](auto const& info, auto const& one) {
        if (!name.empty()) return;
        auto const* const from = one.ptr;  // contiguous in parameters
        for (index_t i = 0; i < one.size(); ++i)
          if (!detail::is_number(from[i])) {
            name = info.name;
            return;
          }
      },
      w);
  return name;
}

/// The moments of the weights of M, zero when made, under the names and extents of the weights.
template <class M, class S> struct adamw_state_in {
  using scalar = typename M::scalar;

  template <class B>
  adamw_state_in(B& be, M const& m) : first(be, m), second(be, m), norm(be.memory(), extents<1>{1}) {}

  parameters_in<M, S> first, second;  // m and v
  tensor<scalar, 1, S> norm;          // of the last gradient, before it was clipped
  index_t steps = 0;                  // taken
};
/// The optimizer's state for M on backend B.
template <class M, class B> using adamw_state = adamw_state_in<M, space_t<B>>;

/// The options, and the update as a program.
struct adamw {
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double decay = 0.01;
  bool decoupled = true;
  bool decay_vectors = false;  ///< whether weights of rank 1 (biases, gains of norms) decay too
  double most_norm = 0;        ///< longer gradients are scaled down to this norm; 0: none is
  friend bool operator==(adamw const&, adamw const&) = default;

  /// Takes one step, but for weights that are not trained; scales dw where it is clipped. A gradient whose
  /// norm is not a finite number changes neither weights nor moments: on the host the result is then false
  /// and no step is counted; on a device the result is true and the step counts, as nobody waits for the
  /// norm.
  ///
  /// w, dw and s must be those of m. Throws precondition_error for options that make no sense or sizes that
  /// differ.
  template <class B, class M>
  bool update(B& be, M const& m, parameters_in<M, space_t<B>>& dw, double rate, adamw_state<M, B>& s,
              parameters_in<M, space_t<B>>& w) const {
    using T = typename M::scalar;
    check(rate);
    expects_value(dw.size() == w.size(), "adamw: dw", "as many entries as w", dw.size());
    expects_value(s.first.size() == w.size(), "adamw: s", "moments of as many entries as w", s.first.size());
    if (w.size() == 0) return true;
    auto const g = dw.all();
    gradient_norm<B, T>(be, g, s.norm.view());
    auto const most = static_cast<T>(most_norm);
    bool clips = most_norm > 0;
    if constexpr (std::same_as<space_t<B>, host_space>) {
      if (!detail::is_number(s.norm(0))) return false;
      clips = clips && detail::clip_factor(most, s.norm(0)) < T(1);
    }
    auto const norm_for = [&](auto const& v) { return same_everywhere(s.norm.cview(), v); };
    if (clips) be.map(detail::clip_entry<T>{most}, g, as_input(g), norm_for(g));

    auto const t = static_cast<double>(++s.steps);
    auto const c = [](double v) { return static_cast<T>(v); };
    double const toward_first = 1 - std::pow(beta1, t), toward_second = 1 - std::pow(beta2, t);
    if (decoupled || decay == 0) {  // the moments need no w: two passes over everything
      be.map(detail::first_moment<T>{c(1 - beta1), T(0)}, s.first.all(), as_input(s.first.all()), as_input(g),
             norm_for(g));
      be.map(detail::second_moment<T>{c(beta2), c(1 - beta2), T(0)}, s.second.all(), as_input(s.second.all()),
             as_input(g), norm_for(g));
    }
    m.for_each_weight(
        [&](auto const& info, auto const& to, auto const& from, auto const& m1, auto const& m2) {
          if (!info.trained) return;
          using extents_type = std::remove_cvref_t<decltype(info.ext)>;
          double const d = extents_type::rank() > 1 || decay_vectors ? decay : 0;
          auto const norm = norm_for(to);
          if (!decoupled && decay != 0) {
            be.map(detail::first_moment<T>{c(1 - beta1), c(d)}, m1, as_input(m1), as_input(from), norm,
                   as_input(to));
            be.map(detail::second_moment<T>{c(beta2), c(1 - beta2), c(d)}, m2, as_input(m2), as_input(from),
                   norm, as_input(to));
          }
          be.map(detail::adam_step<T>{c(decoupled ? 1 - rate * d : 1), c(rate / toward_first),
                                      c(std::sqrt(toward_second)), c(epsilon)},
                 to, as_input(to), as_input(m1), as_input(m2), norm);
        },
        w.write(), dw.write(), s.first.write(), s.second.write());
    return true;
  }

 private:
  void check(double rate) const {
    expects(rate >= 0, "adamw: rate: expected a number that is not negative");
    expects(beta1 >= 0 && beta1 < 1, "adamw: beta1: expected a number from 0 to below 1");
    expects(beta2 >= 0 && beta2 < 1, "adamw: beta2: expected a number from 0 to below 1");
    expects(epsilon > 0, "adamw: epsilon: expected a positive number");  // gaps between weights have v = 0
    expects(decay >= 0, "adamw: decay: expected a number that is not negative");
    expects(most_norm >= 0, "adamw: most_norm: expected 0 (no clipping) or a positive number");
  }
  /// One number for each entry of v.
  template <class T, class S, class V>
  static view<T, V::rank, S> same_everywhere(view<T, 1, S> one, V const& v) {
    return {one.ptr, v.ext, extents<V::rank>{}};
  }
};

}  // namespace smx
