// SPDX-License-Identifier: Apache-2.0
/// \file  What one launch of the convolution's kernel does: where signals come from, what happens to their
/// spectra, where results go.
///
/// source -> [transform] -> [products with spectra] -> [inverse] -> sink. A signal is (bh, d, q): batch and
/// head, channel, and, where a transform has two parts, the column (first part) or the node (second part).
/// Position p of it is position p step + q of the sequence.
#pragma once

#include <smx/backend/cuda/grid.hpp>

namespace smx::cuda_kernels {

/// An array of the caller's: (B,H,L,D).
template <class T> struct real_signals {
  T* ptr = nullptr;
  index_t batch = 0, head = 0, position = 0, channel = 0;  ///< strides
  bool there = false;
};

/// Complex numbers in scratch or prepared storage. Positions p lie at p / 2^fold position + p mod 2^fold
/// folded.
template <class T> struct complex_signals {
  T* ptr = nullptr;
  index_t batch = 0, channel = 0, column = 0, position = 0, folded = 0;  ///< strides, in complex numbers
  int fold = 0;
  bool there = false;
};

/// A convolution's kernel as a signal (see structured/convolution.hpp): lags from 0 on are the real parts of
/// positions below low_end; those below 0, negated, the imaginary parts of high_first .. high_end - 1.
/// Position n of either is at n times its stride, and `skip` is added to lag 0.
template <class T> struct tap_signals {
  real_signals<T const> low, high;
  index_t low_end = 0, high_first = 0, high_end = 0;
  T const* skip = nullptr;
};

template <class T> struct convolution_job {
  // the signals: blocks walk batch entries, then tiles of lanes, then rows of them
  unsigned batch = 1;       ///< batch entries times heads
  unsigned first_head = 0;  ///< of the first of them in the caller's arrays
  unsigned heads = 1;       ///< below 2^31
  unsigned lanes = 0;       ///< signals of a row of tiles
  unsigned fast = 1;        ///< lane l is (l mod fast, row + l / fast) of (channel, column), or the other way
  unsigned tiles = 0;       ///< of a row
  bool channels_fast = true;

  int first = 0, last = 1;   ///< 0: transform, 1: inverse
  unsigned nodes = 1;        ///< of the whole transform
  bool second_part = false;  ///< columns are nodes: the root is that of node q
  T const* table = nullptr;

  index_t length = 0, step = 1;
  // one source
  real_signals<T const> x, gate;
  complex_signals<T const> from;
  index_t summed = 1;  ///< batch entries of `from` that are added up
  tap_signals<T> taps;
  // products
  complex_signals<T const> other;  ///< spectra w: z conj(w) goes to lags, which may be there
  complex_signals<T> lags;
  complex_signals<T const> spectrum;
  bool conjugate = false;
  // the sinks
  complex_signals<T> to;
  T scale = 1;
  real_signals<T> y[2];
  real_signals<T const> y_gate[2];
};

}  // namespace smx::cuda_kernels
