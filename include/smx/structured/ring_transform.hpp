// SPDX-License-Identifier: Apache-2.0
/// \file  Convolution modulo t^(2M) + 1 as a Monarch matrix: the transform that long convolutions run on
/// every backend.
///
/// t^(2M) + 1 = (t^M - i)(t^M + i), and for real signals the second residue is the conjugate of the first. So
/// one complex residue, x mod (t^M - i) = x_low + i x_high, carries a real convolution of M points without
/// wrap-around. A node t^m - r splits into d children t^(m/d) - r_j, r_j^d = r: child j is sum_p x_p r_j^p
/// over the d blocks x_p. That is one (d,d) complex matrix for each node, the same for every position inside
/// a block: a stage of a Monarch matrix (nodes, 2d, 2d) over the reals, with no twiddle pass and no
/// permutation. Its inverse is its transpose over d. Radices are at most 32, so M d_1 + ... + M d_p is O(M
/// log M).
///
/// Layout of a node: real block, then imaginary block, (2,m,C); leaves are (M,2,C). C are channels: columns
/// of every product.
#pragma once

#include <cmath>

#include <smx/backend/concept.hpp>
#include <smx/core/inline_vector.hpp>

namespace smx {

/// The tree for signals of `length` points: M = product of the radices >= length.
class ring_transform {
 public:
  static constexpr index_t largest_radix = 32;

  ring_transform() = default;
  explicit ring_transform(index_t length) {
    expects_value(length >= 1, "ring_transform: length", "at least 1", length);
    int stages = 1;
    for (index_t reach = largest_radix; reach < length; reach *= largest_radix) ++stages;
    for (int a = stages; a > 0; --a) {
      auto d = static_cast<index_t>(std::ceil(std::pow(static_cast<double>(length), 1.0 / a) - 1e-9));
      d = a == 1 ? length : d < 1 ? 1 : d;
      radix_.push_back(d);
      points_ *= d;
      length = (length + d - 1) / d;
    }
  }

  index_t points() const { return points_; }
  int stages() const { return radix_.size(); }

  /// Numbers in the tables of all stages.
  index_t table_size() const {
    index_t size = 0, nodes = 1;
    for (index_t d : radix_) size += nodes * 4 * d * d, nodes *= d;
    return size;
  }

  /// Computed in double where the memory is, rounded once.
  template <class B, class T> void fill_tables(B& be, view<T, 1, space_t<B>> tables) const {
    index_t nodes = 1, at = 0;
    for (int a = 0; a < stages(); ++a) {
      be.generate(entry{radix_, a}, stage_table(tables, at, nodes, radix_[a]));
      at += nodes * 4 * radix_[a] * radix_[a];
      nodes *= radix_[a];
    }
  }

  /// x (n,parts,M,C) contiguous but for n; parts 1: real, 2: real and imaginary. Returns the residues
  /// (n,M,2,C), in scratch.
  template <class B, class T> out<B, T, 4> analyse(B& be, in<B, T, 1> tables, out<B, T, 4> x) const {
    index_t const n = x.ext[0], c = x.ext[3];
    in<B, T, 4> from = x;
    out<B, T, 4> to;
    index_t nodes = 1, at = 0, rows = x.ext[1] * radix_[0];
    for (int a = 0; a < stages(); ++a) {
      index_t const d = radix_[a], width = points_ / nodes / d * c;
      to = be.template scratch<T>(extents<4>{n, nodes, 2 * d, width});
      auto const table = slice(broadcast_axis(stage_table(tables, at, nodes, d), 0, 1), 3, 0, rows);
      be.gemm(op::none, op::none, T(1), table, regroup(from, nodes, rows, width), T(0), to);
      from = to;
      at += nodes * 4 * d * d;
      nodes *= d;
      rows = a + 1 < stages() ? 2 * radix_[a + 1] : 0;
    }
    return out<B, T, 4>(to.ptr, {n, points_, 2, c});
  }

  /// Which parts of x = low + i high come back.
  enum class part : char { low, high, both };

  /// The inverse: residues (n,M,2,C) in scratch of their own to x (n,parts,M,C).
  template <class B, class T>
  out<B, T, 4> synthesise(B& be, in<B, T, 1> tables, out<B, T, 4> residues, part which) const {
    index_t const n = residues.ext[0], c = residues.ext[3];
    index_t nodes = points_, at = table_size();
    in<B, T, 4> from = residues;
    out<B, T, 4> to;
    for (int a = stages(); a-- > 0;) {
      index_t const d = radix_[a];
      nodes /= d;
      at -= nodes * 4 * d * d;
      index_t const width = points_ / nodes / d * c;
      index_t const rows = a > 0 || which == part::both ? 2 * d : d,
                    skip = a == 0 && which == part::high ? d : 0;
      to = be.template scratch<T>(extents<4>{n, nodes, rows, width});
      auto const table = slice(broadcast_axis(stage_table(tables, at, nodes, d), 0, 1), 3, skip, rows);
      be.gemm(op::transpose, op::none, T(1) / static_cast<T>(d), table, regroup(from, nodes, 2 * d, width),
              T(0), to);
      from = to;
    }
    return out<B, T, 4>(to.ptr, {n, which == part::both ? 2 : 1, points_, c});
  }

  // What kernels are named by, which nvcc wants to be public.
  using radices = inline_vector<index_t, 16>;

  /// Entry ((j,c),(c',p)) of a node's matrix, as a real matrix of r_j^p = exp(2 pi i p turns_j).
  struct entry {
    radices radix;
    int stage;
    SMX_HD double operator()(extents<3> const& i) const {
      index_t const d = radix.items[stage], j = i[1] / 2, c = i[1] % 2, q = i[2] / d, p = i[2] % d;
      index_t below = 1;  // nodes of one digit of the node's index
      for (int b = 1; b < stage; ++b) below *= radix.items[b];
      double turns = 0.25;  // the root is t^M - i
      index_t rest = i[0];
      for (int b = 0; b < stage; ++b) {
        turns = (turns + static_cast<double>(rest / below)) / static_cast<double>(radix.items[b]);
        rest %= below;
        if (b + 1 < stage) below /= radix.items[b + 1];
      }
      turns = static_cast<double>(p) * (turns + static_cast<double>(j)) / static_cast<double>(d);
      double const angle = 6.283185307179586477 * (turns - std::floor(turns));
      if (c == q) return std::cos(angle);
      return c == 1 ? std::sin(angle) : -std::sin(angle);
    }
  };

 private:
  template <class V> static auto stage_table(V const& tables, index_t at, index_t nodes, index_t d) {
    return view<typename V::element_type, 3, typename V::space_type>(detail::advance(tables.ptr, at),
                                                                     {nodes, 2 * d, 2 * d});
  }
  /// The same memory as (n,nodes,rows,width).
  template <class V> static V regroup(V const& v, index_t nodes, index_t rows, index_t width) {
    V w(v.ptr, {v.ext[0], nodes, rows, width});
    w.str[0] = v.str[0];
    return w;
  }

  radices radix_;
  index_t points_ = 1;
};

}  // namespace smx
