// SPDX-License-Identifier: Apache-2.0
/// \file  Sizes of the transforms that long convolutions run on a GPU: points, stages, threads, memory.
///
/// A convolution of L <= M real points is one complex residue modulo t^M - i (structured/ring_transform.hpp).
/// Modulo t^M - exp(2 pi i theta), a transform of M points is X_J = sum_n x_n exp(2 pi i n (J + theta) / M),
/// J = 0 .. M - 1. Up to a limit one block does it (a tile); beyond, M = nodes * leaf: nodes points along
/// columns n, n + leaf, n + 2 leaf, ... give the residues modulo t^leaf - exp(2 pi i theta_j), theta_j =
/// (theta + j) / nodes, and these are transforms of `leaf` points, J = j + nodes J'. No twiddle pass lies
/// between the two.
#pragma once

#include <cstddef>
#include <initializer_list>

#include <smx/core/extents.hpp>

namespace smx::cuda_kernels {

SMX_HD constexpr int log2_of(index_t n) {
  int l = 0;
  while (n > 1) n /= 2, ++l;
  return l;
}

/// One transform of Points points in registers, PerThread at a time: stages of that radix and one smaller in
/// the middle, between them an exchange through shared memory. A block has Lanes neighbouring signals (those
/// contiguous in memory, for layouts whose channels are) times Groups. MinBlocks of them share an SM.
///
/// Data of a stage lie at n * below + J, below = product of the earlier radices, J < below the node: its root
/// is (J + theta) / below turns. A thread t has n * below + J = t + i Threads, i < PerThread.
template <class T, int Points, int PerThread, int Lanes, int Groups> struct convolution_tile {
  using scalar = T;
  static constexpr int points = Points, per_thread = PerThread, lanes = Lanes, groups = Groups;
  static constexpr int threads_a_signal = Points / PerThread;
  static constexpr int threads = threads_a_signal * Lanes * Groups;
  static constexpr int levels = log2_of(Points);
  static_assert(Points == 1 << levels && PerThread <= 32);

  static constexpr int middle = Points / (PerThread * PerThread);  // 0: one stage
  static constexpr int stages = middle == 0 ? 1 : middle == 1 ? 2 : 3;
  static_assert(middle <= PerThread && (stages > 1 || Points == PerThread));
  SMX_HD static constexpr int radix(int stage) { return stages == 3 && stage == 1 ? middle : PerThread; }
  SMX_HD static constexpr int below(int stage) {
    int n = 1;
    for (int s = 0; s < stage; ++s) n *= radix(s);
    return n;
  }
  /// Where the table of a stage starts: log2 radix rows of below(stage) complex numbers exp(2 pi i J / (below
  /// 2^l)), l = 1 .. log2 radix. The first stage has none.
  SMX_HD static constexpr int table(int stage) {
    int n = 0;
    for (int s = 1; s < stage; ++s) n += below(s) * log2_of(radix(s));
    return n;
  }
  static constexpr int table_size = table(stages);

  /// A gap of one after each PerThread points, so that the first stage's stores, PerThread apart, lie in
  /// different banks.
  static constexpr int padded = Points + Points / PerThread;
  static constexpr std::size_t turns = 32;  // complex numbers for the powers of the root, twice
  static constexpr std::size_t shared_bytes =
      2 * sizeof(T) * (2 * turns + (stages == 1 ? 0 : std::size_t{padded} * Lanes * Groups));

  /// Registers of a thread: the points of a thread take 2 (f32) or 4 (f64) each.
  static constexpr int registers = PerThread * static_cast<int>(sizeof(T)) / 4 <= 16 ? 64 : 128;
  static constexpr int min_blocks = 65536 / registers / threads < 1    ? 1
                                    : 65536 / registers / threads > 16 ? 16
                                                                       : 65536 / registers / threads;
};

/// The tile for Points points; Across: channels are neighbours in memory, not positions.
template <class T, int Points, bool Across> struct convolution_tile_for;
template <class T, bool A> struct convolution_tile_for<T, 4, A> {
  using type = convolution_tile<T, 4, 4, 128, 1>;
};
template <class T, bool A> struct convolution_tile_for<T, 16, A> {
  using type = convolution_tile<T, 16, 16, 128, 1>;
};
template <class T, bool A> struct convolution_tile_for<T, 64, A> {
  using type = convolution_tile<T, 64, 8, 16, 1>;
};
template <class T, bool A> struct convolution_tile_for<T, 256, A> {
  using type = convolution_tile<T, 256, 16, 16, 1>;
};
template <> struct convolution_tile_for<float, 1024, true> {
  using type = convolution_tile<float, 1024, 32, 8, 1>;
};
template <> struct convolution_tile_for<float, 1024, false> {
  using type = convolution_tile<float, 1024, 32, 1, 4>;
};
template <> struct convolution_tile_for<float, 2048, true> {
  using type = convolution_tile<float, 2048, 16, 4, 1>;
};
template <> struct convolution_tile_for<float, 2048, false> {
  using type = convolution_tile<float, 2048, 16, 1, 2>;
};
template <> struct convolution_tile_for<float, 4096, true> {
  using type = convolution_tile<float, 4096, 16, 4, 1>;
};
template <> struct convolution_tile_for<float, 4096, false> {
  using type = convolution_tile<float, 4096, 16, 1, 1>;
};
template <bool A> struct convolution_tile_for<float, 8192, A> {
  using type = convolution_tile<float, 8192, 32, 1, 1>;
};
template <bool A> struct convolution_tile_for<float, 16384, A> {
  using type = convolution_tile<float, 16384, 32, 1, 1>;
};
template <> struct convolution_tile_for<double, 1024, true> {
  using type = convolution_tile<double, 1024, 16, 4, 1>;
};
template <> struct convolution_tile_for<double, 1024, false> {
  using type = convolution_tile<double, 1024, 16, 1, 2>;
};
template <> struct convolution_tile_for<double, 2048, true> {
  using type = convolution_tile<double, 2048, 16, 4, 1>;
};
template <> struct convolution_tile_for<double, 2048, false> {
  using type = convolution_tile<double, 2048, 16, 1, 1>;
};
template <> struct convolution_tile_for<double, 4096, true> {
  using type = convolution_tile<double, 4096, 16, 2, 1>;
};
template <> struct convolution_tile_for<double, 4096, false> {
  using type = convolution_tile<double, 4096, 16, 1, 1>;
};

/// Where channels are neighbours, clusters of blocks transform cluster_channels at once (cluster.cuh), by
/// tiles of one lane: the blocks of a cluster have that many groups in all.
inline constexpr int cluster_channels = 8;
template <class T, int Points> struct cluster_tile_for {
  using type = typename convolution_tile_for<T, Points, false>::type;
};
template <> struct cluster_tile_for<float, 2048> { using type = convolution_tile<float, 2048, 16, 1, 1>; };

/// Up to which number of points one block transforms, where channels are neighbours (across) and where
/// positions are (along), and the scratch that larger transforms take at once.
struct convolution_limits {
  index_t across = 16384, along = 16384;
  index_t leaf = 4096;  ///< of the second part of a larger transform
  std::size_t slab_bytes = std::size_t{64} << 20;
  /// Forward, where positions are neighbours: up to which number one factor follows the other (halves.cuh).
  index_t halves = 32768;
  bool clusters = true;  ///< where channels are neighbours: whether blocks work in clusters
  std::size_t block_bytes = std::size_t{227} << 10;  ///< of shared memory
};
/// On GPUs whose blocks may take `block_bytes` of shared memory.
template <class T> constexpr convolution_limits limits_of(std::size_t block_bytes, bool clusters) {
  convolution_limits l;
  l.block_bytes = block_bytes;
  l.clusters = clusters && sizeof(T) == 4 && block_bytes >= std::size_t{227} << 10;
  if (!l.clusters) l.across = 4096;
  if (sizeof(T) > 4) {
    l.along = 4096, l.halves = 0;
  } else {  // halves of 16384 points take 195 KiB, 16384 points in one part 133
    if (block_bytes < std::size_t{200} << 10) l.halves = 16384;
    if (block_bytes < std::size_t{136} << 10) l.along = 8192;
  }
  return l;
}

/// The smallest number of points >= length that there are tiles for; 0: none.
constexpr index_t convolution_points(index_t length) {
  if (length <= 64) return 64;
  if (length <= 256) return 256;
  index_t m = 1024;
  while (m < length && m < (index_t{1} << 22)) m *= 2;
  return m < length ? 0 : m;
}

/// M = nodes * leaf, nodes a power of 4 up to 1024.
struct convolution_split {
  index_t points, nodes, leaf;
};
constexpr convolution_split split_points(index_t points, index_t largest_leaf) {
  if (points <= largest_leaf) return {points, 1, points};
  for (index_t const leaf : {4096, 2048, 1024, 256, 64})
    for (index_t const nodes : {4, 16, 64, 256, 1024})
      if (leaf <= largest_leaf && leaf * nodes == points) return {points, nodes, leaf};
  return {points, 0, 0};
}

}  // namespace smx::cuda_kernels
