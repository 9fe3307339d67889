// SPDX-License-Identifier: Apache-2.0
/// \file  The slow, obviously correct backend: plain loops, sums in double, one thread, the standard library
/// only.
#pragma once

#include <algorithm>
#include <utility>

#include <smx/backend/loops.hpp>
#include <smx/backend/row_loops.hpp>
#include <smx/backend/workspace.hpp>

namespace smx {

class reference_backend {
 public:
  using space_type = host_space;

  reference_backend() : ws_(host_memory()) {}
  explicit reference_backend(workspace<host_space> ws) : ws_(std::move(ws)) {}
  static constexpr char const* name() { return "reference"; }

  template <class T>
  void gemm(op ta, op tb, compute_t<T> alpha, view<T const, 4, host_space> a, view<T const, 4, host_space> b,
            compute_t<T> beta, view<T, 4, host_space> c) {
    loops::gemm<false>(ta, tb, alpha, a, b, beta, c);
  }
  template <class T>
  void gemm_select(op ta, op tb, compute_t<T> alpha, view<T const, 4, host_space> a,
                   view<T const, 4, host_space> b, compute_t<T> beta, view<T, 4, host_space> c) {
    loops::gemm<true>(ta, tb, alpha, a, b, beta, c);
  }
  template <class F, class Y, class... X> void map(F const& f, Y y, X... x) {
    loops::map(f, y, as_input(x)...);
  }
  template <class F, class Y> void generate(F const& f, Y y) { loops::generate(f, y); }
  template <class X, class Y> void copy(X x, Y y) { loops::copy(as_input(x), y); }
  template <class T>
  void reduce(reduction r, view<T const, 4, host_space> x, compute_t<T> beta, view<T, 4, host_space> y) {
    loops::reduce(r, x, beta, y);
  }
  template <Mask M, class T>
  void softmax(M const& m, score_origin const& o, view<T const, 4, host_space> x, view<T, 4, host_space> y,
               view<T, 4, host_space> lse) {
    loops::softmax(m, o, x, y, lse);
  }
  template <class T>
  void softmax_backward(view<T const, 4, host_space> y, view<T const, 4, host_space> dy,
                        view<T, 4, host_space> dx) {
    loops::softmax_backward(y, dy, dx);
  }
  template <class... A> void norm(A const&... a) { loops::norm(a...); }
  template <class... A> void norm_backward(A const&... a) { loops::norm_backward(a...); }
  template <class... A> void cumulative_sum(A const&... a) { loops::cumulative_sum(a...); }
  template <class... A> void decayed_scan(A const&... a) { loops::decayed_scan(a...); }
  template <class... A> void solve_unit_lower(A const&... a) { loops::solve_unit_lower(a...); }
  template <class... A> void gather(A const&... a) { loops::gather(a...); }
  template <class... A> void scatter_add(A const&... a) { loops::scatter_add(a...); }

  template <class T, int R> view<T, R, host_space> scratch(extents<R> const& e) { return ws_.take<T>(e); }
  [[nodiscard]] auto scope() { return workspace<host_space>::frame(ws_); }
  smx::memory<host_space> memory() const { return host_memory(); }
  std::size_t workspace_bytes() const { return ws_.peak(); }

  template <class F> void tiles(index_t n, std::size_t bytes_per_item, F const& body) {
    index_t const count = slab_items(n, bytes_per_item);
    for (index_t first = 0; first < n; first += count) {
      auto frame = scope();
      body(*this, first, std::min(count, n - first));
    }
  }
  template <class F> void kernel(char const*, kernel_cost, F const& f) { f(); }
  void synchronize() {}

 private:
  workspace<host_space> ws_;
};

}  // namespace smx
