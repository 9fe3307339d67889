// SPDX-License-Identifier: Apache-2.0
/// \file  The walk over the tree of remainders, depth first, for one tile of lanes<T> channels.
///
/// A pass splits a node; then each child is finished completely (down to its leaves, times the kernel, back
/// up) before the next one starts: at 64 points a leaf lives in L1, and a node of 2048 points in 512 KB of L2
/// with AVX-512. A convolution of M points costs about 10 M log2 M flops a channel, there and back.
#pragma once

#include <cstdint>

#include <smx/backend/cpu/convolution/passes.hpp>
#include <smx/backend/cpu/convolution/plan.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

/// What happens between the way down and the way up, on the 8 or 64 points of a leaf.
enum class leaf_job {
  spectrum,            ///< the roots go to `spectrum`; no way up
  convolve,            ///< times `spectrum`
  convolve_conjugate,  ///< times its conjugate: the adjoint
  inverse,             ///< no way down: the roots come from `spectrum`
  adjoint              ///< two signals at once: see transform::adjoint
};

/// One tile's walk: the plan, its constants, and memory that the caller owns.
template <class T> class transform {
 public:
  /// `work` holds plan.work complex vectors (twice as many for adjoint).
  transform(transform_plan const& plan, T const* twiddles, cvec<T>* work)
      : plan_(plan), twiddles_(twiddles), work_(work) {}

  /// spectrum := the residues of x; x holds the M points, complex.
  void analyse(cvec<T> const* x, cvec<T>* spectrum) {
    split(0, x, work_, twiddles_);
    walk(leaf_job::spectrum, nullptr, spectrum);
  }
  /// x := the points whose residues are `spectrum`, times M.
  void synthesise(cvec<T> const* spectrum, cvec<T>* x) {
    walk(leaf_job::inverse, spectrum, nullptr);
    merge(0, work_, x, twiddles_);
  }
  /// x := the real part of x * spectrum (or its conjugate); x holds M real rows.
  void convolve(vec<T>* x, cvec<T> const* spectrum, bool conjugate = false) {
    split(0, static_cast<vec<T> const*>(x), work_, twiddles_);
    walk(conjugate ? leaf_job::convolve_conjugate : leaf_job::convolve, spectrum, nullptr);
    merge(0, work_, x, twiddles_);
  }
  /// For signals w and c with residues W and C, and the kernel's K: products += C conj(W);
  /// c := real part of C conj(K); w := real part of W K if `again` (else w is left alone).
  void adjoint(vec<T>* w, vec<T>* c, cvec<T> const* spectrum, cvec<T>* products, bool again) {
    split(0, static_cast<vec<T> const*>(w), work_ + plan_.work, twiddles_);
    split(0, static_cast<vec<T> const*>(c), work_, twiddles_);
    again_ = again;
    walk(leaf_job::adjoint, spectrum, products);
    merge(0, work_, c, twiddles_);
    if (again) merge(0, work_ + plan_.work, w, twiddles_);
  }

 private:
  transform_level const& level(int depth) const { return plan_.level[static_cast<std::size_t>(depth)]; }

  void walk(leaf_job job, cvec<T> const* in, cvec<T>* out) {
    job_ = job, in_ = in, out_ = out, next_ = twiddles_ + level(0).twiddles();
    for (int j = 0; j < level(0).radix; ++j) descend(1, work_ + j * level(0).stride);
  }

  void descend(int depth, cvec<T>* x) {
    if (depth == plan_.levels) return leaf(x);
    transform_level const& v = level(depth);
    T const* const w = next_;
    next_ += v.twiddles();
    if (job_ != leaf_job::inverse) split(depth, static_cast<cvec<T> const*>(x), x, w);
    if (job_ == leaf_job::adjoint)
      split(depth, static_cast<cvec<T> const*>(x + plan_.work), x + plan_.work, w);
    for (int j = 0; j < v.radix; ++j) descend(depth + 1, x + j * v.stride);
    if (job_ != leaf_job::spectrum) merge(depth, x, x, w);
    if (job_ == leaf_job::adjoint && again_) merge(depth, x + plan_.work, x + plan_.work, w);
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
    index_t const n = plan_.leaf, groups = n / 8;
    T const* const w = next_;
    T const* const v = groups == 8 ? w + 14 : w;
    next_ = v + 14 * groups;
    butterflies const column = {8, 1, 8, 1, 0, 8}, rows = {1, 8, 1, 8, 14, groups};
    auto const down = [&](cvec<T>* z) {
      if (groups == 8) split_row<8>(static_cast<cvec<T> const*>(z), z, w, column);
    };
    auto const up = [&](cvec<T>* z) {
      if (groups == 8) merge_row<8>(static_cast<cvec<T> const*>(z), z, w, column);
    };
    switch (job_) {
      case leaf_job::spectrum:
        down(x);
        split_row<8>(static_cast<cvec<T> const*>(x), out_, v, rows);
        break;
      case leaf_job::inverse:
        merge_row<8>(in_, x, v, rows);
        up(x);
        break;
      case leaf_job::convolve:
        down(x);
        convolve_roots<false>(x, in_, v, groups);
        up(x);
        break;
      case leaf_job::convolve_conjugate:
        down(x);
        convolve_roots<true>(x, in_, v, groups);
        up(x);
        break;
      case leaf_job::adjoint:
        cvec<T>* const y = x + plan_.work;
        down(x);
        down(y);
        split_row<8>(static_cast<cvec<T> const*>(x), x, v, rows);
        split_row<8>(static_cast<cvec<T> const*>(y), y, v, rows);
        adjoint_roots(x, y);
        merge_row<8>(static_cast<cvec<T> const*>(x), x, v, rows);
        up(x);
        if (again_) {
          merge_row<8>(static_cast<cvec<T> const*>(y), y, v, rows);
          up(y);
        }
    }
    if (in_ != nullptr) in_ += n;
    if (out_ != nullptr) out_ += n;
  }

  void adjoint_roots(cvec<T>* x, cvec<T>* y) const {
    SMX_ROLLED
    for (index_t n = 0; n < plan_.leaf; ++n) {
      cvec<T> const c = x[n], w = y[n], k = in_[n];
      if (out_ != nullptr) out_[n] = out_[n] + product<true>(c, w);
      x[n] = product<true>(c, k);
      y[n] = product<false>(w, k);
    }
  }

  transform_plan const& plan_;
  T const* twiddles_;
  cvec<T>* work_;
  leaf_job job_ = leaf_job::convolve;
  bool again_ = false;
  T const* next_ = nullptr;
  cvec<T> const* in_ = nullptr;
  cvec<T>* out_ = nullptr;
};

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
