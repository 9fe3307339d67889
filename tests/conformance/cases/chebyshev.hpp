// SPDX-License-Identifier: Apache-2.0
/// \file  Products of Chebyshev series in double, by T_i T_j = (T_{i+j} + T_{|i-j|}) / 2 term by term.
#pragma once

#include "tests/conformance/cases/triangular.hpp"

namespace test {

/// Polynomials over the basis b_i = prod_a T_{i_a s_a}, i < n, or i < 2 n for products. Signals count degrees
/// down from n - 1, products from 2 n - 1.
class chebyshev_products {
 public:
  using series = std::vector<std::pair<index_t, double>>;  // degree, coefficient

  explicit chebyshev_products(monarch_digits const& factors) {
    index_t s = 1;
    for (int a = factors.size() - 1; a >= 0; s *= factors[a], --a)
      digit_.push_back(factors[a]), low_.push_back(s);
    n_ = s;
  }
  double order() const { return static_cast<double>(digit_.size()); }

  /// b_i in single T; the top digit takes what is left.
  series basis(index_t i) const {
    series q{{0, 1.0}};
    for (std::size_t a = 0; a < digit_.size(); ++a) {
      index_t const d = a + 1 < digit_.size() ? i / low_[a] % digit_[a] : i / low_[a];
      series next;
      for (auto const& [m, c] : q) {
        index_t const t = d * low_[a];
        if (t == 0 || m == 0) {
          next.emplace_back(t + m, c);
        } else {
          next.emplace_back(t + m, c / 2);
          next.emplace_back(std::abs(t - m), c / 2);
        }
      }
      q = next;
    }
    return q;
  }
  /// A signal over b as one over single T, position i the degree n - 1 - i.
  numbers single(numbers const& x) const {
    numbers t(x.size());
    for (index_t i = 0; i < static_cast<index_t>(x.size()); ++i)
      for (auto const& [m, c] : basis(n_ - 1 - i)) {
        auto const at = static_cast<std::size_t>(n_ - 1 - m);
        if (at < t.size()) t[at] += c * x[static_cast<std::size_t>(i)];
      }
    return t;
  }
  /// Over b again: the product of k (over b, or, if direct, twice it over single T) and v (over b), from
  /// degree 2 n - 1 down, one position more than they have.
  numbers product(numbers const& k, numbers const& v, bool direct) const {
    numbers const kt = direct ? smx::testing::scaled(k, 2) : single(k), vt = single(v);
    auto const top = static_cast<std::size_t>(2 * n_);
    numbers p(top);  // by degree
    for (std::size_t i = 0; i < kt.size(); ++i)
      for (std::size_t j = 0; j < vt.size(); ++j) {
        std::size_t const a = top / 2 - 1 - i, b = top / 2 - 1 - j;
        p[a + b] += kt[i] * vt[j] / 2;
        p[a > b ? a - b : b - a] += kt[i] * vt[j] / 2;
      }
    numbers out;
    for (std::size_t r = 0; r <= v.size(); ++r) {  // the highest degree is in one b alone
      std::size_t const degree = top - 1 - r;
      series const b = basis(static_cast<index_t>(degree));
      double lead = 0;
      for (auto const& [m, c] : b)
        if (m == static_cast<index_t>(degree)) lead += c;
      double const part = p[degree] / lead;
      for (auto const& [m, c] : b) p[static_cast<std::size_t>(m)] -= part * c;
      out.push_back(part);
    }
    return out;
  }

  /// Through one digit's part of the way back to b after another, from the top one down: bounds of entries
  /// and of their errors. Each entry is 2 h - x of the run before, rounded twice.
  void unfold_error(numbers& size, numbers& error) const {
    for (std::size_t a = digit_.size(); a-- > 1;) {
      absolute_unfold(a, size);
      for (std::size_t i = 0; i < size.size(); ++i) error[i] += 2 * size[i];
      absolute_unfold(a, error);
    }
  }
  /// In the 2-norm, the root of the largest row and column sums: 3/2 and 1 for a fold; at most 2 for each run
  /// so far on the way back.
  double norm() const { return std::pow(1.25, order() - 1); }
  double inverse_norm() const {
    double n = 1;
    for (std::size_t a = 1; a < digit_.size(); ++a) n *= 2 * static_cast<double>(digit_[a] + 1);
    return n;
  }
  double unfold_terms() const {
    double n = 0;
    for (std::size_t a = 1; a < digit_.size(); ++a) n += 4 * static_cast<double>(digit_[a] + 1);
    return n;
  }

 private:
  void absolute_unfold(std::size_t a, numbers& x) const {
    index_t const s = low_[a];
    for (index_t i = 0; i < static_cast<index_t>(x.size()); ++i) {
      index_t const r = i % s, q = a + 1 < digit_.size() ? i / s % digit_[a] : i / s;
      if (r == s - 1) continue;
      double& one = x[static_cast<std::size_t>(i)];
      one = 2 * one + (q > 0 ? x[static_cast<std::size_t>(i - 2 * r - 2)] : 0);
    }
  }

  std::vector<index_t> digit_, low_;  // lowest first
  index_t n_ = 1;
};

}  // namespace test
