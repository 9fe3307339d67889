// SPDX-License-Identifier: Apache-2.0
/// \file  Scratch memory with stack discipline: a bump pointer and frames. No mixer allocates; this is where
/// its
///        temporaries live.
///
/// Three kinds, one arithmetic, so that what one of them measures is what the others use, byte for byte:
/// * growing: takes memory from a source when needed. Growth never moves live views; when the outermost frame
/// closes, the
///   pieces are replaced by one block of the peak size, so that the second call allocates nothing. Where that
///   block has to grow by little, it gets a quarter more: calls that need a little more each time allocate
///   seldom.
/// * borrowed: a block of the caller's; too small a block is an error that says how much is needed.
/// * measuring: no memory; peak() is then the size to provide.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#include <smx/core/memory.hpp>
#include <smx/core/view.hpp>

namespace smx {

template <class Space> class workspace {
 public:
  explicit workspace(memory<Space> source) : source_(source), kind_(kind::growing) {}
  workspace(void* block, std::size_t bytes) : kind_(kind::borrowed) {
    expects(reinterpret_cast<std::uintptr_t>(block) % memory_alignment == 0,
            "workspace: block: expected an address that is a multiple of 256 bytes");
    pieces_.push_back({static_cast<std::byte*>(block), bytes});
  }
  static workspace measuring() { return workspace(); }

  workspace(workspace&& other) noexcept
      : source_(other.source_),
        kind_(other.kind_),
        pieces_(std::move(other.pieces_)),
        at_(other.at_),
        used_(other.used_),
        peak_(other.peak_),
        settled_(other.settled_) {
    other.pieces_.clear();
  }
  workspace& operator=(workspace&&) = delete;
  ~workspace() { release(); }

  /// Uninitialised memory for a row-major array, until the enclosing frame closes.
  template <class T, int R> view<T, R, Space> take(extents<R> const& ext) {
    std::size_t const asked = checked_bytes<T>(ext, "scratch");
    std::size_t const bytes = asked + (memory_alignment - asked % memory_alignment) % memory_alignment;
    std::byte* const block = kind_ == kind::measuring ? nullptr : reserve(bytes);
    used_ += bytes;
    if (used_ > peak_) peak_ = used_;
    return {reinterpret_cast<T*>(block), ext};
  }

  /// Gives back, when it goes out of scope, everything taken since it was made.
  class [[nodiscard]] frame {
   public:
    explicit frame(workspace& w) : w_(w), at_(w.at_), used_(w.used_) {}
    frame(frame const&) = delete;
    frame& operator=(frame const&) = delete;
    ~frame() {
      w_.at_ = at_;
      w_.used_ = used_;
      if (used_ == 0) w_.consolidate();
    }

   private:
    friend class workspace;
    workspace& w_;
    struct position {
      std::size_t piece, offset;
    } at_;
    std::size_t used_;
  };

  /// The largest number of bytes that were in use at once.
  std::size_t peak() const { return peak_; }
  std::size_t used() const { return used_; }

 private:
  enum class kind : char { growing, borrowed, measuring };
  struct piece {
    std::byte* block;
    std::size_t bytes;
  };

  workspace() : kind_(kind::measuring) {}

  std::byte* reserve(std::size_t bytes) {
    auto at = at_;  // a request that fails changes nothing
    while (at.piece < pieces_.size() && pieces_[at.piece].bytes - at.offset < bytes) at = {at.piece + 1, 0};
    if (at.piece == pieces_.size()) {
      if (kind_ == kind::borrowed)
        detail::fail_value("workspace",
                           "a block large enough for the plan (see smx::plan); bytes in use and asked for",
                           static_cast<long long>(used_ + bytes), location::here());
      std::size_t const size = bytes > peak_ ? bytes : peak_;  // at least doubles, so that pieces stay few
      pieces_.push_back({static_cast<std::byte*>(source_.allocate(size)), size});
    }
    std::byte* const block = pieces_[at.piece].block + at.offset;
    at_ = {at.piece, at.offset + bytes};
    return block;
  }
  void consolidate() {
    if (kind_ != kind::growing || pieces_.size() < 2) return;
    std::size_t const before = pieces_.front().bytes;
    std::size_t const size = settled_ && peak_ - before < before / 8 ? peak_ + peak_ / 4 : peak_;
    release();
    settled_ = true;
#if defined(__cpp_exceptions)
    try {
      pieces_.push_back({static_cast<std::byte*>(source_.allocate(size)), size});
    } catch (...) {
      // A frame closes while an error is thrown, too. The next call grows again, and reports what is missing.
    }
#else
    pieces_.push_back({static_cast<std::byte*>(source_.allocate(size)), size});
#endif
  }
  void release() {
    if (kind_ == kind::growing)
      for (piece const& p : pieces_) source_.release(p.block, p.bytes);
    pieces_.clear();
    at_ = {0, 0};
  }

  memory<Space> source_ = {};
  kind kind_;
  std::vector<piece> pieces_;
  typename frame::position at_ = {0, 0};
  std::size_t used_ = 0, peak_ = 0;
  bool settled_ = false;  ///< whether the first piece is a block of an earlier peak
};

}  // namespace smx
