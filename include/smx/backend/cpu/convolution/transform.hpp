// SPDX-License-Identifier: Apache-2.0
/// \file  The walk over the tree of remainders, depth first, for one tile of lanes<T> channels.
///
/// A pass splits a node; then each child is finished completely (down to its leaves, times the kernel, back
/// up) before the next one starts: at 64 points a leaf lives in L1, and a node of 2048 points in 256 KB of L2
/// with AVX-512. A convolution of M points costs about 10 M log2 M flops a channel, there and back.
#pragma once

#include <cstdint>

#include <smx/backend/cpu/convolution/passes.hpp>
#include <smx/backend/cpu/convolution/plan.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// One tile's walk: the plan, its constants, and memory that the caller owns.
template <class T> class transform {
 public:
  /// `work` holds plan.work complex vectors for one signal, 3 * plan.work for adjoint.
  transform(transform_plan const& plan, T const* twiddles, cvec<T>* work)
      : plan_(plan), twiddles_(twiddles), work_(work) {}

  /// spectrum := the residues of x; x holds the M points, complex.
  void analyse(cvec<T> const* x, cvec<T>* spectrum) {
    split(0, x, work_, twiddles_);
    job_ = job::spectrum, ups_ = 0;
    walk(nullptr, spectrum);
  }
  /// x := the real part of x * spectrum (or its conjugate); x holds M real rows.
  void convolve(vec<T>* x, cvec<T> const* spectrum, bool conjugate = false) {
    split(0, static_cast<vec<T> const*>(x), work_, twiddles_);
    job_ = conjugate ? job::convolve_conjugate : job::convolve, ups_ = 1;
    walk(spectrum, nullptr);
    merge(0, work_, x, twiddles_);
  }
  /// Signals c and w, M real rows each, with residues C and W; K is the kernel's spectrum:
  /// c := real part of C conj(K); w := real part of W K if `a.again`, else it is left alone;
  /// the sum of C conj(W) is dealt with as `a` says: where it is finished, lags := its M complex points,
  /// times M.
  void adjoint(vec<T>* c, vec<T>* w, cvec<T> const* spectrum, adjoint_options const& a, cvec<T>* sum,
               cvec<T>* lags) {
    split(0, static_cast<vec<T> const*>(c), work_, twiddles_);
    split(0, static_cast<vec<T> const*>(w), work_ + plan_.work, twiddles_);
    job_ = job::adjoint, adjoint_ = a, signals_ = 2;
    ups_ = 1u | (a.again ? 2u : 0u) | (a.correlate && a.last ? 4u : 0u);
    walk(spectrum, sum);
    merge(0, work_, c, twiddles_);
    if (a.again) merge(0, work_ + plan_.work, w, twiddles_);
    if (a.correlate && a.last) merge(0, work_ + 2 * plan_.work, lags, twiddles_);
    signals_ = 1;
  }

 private:
  /// What happens between the way down and the way up, on the 8 or 64 points of a leaf.
  enum class job { spectrum, convolve, convolve_conjugate, adjoint };

  transform_level const& level(int depth) const { return plan_.level[static_cast<std::size_t>(depth)]; }

  void walk(cvec<T> const* in, cvec<T>* out) {
    in_ = in, out_ = out, next_ = twiddles_ + level(0).twiddles();
    for (int j = 0; j < level(0).radix; ++j) descend(1, work_ + j * level(0).stride);
  }

  /// Signal s of the work memory goes down the tree if s < signals_, and up if bit s of ups_ is set.
  void descend(int depth, cvec<T>* x) {
    if (depth == plan_.levels) return leaf(x);
    transform_level const& v = level(depth);
    T const* const w = next_;
    next_ += v.twiddles();
    for (int s = 0; s < signals_; ++s)
      split(depth, static_cast<cvec<T> const*>(x + s * plan_.work), x + s * plan_.work, w);
    for (int j = 0; j < v.radix; ++j) descend(depth + 1, x + j * v.stride);
    for (int s = 0; s < 3; ++s)
      if ((ups_ >> s & 1u) != 0) merge(depth, x + s * plan_.work, x + s * plan_.work, w);
  }

  /// Splits a node. The whole signal lies contiguously, nodes inside the work memory with their paddings.
  template <class In> void split(int depth, In const* in, cvec<T>* out, T const* w) {
    transform_level const& v = level(depth);
    for (index_t n = 0; n < v.points; n += plan_.leaf) {
      index_t const at = plan_.place(depth + 1, n);
      split_row(v.radix, in + (depth == 0 ? n : at), out + at, w,
                {depth == 0 ? v.points : v.stride, 1, v.stride, 1, 0, plan_.leaf});
    }
  }
  /// The exact reverse.
  template <class Out> void merge(int depth, cvec<T> const* in, Out* out, T const* w) {
    transform_level const& v = level(depth);
    for (index_t n = 0; n < v.points; n += plan_.leaf) {
      index_t const at = plan_.place(depth + 1, n);
      merge_row(v.radix, in + at, out + (depth == 0 ? n : at), w,
                {v.stride, 1, depth == 0 ? v.points : v.stride, 1, 0, plan_.leaf});
    }
  }

  void leaf(cvec<T>* x) {
    index_t const groups = plan_.leaf / 8;
    T const* const w = next_;
    T const* const v = groups == 8 ? w + 14 : w;
    next_ = v + 14 * groups;
    butterflies const column = {8, 1, 8, 1, 0, 8}, row = {1, 8, 1, 8, 14, groups};
    if (groups == 8)
      for (int s = 0; s < signals_; ++s) {
        cvec<T>* const z = x + s * plan_.work;
        split_row<8>(static_cast<cvec<T> const*>(z), z, w, column);
      }
    switch (job_) {
      case job::spectrum:
        split_row<8>(static_cast<cvec<T> const*>(x), out_, v, row);
        break;
      case job::convolve:
        convolve_roots<false>(x, in_, v, groups);
        break;
      case job::convolve_conjugate:
        convolve_roots<true>(x, in_, v, groups);
        break;
      case job::adjoint:
        adjoint_roots(x, plan_.work, in_, out_, v, groups, adjoint_);
        break;
    }
    if (groups == 8)
      for (int s = 0; s < 3; ++s) {
        cvec<T>* const z = x + s * plan_.work;
        if ((ups_ >> s & 1u) != 0) merge_row<8>(static_cast<cvec<T> const*>(z), z, w, column);
      }
    if (in_ != nullptr) in_ += plan_.leaf;
    if (out_ != nullptr) out_ += plan_.leaf;
  }

  transform_plan const& plan_;
  T const* twiddles_;
  cvec<T>* work_;
  job job_ = job::convolve;
  int signals_ = 1;
  unsigned ups_ = 1;
  adjoint_options adjoint_;
  T const* next_ = nullptr;
  cvec<T> const* in_ = nullptr;
  cvec<T>* out_ = nullptr;
};

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
