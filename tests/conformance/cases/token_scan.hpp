// SPDX-License-Identifier: Apache-2.0
/// \file  The recurrence S_t = exp(a_t) S_{t-1} + w_t k_t v_t^T, y_t = scale S_t^T q_t + skip v_t token by
///        token in double, with its adjoint: what the mixers on chunk_scan are held against.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <smx/backend/chunk_scan_calls.hpp>
#include <smx/testing/numbers.hpp>

namespace test {

using smx::extents;
using smx::index_t;

/// A row-major array of doubles.
struct cube {
  extents<4> e = {};
  std::vector<double> at;

  cube() = default;
  explicit cube(extents<4> const& n, double value = 0)
      : e(n), at(static_cast<std::size_t>(n[0] * n[1] * n[2] * n[3]), value) {}
  template <class T> explicit cube(smx::view<T const, 4, smx::host_space> const& v) : cube(v.ext) {
    at = smx::testing::values(v);
  }
  double& operator()(index_t a, index_t b, index_t c, index_t d) {
    return at[static_cast<std::size_t>(((a * e[1] + b) * e[2] + c) * e[3] + d)];
  }
  double operator()(index_t a, index_t b, index_t c, index_t d) const {
    return at[static_cast<std::size_t>(((a * e[1] + b) * e[2] + c) * e[3] + d)];
  }
  bool given() const { return !at.empty(); }
};

inline cube absolute(cube c) {
  for (double& one : c.at) one = std::fabs(one);
  return c;
}

struct token_scan {
  smx::chunk_scan_shape shape;
  cube q, k;     // (B,G,L,N)
  cube v;        // (B,H,L,P)
  cube w, a;     // (B,H,L,1)
  cube skip;     // (1,H,1,P), may be absent
  cube initial;  // (sequences,H,N,P), may be absent

  index_t heads() const { return v.e[1]; }
  index_t group(index_t h) const {
    return shape.groups == smx::group_map::tiled ? h % q.e[1] : h / (heads() / q.e[1]);
  }
  index_t sequences() const { return shape.packing.count > 0 ? shape.packing.count : v.e[0]; }
  index_t first(index_t i) const { return shape.packing.count > 0 ? shape.packing.bounds[i] : 0; }
  index_t last(index_t i) const { return shape.packing.count > 0 ? shape.packing.bounds[i + 1] : v.e[2]; }
  index_t batch(index_t i) const { return shape.packing.count > 0 ? 0 : i; }
  extents<4> state_extents() const { return {sequences(), heads(), q.e[3], v.e[3]}; }

  /// Everything but the decays in absolute values.
  token_scan magnitudes() const {
    token_scan m = *this;
    m.shape.scale = std::fabs(shape.scale);
    for (cube* one : {&m.q, &m.k, &m.v, &m.w, &m.skip, &m.initial}) *one = absolute(*one);
    return m;
  }

  /// y, and the last states.
  cube forward(cube& final) const {
    cube y(v.e);
    final = initial.given() ? initial : cube(state_extents());
    each([&](index_t i, index_t b, index_t h, index_t g) {
      for (index_t t = first(i); t < last(i); ++t)
        for (index_t p = 0; p < v.e[3]; ++p) {
          double sum = 0;
          for (index_t n = 0; n < q.e[3]; ++n) {
            double& s = final(i, h, n, p);
            s = std::exp(a(b, h, t, 0)) * s + w(b, h, t, 0) * k(b, g, t, n) * v(b, h, t, p);
            sum += q(b, g, t, n) * s;
          }
          y(b, h, t, p) = shape.scale * sum + (skip.given() ? skip(0, h, 0, p) * v(b, h, t, p) : 0);
        }
    });
    return y;
  }

  struct gradients {
    cube q, k, v, w, a, skip, initial;
  };
  gradients backward(cube const& dy, cube const& dfinal) const {
    index_t const dim = q.e[3], width = v.e[3];
    gradients d{cube(q.e),
                cube(k.e),
                cube(v.e),
                cube(w.e),
                cube(a.e),
                skip.given() ? cube(skip.e) : cube(),
                cube(state_extents())};
    each([&](index_t i, index_t b, index_t h, index_t g) {
      index_t const rows = last(i) - first(i);
      cube s({1, rows + 1, dim, width}), e({1, 1, dim, width});
      for (index_t n = 0; n < dim; ++n)
        for (index_t p = 0; p < width; ++p) {
          if (initial.given()) s(0, 0, n, p) = initial(i, h, n, p);
          if (dfinal.given()) e(0, 0, n, p) = dfinal(i, h, n, p);
          for (index_t r = 0; r < rows; ++r) {
            index_t const t = first(i) + r;
            s(0, r + 1, n, p) =
                std::exp(a(b, h, t, 0)) * s(0, r, n, p) + w(b, h, t, 0) * k(b, g, t, n) * v(b, h, t, p);
          }
        }
      for (index_t r = rows - 1; r >= 0; --r) {
        index_t const t = first(i) + r;
        double const keep = std::exp(a(b, h, t, 0)), in = w(b, h, t, 0);
        for (index_t p = 0; p < width; ++p) {
          double const up = dy(b, h, t, p), value = v(b, h, t, p);
          for (index_t n = 0; n < dim; ++n) {
            double& ds = e(0, 0, n, p);
            ds += shape.scale * q(b, g, t, n) * up;
            d.q(b, g, t, n) += shape.scale * s(0, r + 1, n, p) * up;
            d.a(b, h, t, 0) += keep * ds * s(0, r, n, p);
            d.k(b, g, t, n) += in * ds * value;
            d.v(b, h, t, p) += in * ds * k(b, g, t, n);
            d.w(b, h, t, 0) += ds * k(b, g, t, n) * value;
            ds *= keep;
          }
          if (!skip.given()) continue;
          d.v(b, h, t, p) += skip(0, h, 0, p) * up;
          d.skip(0, h, 0, p) += up * value;
        }
      }
      for (index_t n = 0; n < dim; ++n)
        for (index_t p = 0; p < width; ++p) d.initial(i, h, n, p) = e(0, 0, n, p);
    });
    return d;
  }

  /// The relative error of a sum of products of this scan, in multiples of epsilon: the terms of each product
  /// of a chunk, and of the exponents: sums of Q log-decays are off by Q roundings of the largest partial
  /// sum, once for each chunk that lies between.
  double terms() const {
    double most = 0;
    index_t chunks = 1;
    each([&](index_t i, index_t b, index_t h, index_t) {
      chunks = std::max(chunks, (last(i) - first(i) + shape.chunk - 1) / shape.chunk);
      for (index_t t = first(i); t < last(i);) {
        double sum = 0;
        index_t const end = std::min(last(i), t + shape.chunk);
        for (; t < end; ++t) sum += std::fabs(a(b, h, t, 0));
        most = std::max(most, sum);
      }
    });
    double const rows = static_cast<double>(std::min(shape.chunk, v.e[2])), n = static_cast<double>(chunks);
    return 32 + static_cast<double>(q.e[3] + v.e[3] + heads()) + 4 * rows + 4 * n +
           (most > 0 ? 4 * (rows + 2) * most * n : 0);
  }

 private:
  template <class F> void each(F const& f) const {
    for (index_t i = 0; i < sequences(); ++i)
      for (index_t h = 0; h < heads(); ++h) f(i, batch(i), h, group(h));
  }
};

inline smx::testing::numbers times(cube const& c, double factor) {
  return smx::testing::scaled(c.at, factor);
}

}  // namespace test
