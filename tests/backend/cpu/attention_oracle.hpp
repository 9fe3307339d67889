// SPDX-License-Identifier: Apache-2.0
/// \file  Softmax attention and its gradients from the formulas, dense, in float64, each entry with a bound
/// of the
///        rounding errors that an implementation in T may make; and a mask given by a table.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include <smx/core/extents.hpp>
#include <smx/core/mask.hpp>

namespace test {

using smx::index_range;
using smx::index_t;
using smx::tile_class;

/// Rows of a matrix with `gap` unused entries between them, which hold `guard`.
template <class T> struct matrix {
  static constexpr T guard = T{-77};
  index_t rows = 0, cols = 0, stride = 0;
  std::vector<T> data;

  matrix() = default;
  matrix(index_t r, index_t c, index_t gap = 0)
      : rows(r), cols(c), stride(c + gap), data(static_cast<std::size_t>(r * (c + gap) + 1), guard) {}
  T& operator()(index_t i, index_t j) { return data[static_cast<std::size_t>(i * stride + j)]; }
  T const& operator()(index_t i, index_t j) const { return data[static_cast<std::size_t>(i * stride + j)]; }
  void fill(T x) {
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < cols; ++j) (*this)(i, j) = x;
  }
  bool guarded() const {
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = cols; j < stride; ++j)
        if ((*this)(i, j) != guard) return false;
    return data.back() == guard;
  }
};

template <class T>
matrix<T> random_matrix(std::mt19937& gen, index_t rows, index_t cols, index_t gap = 0,
                        double deviation = 1) {
  std::normal_distribution<double> normal(0, deviation);
  matrix<T> m(rows, cols, gap);
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < cols; ++j) m(i, j) = static_cast<T>(normal(gen));
  return m;
}

/// A mask that is a table; its tiles and ranges are found by looking at every entry.
struct table_mask {
  static constexpr bool causal = false;
  std::shared_ptr<std::vector<char> const> table;
  index_t queries = 0, keys_ = 0;
  friend bool operator==(table_mask const&, table_mask const&) = default;

  bool allow(index_t, index_t, index_t i, index_t j) const {
    return table->at(static_cast<std::size_t>(i * keys_ + j)) != 0;
  }
  tile_class tile(index_t b, index_t h, index_range rows, index_range keys) const {
    index_t seen = 0;
    for (index_t i = rows.first; i < rows.last; ++i)
      for (index_t j = keys.first; j < keys.last; ++j) seen += allow(b, h, i, j) ? 1 : 0;
    if (seen == 0) return tile_class::empty;
    return seen == (rows.last - rows.first) * (keys.last - keys.first) ? tile_class::full
                                                                       : tile_class::partial;
  }
  index_range keys(index_t b, index_t h, index_range rows, index_t count) const {
    index_range r{count, 0};
    for (index_t i = rows.first; i < rows.last; ++i)
      for (index_t j = 0; j < count; ++j)
        if (allow(b, h, i, j)) r = {std::min(r.first, j), std::max(r.last, j + 1)};
    return r.first < r.last ? r : index_range{0, 0};
  }
};
static_assert(smx::Mask<table_mask>);

/// Another table for each head.
struct head_masks {
  static constexpr bool causal = false;
  std::vector<table_mask> of;
  friend bool operator==(head_masks const&, head_masks const&) = default;

  table_mask const& at(index_t h) const { return of[static_cast<std::size_t>(h)]; }
  bool allow(index_t b, index_t h, index_t i, index_t j) const { return at(h).allow(b, h, i, j); }
  tile_class tile(index_t b, index_t h, index_range r, index_range k) const { return at(h).tile(b, h, r, k); }
  index_range keys(index_t b, index_t h, index_range r, index_t n) const { return at(h).keys(b, h, r, n); }
};

/// What kernels are given: `of` for one batch entry and its heads from `first` on, head n asked as n - first.
/// Asked about any others it says the opposite.
template <class M> struct addressed_mask {
  static constexpr bool causal = M::causal;
  static constexpr index_t batch = 2, first = 3;
  M of;
  index_t heads = 1;
  friend bool operator==(addressed_mask const&, addressed_mask const&) = default;

  bool right(index_t b, index_t h) const { return b == batch && h >= first && h < first + heads; }
  bool allow(index_t b, index_t h, index_t i, index_t j) const {
    return right(b, h) ? of.allow(0, h - first, i, j) : !of.allow(0, 0, i, j);
  }
  tile_class tile(index_t b, index_t h, index_range r, index_range k) const {
    if (right(b, h)) return of.tile(0, h - first, r, k);
    tile_class const what = of.tile(0, 0, r, k);
    return what == tile_class::full ? tile_class::empty
                                    : (what == tile_class::empty ? tile_class::full : what);
  }
  index_range keys(index_t b, index_t h, index_range r, index_t n) const {
    return right(b, h) ? of.keys(0, h - first, r, n) : index_range{0, n};
  }
};

/// Rectangles of 50 x 70 that are empty, full or random; some rows see nothing.
inline table_mask random_mask(std::mt19937& gen, index_t queries, index_t keys) {
  auto table = std::make_shared<std::vector<char>>(static_cast<std::size_t>(queries * keys));
  index_t const across = keys / 70 + 1;
  std::vector<int> kind(static_cast<std::size_t>((queries / 50 + 1) * across));
  for (int& k : kind) k = static_cast<int>(gen() % 4);
  for (index_t i = 0; i < queries; ++i) {
    bool const blind = gen() % 9 == 0;
    for (index_t j = 0; j < keys; ++j) {
      int const k = kind[static_cast<std::size_t>(i / 50 * across + j / 70)];
      (*table)[static_cast<std::size_t>(i * keys + j)] =
          !blind && (k == 0 || (k > 1 && gen() % 2 == 0)) ? 1 : 0;
    }
  }
  table_mask m;
  m.table = table;
  m.queries = queries;
  m.keys_ = keys;
  return m;
}

/// A float64 value and how far from it an implementation may be.
struct bounded {
  double value = 0, bound = 0;
};
using bounded_matrix = matrix<bounded>;

template <class T> inline constexpr double unit_roundoff = std::numeric_limits<T>::epsilon() / 2.;

/// Everything that forward and backward of one head compute. u is the unit roundoff of T.
///  score:  a dot product of dk terms with q scaled by a rounded constant: u (dk + 4) scale sum |q k|, call
///  it e_ij p:      relative e_ij + e_i (e_i the greatest of a row, through maximum and sum), exp 2 u, sums
///  of n terms n u lse:    e_i + (n + 4) u, rounding of the result and of its factor log 2: 4 u |lse|
template <class T> struct attention_oracle {
  index_t lq, lk, dk, dv;
  matrix<double> p, p_error;  // (lq, lk), p_error relative
  bounded_matrix o, lse;      // (lq, dv), (lq, 1)
  bounded_matrix dq, dk_, dv_;

  template <class M>
  attention_oracle(matrix<T> const& q, matrix<T> const& k, matrix<T> const& v, double scale, M const& mask,
                   index_t b = 0, index_t h = 0)
      : lq(q.rows), lk(k.rows), dk(q.cols), dv(v.cols), p(lq, lk), p_error(lq, lk), o(lq, dv), lse(lq, 1) {
    double const u = unit_roundoff<T>;
    p.fill(0);
    p_error.fill(0);
    for (index_t i = 0; i < lq; ++i) {
      std::vector<double> x(static_cast<std::size_t>(lk)), e(x.size());
      double top = -std::numeric_limits<double>::infinity(), worst = 0;
      index_t n = 0;
      for (index_t j = 0; j < lk; ++j) {
        if (!mask.allow(b, h, i, j)) continue;
        double s = 0, a = 0;
        for (index_t c = 0; c < dk; ++c) {
          s += double(q(i, c)) * double(k(j, c));
          a += std::fabs(double(q(i, c)) * double(k(j, c)));
        }
        auto const at = static_cast<std::size_t>(j);
        x[at] = scale * s;
        e[at] = u * double(dk + 4) * std::fabs(scale) * a;
        top = std::max(top, x[at]);
        worst = std::max(worst, e[at]);
        ++n;
      }
      double sum = 0;
      for (index_t j = 0; j < lk; ++j)
        if (mask.allow(b, h, i, j)) sum += std::exp(x[static_cast<std::size_t>(j)] - top);
      for (index_t j = 0; j < lk; ++j) {
        if (!mask.allow(b, h, i, j)) continue;
        p(i, j) = std::exp(x[static_cast<std::size_t>(j)] - top) / sum;
        p_error(i, j) = e[static_cast<std::size_t>(j)] + worst + u * double(n + 8);
      }
      for (index_t c = 0; c < dv; ++c) {
        bounded r;
        for (index_t j = 0; j < lk; ++j) {
          if (!mask.allow(b, h, i, j)) continue;
          r.value += p(i, j) * double(v(j, c));
          r.bound += p(i, j) * std::fabs(double(v(j, c))) * (p_error(i, j) + u * double(n + 4));
        }
        o(i, c) = r;
      }
      double const l = n == 0 ? -std::numeric_limits<double>::infinity() : top + std::log(sum);
      lse(i, 0) = {l, n == 0 ? 0 : worst + u * double(n + 4) + 4 * u * std::fabs(l)};
    }
  }

  /// Gradients when the implementation is given o and lse rounded to T.
  ///  delta, dP: dot products of dv terms (and o was rounded); dS: relative errors of p and of the difference
  template <class M>
  void backward(matrix<T> const& q, matrix<T> const& k, matrix<T> const& v, matrix<T> const& dout,
                double scale, M const& mask, index_t b = 0, index_t h = 0) {
    double const u = unit_roundoff<T>;
    dq = bounded_matrix(lq, dk);
    dk_ = bounded_matrix(lk, dk);
    dv_ = bounded_matrix(lk, dv);
    dq.fill({});
    dk_.fill({});
    dv_.fill({});
    std::vector<double> seen_by(static_cast<std::size_t>(lk));
    for (index_t i = 0; i < lq; ++i)
      for (index_t j = 0; j < lk; ++j)
        if (mask.allow(b, h, i, j)) seen_by[static_cast<std::size_t>(j)] += 1;
    for (index_t i = 0; i < lq; ++i) {
      double delta = 0, delta_abs = 0, n = 0;
      for (index_t c = 0; c < dv; ++c) {
        delta += double(dout(i, c)) * o(i, c).value;
        delta_abs += std::fabs(double(dout(i, c)) * o(i, c).value);
      }
      for (index_t j = 0; j < lk; ++j) n += mask.allow(b, h, i, j) ? 1 : 0;
      for (index_t j = 0; j < lk; ++j) {
        if (!mask.allow(b, h, i, j)) continue;
        double g = 0, g_abs = 0;
        for (index_t c = 0; c < dv; ++c) {
          g += double(dout(i, c)) * double(v(j, c));
          g_abs += std::fabs(double(dout(i, c)) * double(v(j, c)));
        }
        double const pij = p(i, j), perr = pij * (p_error(i, j) + 6 * u * std::fabs(lse(i, 0).value) + 4 * u);
        double const ds = scale * pij * (g - delta);
        double const serr =
            std::fabs(scale) * (perr * std::fabs(g - delta) + pij * u * double(dv + 6) * (g_abs + delta_abs));
        double const terms = seen_by[static_cast<std::size_t>(j)];
        for (index_t c = 0; c < dk; ++c) {
          add(dq(i, c), ds, double(k(j, c)), serr, u * n);
          add(dk_(j, c), ds, double(q(i, c)), serr, u * terms);
        }
        for (index_t c = 0; c < dv; ++c) add(dv_(j, c), pij, double(dout(i, c)), perr, u * terms);
      }
    }
  }

 private:
  static void add(bounded& to, double a, double b, double a_error, double relative) {
    to.value += a * b;
    to.bound += std::fabs(b) * (a_error + relative * std::fabs(a));
  }
};

/// Greatest excess |x - value| / bound; NaN and wrong infinities count as infinite.
template <class T> double excess(matrix<T> const& x, bounded_matrix const& want) {
  double worst = 0;
  for (index_t i = 0; i < x.rows; ++i)
    for (index_t j = 0; j < x.cols; ++j) {
      double const value = want(i, j).value, off = std::fabs(double(x(i, j)) - value);
      double const bound =
          want(i, j).bound + std::numeric_limits<T>::min() * 4096.;  // products that underflow
      if (double(x(i, j)) == value) continue;
      worst = off <= bound * worst                            ? worst
              : off < std::numeric_limits<double>::infinity() ? std::max(worst, off / bound)
                                                              : 1e300;
    }
  return worst;
}

}  // namespace test
