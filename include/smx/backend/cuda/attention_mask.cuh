// SPDX-License-Identifier: Apache-2.0
/// \file  A mask as a block sees it that answers `Rows` query rows, tile of keys after tile of keys: which
/// tiles to skip, which need no test, and which keys of a tile a row sees.
///
/// Interval masks: the ranges of the rows are asked once, and say everything. Other masks are asked tile by
/// tile, by all threads, and their answers lie as bits in shared memory. Keys from `keys`
/// on are seen by nobody; rows from `queries` on are not asked, and agree to everything.
#pragma once

#include <smx/backend/cuda/grid.hpp>
#include <smx/backend/cuda/launch.cuh>
#include <smx/core/mask/concept.hpp>

namespace smx::cuda_kernels {

/// Which of the rows a block has: those of batch entry b and query head h from `first` on.
struct attention_rows {
  index_t b, h;
  int first, queries, keys;
};

/// Bit j: whether row i of head h sees key first + j; rows and keys that do not exist see and are seen by
/// nobody.
template <Mask M>
__device__ std::uint32_t seen_bits(M const& mask, attention_rows const& r, index_t h, int i, int first) {
  int const count = r.keys - first < 32 ? r.keys - first : 32;
  if (i >= r.queries || count <= 0) return 0;
  auto const below = [](index_t n) { return n >= 32 ? ~0u : n <= 0 ? 0u : (1u << n) - 1; };
  if constexpr (IntervalMask<M>) {
    index_range const seen = mask.row(r.b, h, i);
    return below(seen.last - first) & ~below(seen.first - first) & below(count);
  } else {
    tile_class const all = mask.tile(r.b, h, {i, i + 1}, {first, first + count});
    if (all != tile_class::partial) return all == tile_class::empty ? 0 : below(count);
    std::uint32_t seen = 0;
    for (int j = 0; j < count; ++j)
      if (mask.allow(r.b, h, i, first + j)) seen |= 1u << j;
    return seen;
  }
}

template <Mask M, int Rows, int Keys, int Threads> class mask_tiles {
 public:
  static constexpr int words = Keys / 32, shared_bytes = Rows * words * 4;
  static_assert(Rows % 32 == 0 && Keys % 32 == 0);

  /// Every thread of the block makes one. `shared` is the block's, aligned to 8 bytes.
  __device__ mask_tiles(M const& mask, attention_rows const& r, std::byte* shared)
      : mask_(mask), rows_(r), bits_(reinterpret_cast<std::uint32_t*>(shared)) {
    int const last = r.first + Rows < r.queries ? r.first + Rows : r.queries;
    index_range const seen = mask.keys(r.b, r.h, {r.first, last}, r.keys);
    begin_ = static_cast<int>(seen.first / Keys);
    end_ = seen.first < seen.last ? static_cast<int>(ceil_div(seen.last, Keys)) : begin_;
  }
  __device__ int begin() { return look_from(begin_); }
  __device__ int end() const { return end_; }
  /// The next tile that some row sees. Every thread of the block asks; the answers about the tile before
  /// stay.
  __device__ int after(int tile) { return look_from(tile + 1); }
  /// Whether every row sees every key of the tile that begin or after found last.
  __device__ bool whole() const { return whole_; }

  /// What a row sees of the tile that begin or after found last.
  class row_of_tile {
   public:
    __device__ explicit row_of_tile(std::uint32_t const* bits) {
      for (int w = 0; w < words; ++w) bits_[w] = bits[w];
    }
    __device__ bool sees(int key) const { return (bits_[key / 32] >> (key % 32) & 1u) != 0; }

   private:
    std::uint32_t bits_[words];
  };
  __device__ row_of_tile row(int, int row) const { return row_of_tile(bits_ + row * words); }

 private:
  __device__ int look_from(int tile) {
    for (; tile < end_; ++tile) {
      bool some = false, every = true;
      for (int at = static_cast<int>(threadIdx.x); at < Rows * words; at += Threads) {
        std::uint32_t const seen =
            seen_bits(mask_, rows_, rows_.h, rows_.first + at / words, tile * Keys + at % words * 32);
        bits_[at] = seen;
        if (rows_.first + at / words >= rows_.queries) continue;
        some = some || seen != 0;
        every = every && seen == ~0u;
      }
      some = __syncthreads_or(some) != 0;
      whole_ = __syncthreads_and(every) != 0;
      if (some) break;
    }
    return tile;
  }
  M const& mask_;
  attention_rows rows_;
  std::uint32_t* bits_;
  int begin_, end_;
  bool whole_ = false;
};

template <IntervalMask M, int Rows, int Keys, int Threads> class mask_tiles<M, Rows, Keys, Threads> {
 public:
  static constexpr int shared_bytes = Rows * 8;
  static_assert(Rows % 32 == 0);

  __device__ mask_tiles(M const& mask, attention_rows const& r, std::byte* shared)
      : ranges_(reinterpret_cast<int2*>(shared)) {
    for (int row = static_cast<int>(threadIdx.x); row < Rows; row += Threads) {
      int2 range{0, r.keys};  // of rows that do not exist
      if (r.first + row < r.queries) {
        index_range const seen = smx::detail::within_count(mask.row(r.b, r.h, r.first + row), r.keys);
        range = {static_cast<int>(seen.first), static_cast<int>(seen.last)};
      }
      ranges_[row] = range;
    }
    __syncthreads();
    int least = r.keys, most = 0;
    latest_first_ = 0, earliest_last_ = r.keys;
    for (int row = static_cast<int>(threadIdx.x % 32); row < Rows; row += 32) {
      int2 const range = ranges_[row];
      if (r.first + row >= r.queries) continue;
      if (range.x < range.y)
        least = range.x < least ? range.x : least, most = range.y > most ? range.y : most;
      latest_first_ = range.x > latest_first_ ? range.x : latest_first_;
      earliest_last_ = range.y < earliest_last_ ? range.y : earliest_last_;
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      least = lower(least, __shfl_xor_sync(~0u, least, lanes));
      most = -lower(-most, -__shfl_xor_sync(~0u, most, lanes));
      latest_first_ = -lower(-latest_first_, -__shfl_xor_sync(~0u, latest_first_, lanes));
      earliest_last_ = lower(earliest_last_, __shfl_xor_sync(~0u, earliest_last_, lanes));
    }
    begin_ = least / Keys;
    end_ = least < most ? (most + Keys - 1) / Keys : begin_;
  }
  __device__ int begin() { return see(begin_); }
  __device__ int end() const { return end_; }
  __device__ int after(int tile) { return see(tile + 1); }
  __device__ bool whole() const { return whole_; }

  class row_of_tile {
   public:
    __device__ row_of_tile(int2 range, int first) : first_(range.x - first), last_(range.y - first) {}
    __device__ bool sees(int key) const { return first_ <= key && key < last_; }

   private:
    int first_, last_;
  };
  __device__ row_of_tile row(int tile, int row) const { return {ranges_[row], tile * Keys}; }

 private:
  static __device__ int lower(int a, int b) { return a < b ? a : b; }
  __device__ int see(int tile) {
    whole_ = latest_first_ <= tile * Keys && (tile + 1) * Keys <= earliest_last_;
    return tile;
  }

  int2* ranges_;
  int latest_first_, earliest_last_, begin_, end_;
  bool whole_ = false;
};

}  // namespace smx::cuda_kernels
