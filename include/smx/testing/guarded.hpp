// SPDX-License-Identifier: Apache-2.0
/// \file  An array in a chosen memory layout, with marked cells around it and between its rows.
#pragma once

#include <vector>

#include <smx/mixers/concept.hpp>
#include <smx/testing/numbers.hpp>

namespace smx::testing {

/// contiguous: row-major. offset: row-major from an address that is no multiple of any vector. gaps: rows
/// further apart than they are long. length_major: (L,B,H,D) in memory. broadcast: every batch entry is the
/// same memory (inputs only). channel_major: (B,H,D,L) in memory; the last axis is not contiguous.
enum class layout : char { contiguous, offset, gaps, length_major, broadcast, channel_major };

inline char const* layout_name(layout how) {
  constexpr char const* names[] = {"contiguous",   "offset by one element", "gaps between rows",
                                   "length major", "broadcast batch",       "channel major"};
  return names[static_cast<int>(how)];
}

/// Owns memory for a view of extents `ext`; every cell starts as `mark`. Arrays of other ranks than four take
/// `gaps` for length_major, contiguous for broadcast, and for channel_major exchange their last two axes (one
/// axis: every other cell).
template <class T, int R> class guarded {
 public:
  guarded() = default;
  guarded(extents<R> const& ext, layout how, T mark) : mark_(mark) {
    int order[R];  // axes, innermost first
    for (int r = 0; r < R; ++r) order[r] = R - 1 - r;
    bool gaps = how == layout::gaps;
    index_t pitch = 1;
    if constexpr (R == 4) {
      if (how == layout::length_major) order[1] = 1, order[2] = 0, order[3] = 2;
    } else {
      gaps = gaps || how == layout::length_major;
    }
    if (how == layout::channel_major) {
      if constexpr (R == 1)
        pitch = 2;
      else
        order[0] = R - 2, order[1] = R - 1;
    }
    extents<R> str{};
    for (int r = 0; r < R; ++r) {
      str[order[r]] = pitch;
      pitch *= ext[order[r]];
      if (r == 0 && gaps) pitch += 3;
    }
    if (how == layout::broadcast && R == 4) str[0] = 0;
    cells_.assign(static_cast<std::size_t>(2 * zone + pitch + 1), mark);
    view_ = {cells_.data() + zone + (how == layout::offset ? 1 : 0), ext, str};
    inside_.assign(cells_.size(), 0);
    loops::for_each_index(ext, [&](extents<R> const& i) {
      inside_[static_cast<std::size_t>(&loops::at(view_, i) - cells_.data())] = 1;
    });
  }

  view<T, R, host_space> const& write() const { return view_; }
  view<T const, R, host_space> read() const { return view_; }
  /// Everything, the marked cells included.
  std::vector<T> const& cells() const { return cells_; }
  std::vector<T>& cells() { return cells_; }

  /// Says which cell outside the array was written.
  verdict intact(char const* what) const {
    for (std::size_t i = 0; i < cells_.size(); ++i)
      if (inside_[i] == 0 && !same_bits(static_cast<double>(cells_[i]), static_cast<double>(mark_)))
        return text("%s: memory outside it was written, %lld elements from its start", what,
                    static_cast<long long>(&cells_[i] - view_.ptr));
    return holds;
  }

 private:
  static constexpr index_t zone = 96;  // elements on both sides
  T mark_ = {};
  std::vector<T> cells_;
  std::vector<char> inside_;
  view<T, R, host_space> view_;
};

/// Arrays of a mixer with marked cells around them.
struct guards_in {
  template <class T, int R> using array = guarded<T, R>;
};

/// Every argument of one training run in guarded arrays: inputs, weights and dy between NaNs, outputs between
/// numbers that nobody computes. The arguments are numbered: inputs, gradients of inputs, y, dy, weights,
/// gradients of weights.
template <class M> struct guarded_run {
  using T = typename M::scalar;
  static constexpr T mark = T(-7.40625e+11);

  typename M::template inputs<guards_in> x_cells, dx_cells;
  typename M::template weights<guards_in> w_cells, dw_cells;
  guarded<T, 4> y, dy;
  typename M::template inputs<reads_in<host_space>> x;
  typename M::template inputs<writes_in<host_space>> dx;
  typename M::template weights<reads_in<host_space>> w;
  typename M::template weights<writes_in<host_space>> dw;
  int count = 0;  ///< of arguments

  /// Everything in `how`: outputs contiguous where it is `broadcast`; weights with gaps, or contiguous where
  /// it is that.
  template <class Problem> guarded_run(Problem const& p, layout how) {
    build(p, how, how == layout::broadcast ? layout::contiguous : how,
          how == layout::contiguous ? layout::contiguous : layout::gaps, -1, how);
  }
  /// Argument number `one` in `how`, the others contiguous.
  template <class Problem> guarded_run(Problem const& p, int one, layout how) {
    build(p, layout::contiguous, layout::contiguous, layout::contiguous, one, how);
  }

  /// Says what was written outside its array.
  verdict intact(M const& m) const {
    verdict bad = y.intact("y");
    if (!bad) bad = dy.intact("dy");
    auto const check = [&](std::string const& name, auto const& cells) {
      if (!bad) bad = cells.intact(name.c_str());
    };
    M::for_each_input(
        [&](char const* name, auto const& read, auto const& cells, auto const& grad) {
          if (read.size() == 0) return;
          check(name, cells);
          check(std::string("d") + name, grad);
        },
        x, x_cells, dx_cells);
    m.for_each_weight(
        [&](auto const& info, auto const& cells, auto const& grad) {
          check(info.name, cells);
          check(std::string("d") + info.name, grad);
        },
        w_cells, dw_cells);
    return bad;
  }

 private:
  template <class Problem>
  void build(Problem const& p, layout inputs, layout outputs, layout rows, int one, layout special) {
    auto const choose = [&](layout usual) { return count++ == one ? special : usual; };
    M::for_each_input(
        [&](char const*, auto const& from, auto& cells, auto& read) {
          if (from.size() == 0) return;
          cells = {from.ext, choose(inputs), quiet_nan<T>};
          copy_entries(from, cells.write());
          read = cells.read();
        },
        p.x(), x_cells, x);
    M::for_each_input(
        [&](char const*, auto const& from, auto& cells, auto& write) {
          if (from.size() == 0) return;
          cells = {from.ext, choose(outputs), mark};
          fill(cells.write(), quiet_nan<T>);
          write = cells.write();
        },
        p.x(), dx_cells, dx);
    y = {p.output, choose(outputs), mark};
    fill(y.write(), quiet_nan<T>);
    dy = {p.output, choose(outputs), quiet_nan<T>};
    copy_entries(p.dy(), dy.write());
    p.mixer.for_each_weight(
        [&](auto const& info, auto const& from, auto& cells, auto& read) {
          cells = {info.ext, choose(rows), quiet_nan<T>};
          copy_entries(from, cells.write());
          read = cells.read();
        },
        p.w(), w_cells, w);
    p.mixer.for_each_weight(
        [&](auto const& info, auto& cells, auto& write) {
          cells = {info.ext, choose(rows), mark};
          fill(cells.write(), T(0));
          write = cells.write();
        },
        dw_cells, dw);
  }
};

}  // namespace smx::testing
