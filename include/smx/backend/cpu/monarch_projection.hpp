// SPDX-License-Identifier: Apache-2.0
/// \file  The order-2 Monarch matrix nearest to a dense one in the Frobenius norm, by one singular value
/// decomposition a slice. Opt-in include: Eigen's SVD costs seconds of compile time.
///
/// Row s l + l' and column k' p + p' of M make slice (k', l') of size (s, p). Slices are disjoint, so the
/// best M of rank `rank` in every slice is the best approximation there is: slice = sum_r sigma_r u_r v_r^H
/// cut after `rank` terms, and sqrt(sigma_r) goes to each factor. The sign (complex: the phase) of a pair of
/// factors is arbitrary. T. Dao et al., "Monarch: Expressive Structured Matrices for Efficient and Accurate
/// Training", ICML 2022, section 3. O(k l s p min(s, p)) multiply-adds, n^(5/2) for a square of n with equal
/// factors.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <type_traits>
#include <vector>

#include <Eigen/SVD>

#include <smx/backend/cpu/simd.hpp>
#include <smx/core/check.hpp>
#include <smx/core/view.hpp>

namespace smx {
inline namespace SMX_CPU_ABI {

/// Writes the factors w1 (k,q,p) and w2 (l,s,r) of the nearest Monarch matrix, q = rank l and r = k rank, in
/// the layout of monarch_stages: these are the weights of `monarch` (factor[0], factor[1]), and of the public
/// blockdiag_butterfly layout. m has up to l s rows and k p columns; what is missing counts as 0. T: float,
/// double or std::complex of them; the decompositions are in double. A slice with a NaN or an infinity gives
/// NaN factors, the others are as ever. Returns |m - projection| / |m| (Frobenius; 0 for a zero matrix).
/// Throws precondition_error for other extents.
template <class T, class B>
double project_monarch(B& be, view<T const, 2, host_space> m, view<T, 3, host_space> w1,
                       view<T, 3, host_space> w2) {
  using wide = std::conditional_t<std::is_floating_point_v<T>, double, std::complex<double>>;
  using matrix = Eigen::Matrix<wide, Eigen::Dynamic, Eigen::Dynamic>;
  checked_size(m.ext, "project_monarch: m");
  checked_size(w1.ext, "project_monarch: w1");
  checked_size(w2.ext, "project_monarch: w2");
  index_t const k = w1.ext[0], q = w1.ext[1], p = w1.ext[2], l = w2.ext[0], s = w2.ext[1], rank = q / l;
  expects_value(q % l == 0, "project_monarch: w1", "a multiple of w2's blocks as the second extent", q);
  expects_extents("project_monarch: w2", w2.ext, {l, s, k * rank});
  expects_value(m.ext[0] <= l * s, "project_monarch: m", "no more rows than the factors have; rows",
                m.ext[0]);
  expects_value(m.ext[1] <= k * p, "project_monarch: m", "no more columns than the factors have; columns",
                m.ext[1]);

  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  wide const unknown = nan * wide(1);  // complex: both parts
  struct norms {
    double whole = 0, lost = 0;
  };
  std::vector<norms> squares(static_cast<std::size_t>(k * l));  // summed below in a fixed order
  auto const project_slice = [&](index_t kk, index_t ll) {
    matrix a = matrix::Zero(s, p);
    for (index_t i = 0; i < s && i * l + ll < m.ext[0]; ++i)
      for (index_t j = 0; j < p && kk * p + j < m.ext[1]; ++j)
        a(i, j) = static_cast<wide>(m(i * l + ll, kk * p + j));
    index_t const count = std::min(s, p);
    matrix u = matrix::Constant(s, count, unknown), v = matrix::Constant(p, count, unknown);
    Eigen::VectorXd sigma = Eigen::VectorXd::Constant(count, nan);
    if (a.allFinite()) {
      Eigen::JacobiSVD<matrix> const svd(a, Eigen::ComputeThinU | Eigen::ComputeThinV);
      u = svd.matrixU(), v = svd.matrixV(), sigma = svd.singularValues();
    }
    for (index_t r = 0; r < rank; ++r) {
      double const root = r < count ? std::sqrt(sigma[r]) : 0.0;
      index_t const column = std::min(r, count - 1);
      for (index_t j = 0; j < p; ++j)
        w1(kk, r * l + ll, j) = static_cast<T>(Eigen::numext::conj(v(j, column)) * root);
      for (index_t i = 0; i < s; ++i) w2(ll, i, kk * rank + r) = static_cast<T>(u(i, column) * root);
    }
    return norms{sigma.squaredNorm(), sigma.tail(std::max(count - rank, index_t{0})).squaredNorm()};
  };
  be.tiles(k * l, static_cast<std::size_t>(s * p) * sizeof(wide) * 8,
           [&](auto&, index_t first, index_t count) {
             for (index_t n = first; n < first + count; ++n)
               squares[static_cast<std::size_t>(n)] = project_slice(n / l, n % l);
           });
  norms total;
  for (norms const& one : squares) total.whole += one.whole, total.lost += one.lost;
  return total.whole == 0 ? 0.0 : std::sqrt(total.lost / total.whole);
}

}  // namespace SMX_CPU_ABI
}  // namespace smx
