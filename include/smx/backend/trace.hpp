// SPDX-License-Identifier: Apache-2.0
/// \file  What happened when, on which thread: the record that a traced backend keeps.
///
/// Each thread appends to a buffer of its own, without a lock; buffers are found by the thread's id in a list
/// that only grows. A record costs about 0.3 us and 56 bytes plus its text.
#pragma once

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <smx/core/view.hpp>

namespace smx {

/// work: a primitive or a kernel. span: what encloses them (a call of tiles, one tile, a named region).
enum class trace_kind : char { work, span };

/// One interval on one thread.
struct trace_event {
  std::string name;    ///< "gemm"
  std::string shapes;  ///< the extents of the arguments: "nt (1,12,64,64) (1,12,128,64) (1,12,64,128)"
  trace_kind kind;
  int thread;  ///< 0: the caller; others in the order in which they first took part
  int depth;   ///< how many spans of this thread enclose it
  double flops, bytes;
  std::int64_t start, duration;  ///< ns, from the making of the log
};

/// Records of all threads. Reading (events, clear) must not overlap with recording.
class trace_log {
  struct record {
    std::int64_t start, duration;
    double flops, bytes;
    std::size_t text;
    std::uint32_t name_size, shapes_size;
    int depth;
    trace_kind kind;
  };

 public:
  /// The records of one thread, in the order of their starts.
  struct buffer {
    std::thread::id owner;
    std::size_t after, item;  // what the thread first worked on: the order of threads in the output
    std::vector<record> records = {};
    std::string text = {};
    int depth = 0;
    buffer* next = nullptr;
  };

  trace_log() : epoch_(clock::now()) {}
  trace_log(trace_log const&) = delete;
  trace_log& operator=(trace_log const&) = delete;
  ~trace_log() {
    for (buffer* b = newest_.load(); b != nullptr;) delete std::exchange(b, b->next);
  }

  /// The buffer of the calling thread. `after` and `item` (how many records its caller had made, the index of
  /// its first item) number the threads in an order that does not depend on which of them came first.
  buffer& of_this_thread(std::size_t after, std::size_t item) {
    auto const self = std::this_thread::get_id();
    for (buffer* b = newest_.load(std::memory_order_acquire); b != nullptr; b = b->next)
      if (b->owner == self) return *b;
    auto* const made = new buffer{self, after, item};
    made->next = newest_.load(std::memory_order_relaxed);
    while (!newest_.compare_exchange_weak(made->next, made, std::memory_order_release)) {}
    return *made;
  }

  /// Records from its making to its end. Spans nest.
  class [[nodiscard]] interval {
   public:
    template <class... V>
    interval(trace_log const& log, buffer& to, trace_kind kind, std::string_view name, std::string_view lead,
             double flops, double bytes, V const&... shapes)
        : log_(log), to_(to), at_(to.records.size()), span_(kind == trace_kind::span) {
      std::size_t const text = to.text.size();
      to.text += name;
      std::size_t const between = to.text.size();
      to.text += lead;
      (append(to.text, between, shapes), ...);
      to.records.push_back({0, 0, flops, bytes, text, static_cast<std::uint32_t>(between - text),
                            static_cast<std::uint32_t>(to.text.size() - between), to.depth, kind});
      to.depth += span_ ? 1 : 0;
      to.records.back().start = log.now();  // last: the bookkeeping is not part of the interval
    }
    interval(interval const&) = delete;
    interval& operator=(interval const&) = delete;
    ~interval() {
      record& r = to_.records[at_];
      r.duration = log_.now() - r.start;
      to_.depth -= span_ ? 1 : 0;
    }

   private:
    template <class T, int R, class S>
    static void append(std::string& text, std::size_t from, view<T, R, S> const& v) {
      char digits[24];
      if (text.size() > from) text += ' ';
      for (int r = 0; r < R; ++r) {
        text += r == 0 ? '(' : ',';
        text.append(digits, std::to_chars(digits, digits + sizeof digits, v.ext[r]).ptr);
      }
      text += ')';
    }
    trace_log const& log_;
    buffer& to_;
    std::size_t at_;
    bool span_;
  };

  /// Everything, thread by thread, each in the order of its starts.
  std::vector<trace_event> events() const {
    std::vector<trace_event> all;
    int thread = 0;
    for (buffer const* const b : in_order()) {
      for (record const& r : b->records)
        all.push_back({b->text.substr(r.text, r.name_size),
                       b->text.substr(r.text + r.name_size, r.shapes_size), r.kind, thread, r.depth, r.flops,
                       r.bytes, r.start, r.duration});
      ++thread;
    }
    return all;
  }

  /// Forgets what was recorded; no interval may be open.
  void clear() {
    for (buffer* b = newest_.load(); b != nullptr; b = b->next) {
      b->records.clear();
      b->text.clear();
    }
  }

 private:
  using clock = std::chrono::steady_clock;

  std::int64_t now() const {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now() - epoch_).count();
  }
  std::vector<buffer const*> in_order() const {
    std::vector<buffer const*> order;
    for (buffer const* b = newest_.load(); b != nullptr; b = b->next) order.push_back(b);
    std::stable_sort(order.begin(), order.end(), [](buffer const* a, buffer const* b) {
      return std::tie(a->after, a->item) < std::tie(b->after, b->item);
    });
    return order;
  }

  clock::time_point epoch_;
  std::atomic<buffer*> newest_{nullptr};
};

}  // namespace smx
