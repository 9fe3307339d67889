// SPDX-License-Identifier: Apache-2.0
/// \file  A backend that computes nothing: it interprets the same mixer code as shapes and returns the flops,
/// the bytes, the
///        launches and the exact workspace. It cannot drift from the code, because it runs it.
///
/// How flops and bytes are counted: backend/counting.hpp. plan_backend<> plans the recipes;
/// plan_backend<Target> plans what Target runs, its tuned kernels, tiles and threads included.
#pragma once

#include <deque>
#include <type_traits>

#include <smx/backend/counting.hpp>
#include <smx/backend/workspace.hpp>

namespace smx {

struct cost {
  double flops = 0, bytes = 0;
  index_t launches = 0;       ///< primitives and kernels run
  std::size_t workspace = 0;  ///< bytes, of all threads together
};

/// How a target cuts n items into tiles and shares them among its threads.
struct tiling {
  int threads = 1;
  std::size_t cache_bytes = 0;  ///< scratch that one tile may take; 0: everything at once, in slabs
  std::size_t slab_bytes = default_slab_bytes;  ///< of such a slab
  int operands = 0;  ///< what its products round operands to, as the target numbers it
  std::size_t block_bytes = std::size_t{227} << 10;  ///< shared memory that a block of a GPU may take
  bool clusters = true;  ///< whether blocks of a GPU reach each other's (compute capability 9.0 on)

  /// Items of one tile. It depends on the work only, never on the threads, so that results do not either.
  constexpr index_t items(index_t n, std::size_t bytes_per_item) const {
    if (cache_bytes == 0) return slab_items(n, bytes_per_item, slab_bytes);
    index_t const share = (n + 63) / 64;
    if (bytes_per_item == 0) return share < 1 ? 1 : share;
    auto const fit = static_cast<index_t>(cache_bytes / bytes_per_item);
    return fit < 1 ? 1 : fit < share ? fit : share < 1 ? 1 : share;
  }
  /// The first tile of thread `t` when `tiles` are shared out contiguously; a single one is thread 0's.
  constexpr index_t first_tile(index_t tiles, int t) const { return (tiles * t + threads - 1) / threads; }
};

template <class Target = void> class plan_backend {
 public:
  using space_type = meta_space;
  using target = Target;

  explicit plan_backend(tiling how = {})
      : tiling_(how), own_(workspace<meta_space>::measuring()), ws_(&own_) {}
  plan_backend(plan_backend const&) = delete;
  plan_backend& operator=(plan_backend const&) = delete;
  static constexpr char const* name() { return "plan"; }
  tiling const& how() const { return tiling_; }

  template <class A, class B, class C, class S> void gemm(op ta, op tb, S alpha, A a, B b, S beta, C c) {
    gemm_select(ta, tb, alpha, a, b, beta, c);
    if constexpr (requires { Target::plan_gemm(*this, ta, a, b, c); }) Target::plan_gemm(*this, ta, a, b, c);
  }
  template <class A, class B, class C, class S> void gemm_select(op ta, op tb, S, A a, B b, S beta, C c) {
    detail::check_gemm(ta, tb, a, b, c);
    note(counting::gemm(ta, a, b, beta, c));
  }
  template <class F, class Y, class... X> void map(F const&, Y y, X... x) {
    detail::check_map(y, x...);
    note(counting::map(y, x...));
  }
  template <class F, class Y> void generate(F const&, Y y) { note(counting::generate(y)); }
  template <class X, class Y> void copy(X x, Y y) {
    expects_extents("copy: y", y.ext, x.ext);
    note(counting::copy(x, y));
  }
  template <class X, class S, class Y> void reduce(reduction, X x, S, Y y) {
    detail::check_reduce(x, y);
    note(counting::reduce(x, y));
  }
  template <class M, class X, class Y, class Z> void softmax(M const&, score_origin const&, X x, Y y, Z lse) {
    detail::check_softmax(x, y, lse);
    note(counting::softmax(x, y, lse));
  }
  template <class X, class Y> void softmax_backward(X y, X dy, Y dx) {
    detail::check_softmax_backward(y, dy, dx);
    note(counting::softmax_backward(y, dy, dx));
  }
  template <class S, class X, class Y> void norm(norm_kind, S, X x, X gain, X bias, Y y, Y mean, Y scale) {
    detail::check_norm(x, gain, bias, y, mean, scale);
    note(counting::norm(x, gain, bias, y, mean, scale));
  }
  template <class X, class Y>
  void norm_backward(norm_kind, X x, X gain, X mean, X scale, X dy, Y dx, Y dgain, Y dbias) {
    detail::check_norm_backward(x, gain, mean, scale, dy, dx, dgain, dbias);
    note(counting::norm_backward(x, gain, mean, scale, dy, dx, dgain, dbias));
    if constexpr (requires { Target::plan_norm_backward(*this); }) Target::plan_norm_backward(*this);
  }
  template <class X, class Y> void cumulative_sum(X x, Y y) {
    detail::check_cumulative_sum(x, y);
    note(counting::cumulative_sum(x, y));
  }
  template <class X, class Y> void decayed_scan(X a, X x, Y y) {
    detail::check_decayed_scan(a, x, y);
    note(counting::decayed_scan(a, x, y));
  }
  template <class A, class X> void solve_unit_lower(op, A a, X x) {
    detail::check_solve_unit_lower(a, x);
    note(counting::solve_unit_lower(a, x));
  }
  template <class A, class I, class Y> void gather(A table, I rows, Y y) {
    detail::check_gather(table, rows, y);
    note(counting::gather(rows, y));
  }
  template <class I, class X, class Y> void scatter_add(I rows, X dy, Y dtable) {
    detail::check_scatter_add(rows, dy, dtable);
    note(counting::scatter_add(rows, dy));
  }

  template <class T, int R> view<T, R, meta_space> scratch(extents<R> const& e) {
    return ws_->template take<T>(e);
  }
  [[nodiscard]] auto scope() { return workspace<meta_space>::frame(*ws_); }
  smx::memory<meta_space> memory() const { return meta_memory(); }

  template <class F> void tiles(index_t n, std::size_t bytes_per_item, F const& body) {
    index_t const per = tiling_.items(n, bytes_per_item), count = (n + per - 1) / per;
    while (workers_.size() + 1 < static_cast<std::size_t>(tiling_.threads))
      workers_.emplace_back(tiling{1, tiling_.cache_bytes, tiling_.slab_bytes, tiling_.operands,
                                   tiling_.block_bytes, tiling_.clusters});
    for (int t = 0; t < tiling_.threads; ++t) {
      plan_backend serial(t == 0 ? *ws_ : *workers_[static_cast<std::size_t>(t) - 1].ws_, tiling_);
      for (index_t i = tiling_.first_tile(count, t); i < tiling_.first_tile(count, t + 1); ++i) {
        auto frame = serial.scope();
        body(serial, i * per, i * per + per < n ? per : n - i * per);
      }
      total_.flops += serial.total_.flops;
      total_.bytes += serial.total_.bytes;
      total_.launches += serial.total_.launches;
    }
  }
  template <class F> void kernel(char const*, kernel_cost const& c, F const&) { note(c); }
  void synchronize() {}

  cost result() const {
    cost c = total_;
    c.workspace = workspace_bytes();
    return c;
  }
  std::size_t workspace_bytes() const {
    std::size_t bytes = ws_->peak();
    for (plan_backend const& w : workers_) bytes += w.workspace_bytes();
    return bytes;
  }

 private:
  /// One thread of a parallel section: its scratch is that thread's.
  plan_backend(workspace<meta_space>& ws, tiling const& how)
      : tiling_{1, how.cache_bytes, how.slab_bytes, how.operands, how.block_bytes, how.clusters},
        own_(workspace<meta_space>::measuring()),
        ws_(&ws) {}

  void note(kernel_cost const& c) {
    total_.flops += c.flops;
    total_.bytes += c.bytes;
    ++total_.launches;
  }

  tiling tiling_;
  workspace<meta_space> own_;
  workspace<meta_space>* ws_;
  std::deque<plan_backend> workers_;
  cost total_;
};

static_assert(Backend<plan_backend<>, float> && Backend<plan_backend<>, double>);

}  // namespace smx
