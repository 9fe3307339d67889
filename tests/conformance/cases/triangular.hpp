// SPDX-License-Identifier: Apache-2.0
/// \file  Lower triangular Monarch matrices in double, from the formula: what the oracles of the causal
/// Monarch mixers are made of.
#pragma once

#include <smx/structured/monarch_factors.hpp>

#include "tests/conformance/cases/matrix.hpp"

namespace test {

using smx::monarch_digits;
using numbers = smx::testing::numbers;

/// Dense blocks W_a[J] of one group of channels: exponentials on the diagonal, zeros above it.
struct triangular_blocks {
  std::vector<index_t> digit, low;  // lowest first
  std::vector<std::vector<matrix>> block;

  template <class T>
  triangular_blocks(monarch_digits const& factors, view<T const, 4, host_space> const* w, index_t group) {
    index_t s = 1;
    for (int a = 0; a < factors.size(); ++a) {
      index_t const d = factors[factors.size() - 1 - a];
      digit.push_back(d), low.push_back(s);
      block.emplace_back();
      for (index_t J = 0; J < s; ++J) {
        matrix m(d, d);
        for (index_t i = 0; i < d; ++i)
          for (index_t j = 0; j <= i; ++j) {
            double const entry = static_cast<double>(w[a](group, J, i, j));
            m.add(i, j, i == j ? std::exp(entry) : entry);
          }
        block.back().push_back(m);
      }
      s *= d;
    }
  }

  std::size_t order() const { return digit.size(); }
  index_t size() const { return low.back() * digit.back(); }
  index_t part(std::size_t a, index_t i) const { return i / low[a] % digit[a]; }

  static double at(matrix const& m, index_t i, index_t j) {
    return m.value[static_cast<std::size_t>(i * m.cols + j)];
  }
  /// The first n rows and columns of C: C[i,j] = prod_a W_a[j mod s_a][i_a, j_a].
  matrix dense(index_t n) const {
    matrix c(n, n);
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < n; ++j) {
        double entry = 1;
        for (std::size_t a = 0; a < order(); ++a)
          entry *= at(block[a][static_cast<std::size_t>(j % low[a])], part(a, i), part(a, j));
        c.add(i, j, entry);
      }
    return c;
  }

  /// |W_a[J]^-1|, by substitution.
  std::vector<std::vector<matrix>> absolute_inverses() const {
    auto all = block;
    for (auto& stage : all)
      for (matrix& m : stage) {
        matrix inverse(m.rows, m.rows);
        for (index_t j = 0; j < m.rows; ++j)
          for (index_t i = j; i < m.rows; ++i) {
            double sum = i == j ? 1 : 0;
            for (index_t k = j; k < i; ++k) sum -= at(m, i, k) * at(inverse, k, j);
            inverse.add(i, j, sum / at(m, i, i));
          }
        inverse.value = inverse.magnitude;
        m = inverse;
      }
    return all;
  }
  /// One stage with blocks that need not be these: to = |S| from.
  numbers absolute_stage(std::size_t a, std::vector<matrix> const& blocks, numbers const& from) const {
    numbers to(from.size());
    auto const n = static_cast<index_t>(from.size());
    for (index_t i = 0; i < n; ++i) {
      matrix const& m = blocks[static_cast<std::size_t>(i % low[a])];
      for (index_t c = 0; c <= part(a, i); ++c)
        to[static_cast<std::size_t>(i)] +=
            std::fabs(at(m, part(a, i), c)) * from[static_cast<std::size_t>(i + (c - part(a, i)) * low[a])];
    }
    return to;
  }
  /// How errors go through the solves: from bounds of |h| and of its error to a bound of the error of C^-1 h,
  /// in units of the roundoff. A system of d rows solved by substitution has the error of a change of (d + 4)
  /// eps in each entry of its matrix (Higham, section 8.1; 4 for the exponential and the scaling).
  numbers solve_error(numbers size, numbers error) const {
    auto const inverse = absolute_inverses();
    for (std::size_t a = 0; a < order(); ++a) {
      size = absolute_stage(a, inverse[a], size);
      numbers const own = absolute_stage(a, inverse[a], absolute_stage(a, block[a], size));
      error = absolute_stage(a, inverse[a], error);
      for (std::size_t i = 0; i < error.size(); ++i) error[i] += static_cast<double>(digit[a] + 4) * own[i];
    }
    return error;
  }
  /// Roundings of an entry of C x.
  double terms() const {
    double n = 0;
    for (index_t d : digit) n += static_cast<double>(d + 3);
    return n;
  }

  /// A bound >= 1 of the 2-norm of |S| over the blocks of a stage: the root of the largest row and column
  /// sums.
  static double stage_norm(std::vector<matrix> const& blocks) {
    double rows = 0, cols = 0;
    for (matrix const& m : blocks)
      for (index_t i = 0; i < m.rows; ++i) {
        double row = 0, col = 0;
        for (index_t j = 0; j < m.cols; ++j) row += std::fabs(at(m, i, j)), col += std::fabs(at(m, j, i));
        rows = std::max(rows, row), cols = std::max(cols, col);
      }
    return std::max(1.0, std::sqrt(rows * cols));
  }
  double norm() const {
    double n = 1;
    for (auto const& stage : block) n *= stage_norm(stage);
    return n;
  }
  double inverse_norm() const {
    double n = 1;
    for (auto const& stage : absolute_inverses()) n *= stage_norm(stage);
    return n;
  }
  /// The relative error of C^-1 h in the 2-norm, against inverse_norm() ||h||.
  double solve_terms() const {
    auto const inverse = absolute_inverses();
    double n = 0;
    for (std::size_t a = 0; a < order(); ++a)
      n += static_cast<double>(digit[a] + 4) * stage_norm(block[a]) * stage_norm(inverse[a]);
    return n;
  }
};

/// A x for a lower triangular or any other matrix, entries taken as they are or absolute.
inline numbers times(matrix const& a, numbers const& x, bool absolute = false) {
  numbers y(static_cast<std::size_t>(a.rows));
  for (index_t i = 0; i < a.rows; ++i)
    for (index_t j = 0; j < a.cols; ++j) {
      auto const at = static_cast<std::size_t>(i * a.cols + j);
      double const entry = x[static_cast<std::size_t>(j)];
      y[static_cast<std::size_t>(i)] += absolute ? a.magnitude[at] * std::fabs(entry) : a.value[at] * entry;
    }
  return y;
}
/// A^-1 h for a lower triangular A.
inline numbers substituted(matrix const& a, numbers h) {
  for (index_t i = 0; i < a.rows; ++i) {
    auto const row = static_cast<std::size_t>(i * a.cols), r = static_cast<std::size_t>(i);
    for (std::size_t j = 0; j < r; ++j) h[r] -= a.value[row + j] * h[j];
    h[r] /= a.value[row + r];
  }
  return h;
}
/// sum_{j <= i} k[i-j] v[j]
inline numbers convolved(numbers const& k, numbers const& v) {
  numbers h(v.size());
  for (std::size_t i = 0; i < v.size(); ++i)
    for (std::size_t j = 0; j <= i; ++j) h[i] += k[i - j] * v[j];
  return h;
}
inline double norm1(numbers const& x) {
  double sum = 0;
  for (double one : x) sum += std::fabs(one);
  return sum;
}
inline double norm2(numbers const& x) {
  double sum = 0;
  for (double one : x) sum += one * one;
  return std::sqrt(sum);
}

}  // namespace test
