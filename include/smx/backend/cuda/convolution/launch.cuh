// SPDX-License-Identifier: Apache-2.0
/// \file  Starts a convolution's job on the tile of its size; fills the tiles' tables.
#pragma once

#include <cmath>

#include <smx/backend/cuda/backend.cuh>
#include <smx/backend/cuda/convolution/cluster.cuh>
#include <smx/backend/cuda/convolution/halves.cuh>
#include <smx/backend/cuda/convolution/kernel.cuh>

namespace smx::cuda_kernels {

/// The sizes of one tile's table.
struct root_table {
  int points = 0, per_thread = 1;

  SMX_HD constexpr int middle() const { return points / (per_thread * per_thread); }
  SMX_HD constexpr int second_radix() const {
    return middle() > 1 ? middle() : middle() == 1 ? per_thread : 1;
  }
  /// In complex numbers.
  SMX_HD constexpr index_t size() const {
    index_t const second = index_t{per_thread} * log2_of(second_radix());
    return middle() > 1 ? second + index_t{per_thread} * middle() * log2_of(per_thread) : second;
  }
};

/// Entry i of several tables, one after the other: see convolution_tile::table.
struct root_tables {
  static constexpr int most = 4;
  root_table of[most];

  constexpr index_t start(int which) const {
    index_t n = 0;
    for (int t = 0; t < which; ++t) n += of[t].size();
    return n;
  }
  SMX_HD double operator()(extents<1> const& i) const {
    index_t n = i[0] / 2;
    int which = 0;
    while (which + 1 < most && n >= of[which].size()) n -= of[which++].size();
    index_t below = of[which].per_thread;
    index_t const second = below * log2_of(of[which].second_radix());
    if (n >= second) n -= second, below *= of[which].middle();
    double const turns = std::ldexp(static_cast<double>(n % below) / static_cast<double>(below),
                                    -static_cast<int>(n / below) - 1);
    double const angle = 6.283185307179586477 * turns;
    return i[0] % 2 == 0 ? std::cos(angle) : std::sin(angle);
  }
};

template <class T, int Points> constexpr root_table table_of_tile() {
  using tile = typename convolution_tile_for<T, Points, true>::type;
  static_assert(tile::per_thread == convolution_tile_for<T, Points, false>::type::per_thread);
  constexpr root_table t{Points, tile::per_thread};
  static_assert(t.size() == tile::table_size);
  return t;
}

/// f(integral_constant<int, points>) for a size that has a tile; whether there is one.
template <class T, class F> bool with_points(index_t points, F const& f) {
  switch (points) {
    case 4:
      f(std::integral_constant<int, 4>{});
      return true;
    case 16:
      f(std::integral_constant<int, 16>{});
      return true;
    case 64:
      f(std::integral_constant<int, 64>{});
      return true;
    case 256:
      f(std::integral_constant<int, 256>{});
      return true;
    case 1024:
      f(std::integral_constant<int, 1024>{});
      return true;
    case 2048:
      f(std::integral_constant<int, 2048>{});
      return true;
    case 4096:
      f(std::integral_constant<int, 4096>{});
      return true;
    default:
      break;
  }
  if constexpr (sizeof(T) == 4) {
    if (points == 8192) return f(std::integral_constant<int, 8192>{}), true;
    if (points == 16384) return f(std::integral_constant<int, 16384>{}), true;
  }
  return false;
}

/// The table of a size; empty where there is no tile or it has one stage.
template <class T> root_table table_of(index_t points) {
  root_table t;
  with_points<T>(points, [&]<int N>(std::integral_constant<int, N>) { t = table_of_tile<T, N>(); });
  return t;
}

/// Blocks for rows of job.lanes signals, batch entries of each.
template <class K, class T> index_t signal_blocks(convolution_job<T> const& job, index_t rows) {
  return rows * ceil_div(job.lanes, K::lanes * K::groups) * job.batch;
}

template <class K, class T>
void launch_tiles(cuda_launcher const& on, convolution_job<T> job, unsigned rows) {
  job.tiles = static_cast<unsigned>(ceil_div(job.lanes, K::lanes * K::groups));
  on.launch({dim3(static_cast<unsigned>(signal_blocks<K>(job, rows))), dim3(K::threads), K::shared_bytes},
            convolve_tiles<K, T>, job);
}

/// Whether blocks of `bytes` of shared memory have room for the tile of several channels. Where they do not,
/// that of one takes its place, at half the memory and for any strides.
template <class T> bool has_room_across(index_t points, std::size_t bytes) {
  bool room = false;
  with_points<T>(points, [&]<int N>(std::integral_constant<int, N>) {
    room = convolution_tile_for<T, N, true>::type::shared_bytes <= bytes;
  });
  return room;
}

/// Runs `job` on transforms of `points` points.
template <class T>
void launch_tiles(cuda_launcher const& on, index_t points, bool across, convolution_job<T> const& job,
                  unsigned rows) {
  with_points<T>(points, [&]<int N>(std::integral_constant<int, N>) {
    if (across)
      launch_tiles<typename convolution_tile_for<T, N, true>::type>(on, job, rows);
    else
      launch_tiles<typename convolution_tile_for<T, N, false>::type>(on, job, rows);
  });
}

/// f(tile) for the tile of half of `points` where convolutions of that size run one factor after the other;
/// whether they do.
template <class T, class F> bool with_halves(index_t points, F const& f) {
  if constexpr (sizeof(T) == 4) {
    if (points == 16384) return f(typename convolution_tile_for<T, 8192, false>::type{}), true;
    if (points == 32768) return f(typename convolution_tile_for<T, 16384, false>::type{}), true;
  }
  return false;
}
template <class T> bool has_halves(index_t points) {
  return with_halves<T>(points, [](auto) {});
}

/// Runs `job` so.
template <class T> void launch_halves(cuda_launcher const& on, index_t points, convolution_job<T> job) {
  job.tiles = job.lanes;
  with_halves<T>(points, [&]<class K>(K) {
    on.launch({dim3(job.tiles * job.batch), dim3(K::threads), convolution_halves<K>::shared_bytes},
              convolve_halves<K, T>, job);
  });
}

/// f(tile) for the tile of a cluster's block; whether there is one.
template <class T, class F> bool with_cluster_tile(index_t points, F const& f) {
  bool found = false;
  with_points<T>(points, [&]<int N>(std::integral_constant<int, N>) {
    if constexpr (sizeof(T) == 4 && N >= 2048) found = true, f(typename cluster_tile_for<T, N>::type{});
  });
  return found;
}
template <class T> bool has_cluster_tile(index_t points) {
  return with_cluster_tile<T>(points, [](auto) {});
}

/// Runs `job`, of one part, by clusters.
template <class T> void launch_clusters(cuda_launcher const& on, index_t points, convolution_job<T> job) {
  job.tiles = static_cast<unsigned>(ceil_div(job.lanes, cluster_channels));
  with_cluster_tile<T>(points, [&]<class K>(K) {
    using C = convolution_cluster<K>;
    static_assert(K::per_thread == convolution_tile_for<T, K::points, false>::type::per_thread);  // one table
    on.launch({dim3(job.tiles * job.batch * C::blocks),
               dim3(K::threads),
               C::shared_bytes,
               {C::blocks, C::balanced}},
              convolve_cluster<K, T>, job);
  });
}

}  // namespace smx::cuda_kernels
