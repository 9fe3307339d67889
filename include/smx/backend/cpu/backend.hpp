// SPDX-License-Identifier: Apache-2.0
/// \file  The CPU backend: register-tile products for small blocks, cache-blocked tiles, a pool of threads.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include <smx/backend/cpu/elementwise.hpp>
#include <smx/backend/cpu/gemm.hpp>
#include <smx/backend/cpu/pool.hpp>
#include <smx/backend/cpu/row_primitives.hpp>
#include <smx/backend/plan.hpp>
#include <smx/backend/row_loops.hpp>
#include <smx/backend/workspace.hpp>

namespace smx {
inline namespace SMX_CPU_ABI {

/// An execution context on the CPU: memory, workspace, threads. One object is used by one thread at a time;
/// two objects are independent. Results are the same bits for any number of threads.
template <class Pool = thread_pool> class cpu_backend {
 public:
  using space_type = host_space;
  using serial = cpu_backend<serial_pool>;
  using target = serial;  ///< what planners plan: how() says with how many threads, one plan for every pool
  using planner = plan_backend<target>;

  /// Scratch that one tile may take and still find in L2, in bytes.
  static constexpr std::size_t cache_bytes = std::size_t{512} << 10;

  /// Grows its workspace on first use; `threads` as the pool takes it (0: all).
  explicit cpu_backend(int threads = 0) requires std::constructible_from<Pool, int>
      : pool_(threads), own_(host_memory()), ws_(&own_) {}
  cpu_backend() requires(!std::constructible_from<Pool, int>) : own_(host_memory()), ws_(&own_) {}
  /// With a workspace of the caller's (one thread's; further threads grow theirs).
  explicit cpu_backend(workspace<host_space> ws, Pool pool = Pool())
      : pool_(std::move(pool)), own_(std::move(ws)), ws_(&own_) {}

  cpu_backend(cpu_backend const&) = delete;
  cpu_backend& operator=(cpu_backend const&) = delete;

  static constexpr char const* name() { return "cpu"; }
  int threads() const { return pool_.threads(); }
  /// How this backend cuts work: what its planner needs to know.
  tiling how() const { return {threads(), cache_bytes}; }

  template <Compute T>
  void gemm(op ta, op tb, T alpha, view<T const, 4, host_space> a, view<T const, 4, host_space> b, T beta,
            view<T, 4, host_space> c) {
    product<false>(ta, tb, alpha, a, b, beta, c);
  }
  template <Compute T>
  void gemm_select(op ta, op tb, T alpha, view<T const, 4, host_space> a, view<T const, 4, host_space> b,
                   T beta, view<T, 4, host_space> c) {
    product<true>(ta, tb, alpha, a, b, beta, c);
  }

  template <class F, class Y, class... X> void map(F const& f, Y y, X... x) {
    detail::check_map(y, x...);
    if (y.size() != 0) walk(cpu_kernels::make_map_walk(f, y, x...));
  }
  template <class F, class Y> void generate(F const& f, Y y) {
    by_leading_axis(y.ext, [&](index_t first, index_t count) {
      cpu_kernels::generate_rows(f, first, slice(y, 0, first, count));
    });
  }
  template <class X, class Y> void copy(X x, Y y) {
    expects_extents("copy: y", y.ext, x.ext);
    using from = typename X::value_type;
    using to = typename Y::value_type;
    if constexpr (std::is_same_v<from, to>)
      map(identity{}, y, as_input(x));  // every bit, a NaN's payload too
    else
      map([](from v) { return static_cast<to>(static_cast<compute_t<to>>(static_cast<compute_t<from>>(v))); },
          y, as_input(x));
  }
  template <class T>
  void reduce(reduction r, view<T const, 4, host_space> x, compute_t<T> beta, view<T, 4, host_space> y) {
    detail::check_reduce(x, y);
    index_t const least = cpu_kernels::reduces_columns(x) ? cpu_kernels::column_block<T> : 1;
    by_rows(x.ext, least, [&](auto part) { cpu_kernels::reduce<T>(r, part(x), beta, part(y)); });
  }
  template <Mask M, class T>
  void softmax(M const& m, score_origin const& o, view<T const, 4, host_space> x, view<T, 4, host_space> y,
               view<T, 4, host_space> lse) {
    detail::check_softmax(x, y, lse);
    by_rows(x.ext, 1, [&](auto part) {
      score_origin const from{o.batch + part.batch, o.head + part.head, o.row + part.row, o.key};
      cpu_kernels::softmax<M, T>(m, from, part(x), part(y), part(lse));
    });
  }
  template <class T>
  void softmax_backward(view<T const, 4, host_space> y, view<T const, 4, host_space> dy,
                        view<T, 4, host_space> dx) {
    detail::check_softmax_backward(y, dy, dx);
    by_rows(y.ext, 1, [&](auto part) { cpu_kernels::softmax_backward<T>(part(y), part(dy), part(dx)); });
  }
  template <class T>
  void norm(norm_kind kind, T eps, view<T const, 4, host_space> x, view<T const, 4, host_space> gain,
            view<T const, 4, host_space> bias, view<T, 4, host_space> y, view<T, 4, host_space> mean,
            view<T, 4, host_space> scale) {
    detail::check_norm(x, gain, bias, y, mean, scale);
    by_rows(x.ext, 1, [&](auto part) {
      cpu_kernels::norm<T>(kind, eps, part(x), gain, bias, part(y), part(mean), part(scale));
    });
  }
  template <class T>
  void norm_backward(norm_kind kind, view<T const, 4, host_space> x, view<T const, 4, host_space> gain,
                     view<T const, 4, host_space> mean, view<T const, 4, host_space> scale,
                     view<T const, 4, host_space> dy, view<T, 4, host_space> dx, view<T, 4, host_space> dgain,
                     view<T, 4, host_space> dbias) {
    detail::check_norm_backward(x, gain, mean, scale, dy, dx, dgain, dbias);
    if constexpr (Compute<T>) {
      if (cpu_kernels::contiguous_rows(x, gain, dy, dx)) {
        constexpr index_t block = cpu_kernels::norm_gradient_block;
        tasks((x.ext[3] + block - 1) / block, [&](index_t i) {  // before dx, which may be dy, is written
          index_t const first = i * block, n = std::min(block, x.ext[3] - first);
          cpu_kernels::norm_backward_weights<T>(first, n, x, mean, scale, dy, dgain, dbias);
        });
        by_rows(x.ext, 1, [&](auto part) {
          cpu_kernels::norm_backward_input<T>(kind, part(x), gain, part(mean), part(scale), part(dy),
                                              part(dx));
        });
        return;
      }
    }
    loops::norm_backward<T>(kind, x, gain, mean, scale, dy, dx, dgain, dbias);
  }
  template <class T> void cumulative_sum(view<T const, 4, host_space> x, view<T, 4, host_space> y) {
    detail::check_cumulative_sum(x, y);
    by_rows(x.ext, 1, [&](auto part) { cpu_kernels::cumulative_sum<T>(part(x), part(y)); });
  }
  template <class T>
  void decayed_scan(view<T const, 4, host_space> a, view<T const, 4, host_space> x,
                    view<T, 4, host_space> y) {
    detail::check_decayed_scan(a, x, y);
    bool const shared = a.ext[3] == 1;
    by_columns(x.ext, [&](auto part) {
      cpu_kernels::decayed_scan<T>(shared ? part.whole(a) : part(a), shared, part(x), part(y));
    });
  }
  template <class T> void solve_unit_lower(op t, view<T const, 4, host_space> a, view<T, 4, host_space> x) {
    detail::check_solve_unit_lower(a, x);
    by_columns(x.ext, [&](auto part) { cpu_kernels::solve_unit_lower<T>(t, part.whole(a), part(x)); });
  }
  template <class T>
  void gather(view<T const, 2, host_space> table, view<index_t const, 1, host_space> rows,
              view<T, 2, host_space> y) {
    detail::check_gather(table, rows, y);
    loops::check_rows("gather: rows", rows, table.ext[0]);
    by_leading_axis(y.ext, [&](index_t first, index_t count) {
      for (index_t i = first; i < first + count; ++i)
        cpu_kernels::map_row(identity{}, y.ext[1], &y(i, 0), y.str[1],
                             std::pair<T const*, index_t>(&table(rows(i), 0), table.str[1]));
    });
  }
  template <class T>
  void scatter_add(view<index_t const, 1, host_space> rows, view<T const, 2, host_space> dy,
                   view<T, 2, host_space> dtable) {
    detail::check_scatter_add(rows, dy, dtable);
    loops::check_rows("scatter_add: rows", rows, dtable.ext[0]);
    constexpr index_t block =
        cpu_kernels::column_block<T>;  // of columns: the rows of each are added in order
    tasks((dy.ext[1] + block - 1) / block, [&](index_t c) {
      index_t const first = c * block, n = std::min(block, dy.ext[1] - first);
      for (index_t i = 0; i < dy.ext[0]; ++i)
        cpu_kernels::add_strided(n, &dy(i, first), dy.str[1], &dtable(rows(i), first), dtable.str[1]);
    });
  }

  template <class T, int R> view<T, R, host_space> scratch(extents<R> const& e) {
    return ws_->template take<T>(e);
  }
  [[nodiscard]] auto scope() { return workspace<host_space>::frame(*ws_); }
  smx::memory<host_space> memory() const { return host_memory(); }

  template <class F> void tiles(index_t n, std::size_t bytes_per_item, F const& body) {
    tiling const cut = how();
    index_t const per = cut.items(n, bytes_per_item), count = (n + per - 1) / per;
    provide_workspaces();
    auto const work = [&](int t) {
      serial sub(t == 0 ? ws_ : workers_[static_cast<std::size_t>(t) - 1].get());
      for (index_t i = cut.first_tile(count, t); i < cut.first_tile(count, t + 1); ++i) {
        auto frame = sub.scope();
        body(sub, i * per, std::min(per, n - i * per));
      }
    };
    if (count == 1)
      work(0);
    else
      pool_.run(work);
  }
  template <class F> void kernel(char const*, kernel_cost, F const& f) { f(); }
  void synchronize() {}

  /// The most bytes of workspace that were in use at once, of all threads together: what plan() says.
  std::size_t workspace_bytes() const {
    std::size_t bytes = ws_->peak();
    for (auto const& w : workers_) bytes += w->peak();
    return bytes;
  }

 private:
  template <class> friend class cpu_backend;
  /// One thread of a parallel section, on that thread's workspace.
  explicit cpu_backend(workspace<host_space>* ws) : own_(workspace<host_space>::measuring()), ws_(ws) {}

  static constexpr index_t entries_per_task = 16384;

  /// A workspace for each thread but the caller's.
  [[gnu::noinline]] void provide_workspaces() {
    for (int n = static_cast<int>(workers_.size()) + 1; n < threads(); ++n)
      workers_.push_back(std::make_unique<workspace<host_space>>(host_memory()));
  }

  /// f(i) for i in [0, n), shared out over the threads.
  template <class F> void tasks(index_t n, F const& f) const {
    if (n < 2 || threads() == 1) {
      for (index_t i = 0; i < n; ++i) f(i);
      return;
    }
    tiling const cut = how();
    pool_.run([&](int t) {
      for (index_t i = cut.first_tile(n, t); i < cut.first_tile(n, t + 1); ++i) f(i);
    });
  }

  /// f(first, count) over ranges of the leading axis.
  template <int R, class F> void by_leading_axis(extents<R> const& e, F const& f) const {
    index_t row = 1;
    for (int r = 1; r < R; ++r) row *= e[r];
    index_t const per = std::max(index_t{1}, entries_per_task / std::max(index_t{1}, row));
    tasks((e[0] + per - 1) / per, [&](index_t i) { f(i * per, std::min(per, e[0] - i * per)); });
  }

  /// A range of rows (all but the last axis) of one (batch, head), as a function from views to their part.
  struct row_range {
    index_t batch, head, row, count;
    template <class V> V operator()(V const& v) const {
      return slice(slice(slice(v, 0, batch, 1), 1, head, 1), 2, row, count);
    }
  };
  /// f(part) over ranges of `least` rows or more.
  template <class F> void by_rows(extents<4> const& e, index_t least, F const& f) const {
    index_t const per = std::max(least, entries_per_task / std::max(index_t{1}, e[3])),
                  cuts = (e[2] + per - 1) / per;
    tasks(e[0] * e[1] * cuts, [&](index_t i) {
      index_t const row = i % cuts * per;
      f(row_range{i / cuts / e[1], i / cuts % e[1], row, std::min(per, e[2] - row)});
    });
  }

  /// A range of columns (of the last axis) of one (batch, head), as a function from views to their part.
  struct column_range {
    index_t batch, head, column, count;
    template <class V> V whole(V const& v) const { return slice(slice(v, 0, batch, 1), 1, head, 1); }
    template <class V> V operator()(V const& v) const { return slice(whole(v), 3, column, count); }
  };
  /// f(part) over ranges of columns, 256 bytes wide or, where there is little to do, wider.
  template <class F> void by_columns(extents<4> const& e, F const& f) const {
    constexpr index_t block = cpu_kernels::column_block<float>;
    index_t const fit = entries_per_task / (block * std::max(index_t{1}, e[2])),
                  per = block * std::max(index_t{1}, fit), cuts = (e[3] + per - 1) / per;
    tasks(e[0] * e[1] * cuts, [&](index_t i) {
      index_t const column = i % cuts * per;
      f(column_range{i / cuts / e[1], i / cuts % e[1], column, std::min(per, e[3] - column)});
    });
  }

  [[gnu::noinline]] void walk(cpu_kernels::map_walk const& job) const {
    index_t const row = job.row_size(), rows = job.rows();
    if (job.across >= 0) {
      index_t const blocks = job.blocks(),
                    per = std::max(index_t{1}, entries_per_task / (cpu_kernels::map_block_rows * row));
      tasks((blocks + per - 1) / per,
            [&](index_t i) { job.run_blocks(i * per, std::min(blocks, (i + 1) * per)); });
    } else if (rows == 1 && row > 2 * entries_per_task) {  // one long row: cut it
      tasks((row + entries_per_task - 1) / entries_per_task, [&](index_t i) {
        index_t const first = i * entries_per_task;
        job.run_part(first, std::min(entries_per_task, row - first));
      });
    } else {
      index_t const per = std::max(index_t{1}, entries_per_task / row);
      tasks((rows + per - 1) / per, [&](index_t i) { job.run_rows(i * per, std::min(rows, (i + 1) * per)); });
    }
  }

  /// Blocks of C, each computed by one thread; how C is cut depends on the shapes only.
  template <bool Select, class T>
  void product(op ta, op tb, T alpha, view<T const, 4, host_space> a, view<T const, 4, host_space> b, T beta,
               view<T, 4, host_space> c) {
    detail::check_gemm(ta, tb, a, b, c);
    a = detail::broadcast_batch(a, c.ext[0], c.ext[1]);
    b = detail::broadcast_batch(b, c.ext[0], c.ext[1]);
    cpu_kernels::gemm_cut const cut(c.ext[2], c.ext[3]);
    tasks(c.ext[0] * c.ext[1] * cut.count(), [&](index_t i) {
      index_t const block = i % cut.count(), q = i / cut.count() % c.ext[1], p = i / cut.count() / c.ext[1];
      index_range const rows = cut.rows(block), cols = cut.cols(block);
      index_t const k = ta == op::none ? a.ext[3] : a.ext[2];
      T const* pa = a.ptr + p * a.str[0] + q * a.str[1] + rows.first * (ta == op::none ? a.str[2] : 1);
      T const* pb = b.ptr + p * b.str[0] + q * b.str[1] + cols.first * (tb == op::none ? 1 : b.str[2]);
      T* pc = c.ptr + p * c.str[0] + q * c.str[1] + rows.first * c.str[2] + cols.first;
      cpu_kernels::gemm<Select>(ta, tb, rows.last - rows.first, cols.last - cols.first, k, alpha, pa,
                                a.str[2], pb, b.str[2], beta, pc, c.str[2]);
    });
  }

  Pool pool_;
  workspace<host_space> own_;
  workspace<host_space>* ws_;
  std::vector<std::unique_ptr<workspace<host_space>>> workers_;  // empty, it allocates nothing
};

template <class> inline constexpr bool is_cpu_backend = false;
template <class P> inline constexpr bool is_cpu_backend<cpu_backend<P>> = true;

/// Backends that run what the CPU backend runs: itself, its planner, a tracer around it.
template <class B>
concept OnCpu = requires {
  typename B::target;
}
&&is_cpu_backend<typename B::target>;

/// All cores through std::thread; `cpu be(1)` takes one thread.
using cpu = cpu_backend<thread_pool>;

}  // namespace SMX_CPU_ABI
}  // namespace smx
