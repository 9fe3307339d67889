// SPDX-License-Identifier: Apache-2.0
/// \file  Numbers that know the rounding error of whoever computes the same formula: the oracle of the
/// layers.
///
/// Every operation adds to the errors of its operands, to first order, one unit of its result (N. Higham,
/// "Accuracy and Stability of Numerical Algorithms", 2002, section 3.3, running error analysis); a sum of n
/// terms adds n units of the sum of their absolute values, which covers every order. Going back through the
/// operations gives the gradients' errors in the same way. All errors are multiples of the machine epsilon.
#pragma once

#include <cmath>
#include <utility>
#include <vector>

#include <smx/backend/loops.hpp>
#include <smx/core/extents.hpp>
#include <smx/mixers/concept.hpp>
#include <smx/testing/cases.hpp>
#include <smx/testing/numbers.hpp>

namespace test {

using smx::extents;
using smx::index_t;

class graph;

struct number {
  graph* of = nullptr;
  int id = -1;
};

class graph {
 public:
  /// d result / d operand, and its own error.
  struct edge {
    int to;
    double slope, error;
  };

  number leaf(double value) { return node(value, 0, {}); }
  /// A constant that is rounded once.
  number constant(double value) { return node(value, std::fabs(value), {}); }
  number node(double value, double error, std::vector<edge> const& edges) {
    nodes_.push_back({value, error, edges_.size(), edges.size()});
    edges_.insert(edges_.end(), edges.begin(), edges.end());
    return {this, static_cast<int>(nodes_.size()) - 1};
  }
  double value(number n) const { return nodes_[static_cast<std::size_t>(n.id)].value; }
  double error(number n) const { return nodes_[static_cast<std::size_t>(n.id)].error; }

  /// The error of the gradient of sum(dy y) for every node, by its id.
  std::vector<double> gradient_errors(std::vector<number> const& y, std::vector<double> const& dy) const {
    struct sum {
      double value = 0, magnitude = 0, error = 0, terms = 0;
    };
    std::vector<sum> all(nodes_.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      sum& s = all[static_cast<std::size_t>(y[i].id)];
      s.value += dy[i], s.magnitude += std::fabs(dy[i]);
    }
    std::vector<double> errors(nodes_.size());
    for (std::size_t id = nodes_.size(); id-- > 0;) {
      sum const s = all[id];
      double const own = errors[id] = s.error + s.terms * s.magnitude;
      for (std::size_t k = 0; k < nodes_[id].count; ++k) {
        edge const& e = edges_[nodes_[id].first + k];
        sum& to = all[static_cast<std::size_t>(e.to)];
        double const term = s.value * e.slope;
        to.value += term, to.magnitude += std::fabs(term), to.terms += 1;
        to.error += std::fabs(s.value) * e.error + own * std::fabs(e.slope) + std::fabs(term);
      }
    }
    return errors;
  }

 private:
  struct entry {
    double value, error;
    std::size_t first, count;
  };
  std::vector<entry> nodes_;
  std::vector<edge> edges_;
};

inline double value(number n) { return n.of->value(n); }
inline double error(number n) { return n.of->error(n); }

inline number operator+(number a, number b) {
  double const v = value(a) + value(b);
  return a.of->node(v, error(a) + error(b) + std::fabs(v), {{a.id, 1, 0}, {b.id, 1, 0}});
}
inline number operator-(number a, number b) {
  double const v = value(a) - value(b);
  return a.of->node(v, error(a) + error(b) + std::fabs(v), {{a.id, 1, 0}, {b.id, -1, 0}});
}
inline number operator*(number a, number b) {
  double const v = value(a) * value(b);
  return a.of->node(v, std::fabs(value(a)) * error(b) + std::fabs(value(b)) * error(a) + std::fabs(v),
                    {{a.id, value(b), error(b)}, {b.id, value(a), error(a)}});
}

/// A function of one number. `bend` bounds the second derivative; `units`: the error of the function itself,
/// a multiple of `scale`, which bounds the terms that it and its derivative are made of.
inline number apply(number a, double f, double slope, double bend, double units, double scale) {
  return a.of->node(f, std::fabs(slope) * error(a) + units * std::fabs(f) + std::fabs(f),
                    {{a.id, slope, bend * error(a) + units * scale}});
}
inline number exponential(number a) {
  double const e = std::exp(value(a));
  return apply(a, e, e, e, 2 + std::fabs(value(a)), e);
}
/// a^(-1/2)
inline number inverse_root(number a) {
  double const v = value(a), f = 1 / std::sqrt(v);
  return apply(a, f, -f / (2 * v), 0.75 * f / (v * v), 2, f / v);
}
inline number inverse(number a) {
  double const f = 1 / value(a);
  return apply(a, f, -f * f, 2 * std::fabs(f * f * f), 1, f * f);
}
inline number sine(number a) {
  double const v = value(a);
  return apply(a, std::sin(v), std::cos(v), 1, 2, 1);
}
/// x Phi(x); the exponent of its density carries the rounding of x^2 / 2.
inline number gelu(number a) {
  double const x = value(a), phi = 0.5 * std::erfc(-x / std::sqrt(2.0)),
               density = std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0));
  return apply(a, x * phi, phi + x * density, 0.8, 8 + 3 * x * x, phi + std::fabs(x) * density);
}
inline number silu(number a) {
  double const x = value(a), s = 1 / (1 + std::exp(-x));
  return apply(a, x * s, s * (1 + x * (1 - s)), 0.5, 8, 1 + std::fabs(x) * s);
}

using products = std::vector<std::pair<number, number>>;

/// The sum of products, in any order.
inline number dot(products const& terms) {
  double v = 0, magnitude = 0, carried = 0;
  std::vector<graph::edge> edges;
  for (auto const& [a, b] : terms) {
    v += value(a) * value(b), magnitude += std::fabs(value(a) * value(b));
    carried += std::fabs(value(a)) * error(b) + std::fabs(value(b)) * error(a);
    edges.push_back({a.id, value(b), error(b)});
    edges.push_back({b.id, value(a), error(a)});
  }
  return terms[0].first.of->node(v, carried + static_cast<double>(terms.size()) * magnitude, edges);
}
inline number sum(std::vector<number> const& terms) {
  double v = 0, magnitude = 0, carried = 0;
  std::vector<graph::edge> edges;
  for (number const a : terms) {
    v += value(a), magnitude += std::fabs(value(a)), carried += error(a);
    edges.push_back({a.id, 1, 0});
  }
  return terms[0].of->node(v, carried + static_cast<double>(terms.size()) * magnitude, edges);
}

/// Numbers in row-major order.
template <int R> struct grid {
  extents<R> ext{};
  std::vector<number> cells;

  grid() = default;
  explicit grid(extents<R> const& e) : ext(e), cells(static_cast<std::size_t>(smx::checked_size(e))) {}
  index_t size() const { return static_cast<index_t>(cells.size()); }
  template <class... I> number& operator()(I... i) { return cells[at({static_cast<index_t>(i)...})]; }
  template <class... I> number operator()(I... i) const { return cells[at({static_cast<index_t>(i)...})]; }

 private:
  std::size_t at(extents<R> const& i) const {
    index_t n = 0;
    for (int r = 0; r < R; ++r) n = n * ext[r] + i[r];
    return static_cast<std::size_t>(n);
  }
};
struct grids {
  template <class, int R> using array = grid<R>;
};
template <class M> using weight_grids = typename M::template weights<grids>;

template <class T, int R> grid<R> leaves(graph& g, smx::view<T const, R, smx::host_space> v) {
  grid<R> to(v.ext);
  std::size_t n = 0;
  smx::loops::for_each_index(
      v.ext, [&](auto const& i) { to.cells[n++] = g.leaf(static_cast<double>(smx::loops::at(v, i))); });
  return to;
}

/// A layer in the suite: `examples()`, `sized(length)`, `program(m, weights of grids, x)`, and, if they are
/// not those of a causal layer or its prefix, `sees(m, row, position)`.
template <class M> struct layer_case;

template <class M>
concept HasProgram = requires(M const m, weight_grids<M> w, grid<4> x) {
  { layer_case<M>::program(m, w, x) } -> std::same_as<grid<4>>;
};

/// program(graph, weights, x) on the numbers of a problem.
template <class M> struct evaluation {
  graph g;
  weight_grids<M> w;
  grid<4> x, y;

  evaluation(M const& m, smx::testing::host_weights<M> const& given, smx::testing::host_inputs<M> const& in)
      : x(leaves(g, in.x)) {
    m.for_each_weight([&](auto const&, auto const& from, auto& to) { to = leaves(g, from); }, given, w);
    y = layer_case<M>::program(m, w, x);
  }
};

}  // namespace test

template <class M>
requires test::HasProgram<M>
struct smx::testing::cases<M> {
  using T = typename M::scalar;

  static std::vector<example<M>> examples() { return test::layer_case<M>::examples(); }
  static example<M> sized(index_t length) { return test::layer_case<M>::sized(length); }
  static bool sees(M const& m, host_inputs<M> const&, int, index_t row, index_t position) {
    return test::layer_case<M>::sees(m, row, position);
  }
  static void oracle(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    test::evaluation<M> const found(m, w, x);
    std::size_t n = 0;
    loops::for_each_index(y.ext, [&](extents<4> const& i) {
      loops::at(y, i) = test::value(found.y.cells[n]);
      loops::at(bound, i) = test::error(found.y.cells[n++]);
    });
  }
  static void gradient_bounds(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                              view<T const, 4, host_space> dy, std::vector<numbers>& dw,
                              std::vector<numbers>& dx) {
    test::evaluation<M> const found(m, w, x);
    numbers const errors = found.g.gradient_errors(found.y.cells, values(dy));
    auto const of = [&](auto const& grid) {
      numbers all;
      for (test::number const one : grid.cells) all.push_back(errors[static_cast<std::size_t>(one.id)]);
      return all;
    };
    m.for_each_weight([&](auto const&, auto const& one) { dw.push_back(of(one)); }, found.w);
    dx.push_back(of(found.x));
  }
};
