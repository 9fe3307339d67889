// SPDX-License-Identifier: Apache-2.0
/// \file  Arrays of host memory as arrays of another memory space for the length of a call, so that the laws,
/// which look at what they compute, hold a GPU as well.
///
/// What overlaps in host memory overlaps there; addresses agree modulo 16 bytes; gaps between rows travel,
/// too, so that a cell written outside of an array comes back changed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <smx/mixers/concept.hpp>

namespace smx::testing {

/// Copies between host memory and memory of Space; both are done when they return. A space other than the
/// host's is tested through a specialisation:
/// static void in(void* there, void const* here, std::size_t bytes), static void out(void* here, void const*
/// there, std::size_t bytes), static memory<Space> source().
template <class Space> struct transfer;

/// The arrays of one call.
template <class Space> class mirror {
 public:
  /// Before open: an array that takes part. Its memory comes back if it may be written.
  template <class T, int R> void add(view<T, R, host_space> const& v) {
    if (v.ptr == nullptr) return;
    for (int r = 0; r < R; ++r)
      if (v.ext[r] < 1) return;
    index_t low = 0, high = 0;
    for (int r = 0; r < R; ++r) (v.str[r] < 0 ? low : high) += (v.ext[r] - 1) * v.str[r];
    auto const at = [&](index_t n) { return reinterpret_cast<std::uintptr_t>(v.ptr + n); };
    pieces_.push_back({at(low), at(high + 1), 0, !std::is_const_v<T>});
  }

  /// Takes memory and copies everything there.
  void open() {
    std::sort(pieces_.begin(), pieces_.end(),
              [](piece const& a, piece const& b) { return a.first < b.first; });
    std::vector<piece> merged;
    for (piece const& p : pieces_)
      if (!merged.empty() && p.first < merged.back().last) {
        merged.back().last = std::max(merged.back().last, p.last);
        merged.back().written = merged.back().written || p.written;
      } else {
        merged.push_back(p);
      }
    pieces_ = merged;
    std::size_t size = 0;
    for (piece& p : pieces_) {
      p.offset = size + p.first % 16;
      size = (p.offset + (p.last - p.first) + memory_alignment - 1) / memory_alignment * memory_alignment;
    }
    staging_.resize(size);
    if (size > block_.bytes())
      block_ = tensor<std::byte, 1, Space>(transfer<Space>::source(), {static_cast<index_t>(size)});
    for (piece const& p : pieces_)
      std::memcpy(staging_.data() + p.offset, reinterpret_cast<void const*>(p.first), p.last - p.first);
    if (size > 0) transfer<Space>::in(block_.data(), staging_.data(), size);
  }
  /// The array there. One that has no memory keeps having none; one without entries (an extent of 0, or one
  /// that a law spoiled) has an address that nobody may read.
  template <class T, int R> view<T, R, Space> there(view<T, R, host_space> const& v) const {
    view<T, R, Space> to(nullptr, v.ext, v.str);
    if (v.ptr != nullptr) to.ptr = reinterpret_cast<T*>(const_cast<std::byte*>(block_.data()));
    auto const at = reinterpret_cast<std::uintptr_t>(v.ptr);
    for (piece const& p : pieces_)
      if (v.ptr != nullptr && p.first <= at && at < p.last)
        to.ptr = reinterpret_cast<T*>(const_cast<std::byte*>(block_.data()) + p.offset + (at - p.first));
    return to;
  }
  /// Copies back what may have been written, and forgets the arrays.
  void close() {
    if (!pieces_.empty()) transfer<Space>::out(staging_.data(), block_.data(), staging_.size());
    for (piece const& p : pieces_)
      if (p.written)
        std::memcpy(reinterpret_cast<void*>(p.first), staging_.data() + p.offset, p.last - p.first);
    pieces_.clear();
  }
  void forget() { pieces_.clear(); }

 private:
  struct piece {
    std::uintptr_t first, last;
    std::size_t offset;
    bool written;
  };
  std::vector<piece> pieces_;
  std::vector<std::byte> staging_;  // one copy there and one back are all that a call costs
  tensor<std::byte, 1, Space> block_;
};

/// A copy of a state in memory of another space.
template <class To, class From, class Copy> To moved_state(From const& from, Copy const& copy) {
  To to;
  From::for_each_array(
      [&](char const*, auto const& given, auto& made) {
        if (given.size() > 0) copy(given, made);
      },
      from, to);
  From::for_each_counter([](char const*, index_t const& given, index_t& made) { made = given; }, from, to);
  return to;
}
template <class To, class Space, class From> To state_there(From const& from) {
  return moved_state<To>(from, [](auto const& given, auto& made) {
    using made_type = std::remove_reference_t<decltype(made)>;
    made = made_type(transfer<Space>::source(), given.extents());
    transfer<Space>::in(made.data(), given.data(), given.bytes());
  });
}
template <class To, class Space, class From> To state_here(From const& from) {
  return moved_state<To>(from, [](auto const& given, auto& made) {
    using made_type = std::remove_reference_t<decltype(made)>;
    made = made_type(given.extents());
    transfer<Space>::out(made.data(), given.data(), given.bytes());
  });
}

}  // namespace smx::testing
