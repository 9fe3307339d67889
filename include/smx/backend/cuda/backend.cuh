// SPDX-License-Identifier: Apache-2.0
/// \file  The CUDA backend: one stream, cuBLAS for products, kernels for the rest, an arena for scratch.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <concepts>
#include <utility>

#include <smx/backend/cuda/columns.cuh>
#include <smx/backend/cuda/elementwise.cuh>
#include <smx/backend/cuda/error.cuh>
#include <smx/backend/cuda/gemm.cuh>
#include <smx/backend/cuda/memory.cuh>
#include <smx/backend/cuda/norm.cuh>
#include <smx/backend/cuda/options.hpp>
#include <smx/backend/cuda/resources.cuh>
#include <smx/backend/cuda/rows.cuh>
#include <smx/backend/plan.hpp>
#include <smx/backend/workspace.hpp>

namespace smx {

/// What a tuned kernel is started with: `be.kernel(name, cost, [&](cuda_launcher const& on) { ... })`.
struct cuda_launcher {
  cudaStream_t stream;
  char const* name;
  cuda_operands operands = cuda_operands::f32;  ///< of the backend: what f32 arrays are multiplied in
  bool warpgroups = false;                      ///< of the backend: whether wgmma may be used

  /// Throws backend_error, with the kernel's name and the shape, unless the launch went well.
  template <class... P, class... A>
  void launch(cuda_kernels::launch_shape const& shape, void (*kernel)(P...), A const&... a) const {
    cudaError_t const status = cuda_kernels::launch(stream, shape, kernel, a...);
    if (status == cudaSuccess) [[likely]]
      return;
    char sizes[128];
    std::snprintf(sizes, sizeof sizes, "with grid (%u,%u,%u), block (%u,%u,%u), %zu bytes of shared memory",
                  shape.grid.x, shape.grid.y, shape.grid.z, shape.block.x, shape.block.y, shape.block.z,
                  shape.shared);
    cuda_kernels::check(status, name, sizes);
  }
};

/// An execution context on the current CUDA device: a stream, a cuBLAS handle, an arena. One object is used
/// by one thread at a time; two objects are independent. Calls return before the work is done, in the order
/// of the stream; synchronize waits. After a first call (or reserve) forward, backward and step allocate
/// nothing, wait for nothing and use no other stream: they can be captured into a graph. Results repeat bit
/// for bit.
///
/// A translation unit that uses it is compiled by nvcc. Throws backend_error with CUDA's or cuBLAS' text.
class cuda_backend {
 public:
  using space_type = device_space;
  using target = cuda_backend;
  template <class T, int R> using input = view<T const, R, device_space>;
  template <class T, int R> using output = view<T, R, device_space>;

  /// On a stream of its own; grows its arena on first use.
  explicit cuda_backend(cuda_options const& how = {})
      : options_(how), own_(how.blas_workspace), ws_(device_memory()) {}
  /// On a stream of the caller's, which must outlive the backend.
  explicit cuda_backend(cudaStream_t stream, cuda_options const& how = {})
      : options_(how), own_(how.blas_workspace, stream), ws_(device_memory()) {}
  /// In a workspace of the caller's.
  explicit cuda_backend(workspace<device_space> ws, cuda_options const& how = {})
      : options_(how), own_(how.blas_workspace), ws_(std::move(ws)) {}
  cuda_backend(cuda_backend const&) = delete;
  cuda_backend& operator=(cuda_backend const&) = delete;

  static constexpr char const* name() { return "cuda"; }
  cudaStream_t stream() const { return own_.stream(); }
  cuda_options const& options() const { return options_; }
  /// What its planner needs to know.
  tiling how() const {
    return {.slab_bytes = options_.slab_bytes,
            .operands = static_cast<int>(options_.operands),
            .block_bytes = own_.block_bytes(),
            .clusters = options_.clusters && own_.clusters()};
  }
  /// Primitives and kernels since the backend was made: what plan counts as launches.
  index_t launches() const { return launches_; }

  template <class T>
  void gemm(op ta, op tb, compute_t<T> alpha, input<T, 4> a, input<T, 4> b, compute_t<T> beta,
            output<T, 4> c) {
    detail::check_gemm(ta, tb, a, b, c);
    count(a, b, c);
    if (c.size() == 0) return;
    a = detail::broadcast_batch(a, c.ext[0], c.ext[1]);
    b = detail::broadcast_batch(b, c.ext[0], c.ext[1]);
    cuda_kernels::gemm_path const path = cuda_kernels::path_of(ta, a, b, c);
    if (path == cuda_kernels::gemm_path::own)
      return ok(cuda_kernels::own_product<false, T>(stream(), ta, tb, alpha, a, b, beta, c), "gemm", c);
    auto frame = scope();
    void** pointers = nullptr;
    if (path == cuda_kernels::gemm_path::pointers) {
      ++launches_;
      pointers = reinterpret_cast<void**>(scratch<index_t>(pointer_extents(c)).ptr);
    }
    cuda_kernels::gemm<T>(own_.blas(), stream(), options_.operands, path, ta, tb, alpha, a, b, beta, c,
                          pointers);
  }
  /// What a plan counts of gemm beside the product.
  template <class P, class A, class B, class C> static void plan_gemm(P& be, op ta, A a, B b, C const& c) {
    if (c.size() == 0) return;
    a = detail::broadcast_batch(a, c.ext[0], c.ext[1]);
    b = detail::broadcast_batch(b, c.ext[0], c.ext[1]);
    if (cuda_kernels::path_of(ta, a, b, c) != cuda_kernels::gemm_path::pointers) return;
    auto frame = be.scope();
    auto const pointers = be.template scratch<index_t>(pointer_extents(c));
    be.kernel("fill_pointers", {0, counting::touched(pointers)}, [] {});
  }
  template <class T>
  void gemm_select(op ta, op tb, compute_t<T> alpha, input<T, 4> a, input<T, 4> b, compute_t<T> beta,
                   output<T, 4> c) {
    detail::check_gemm(ta, tb, a, b, c);
    count(a, b, c);
    a = detail::broadcast_batch(a, c.ext[0], c.ext[1]);
    b = detail::broadcast_batch(b, c.ext[0], c.ext[1]);
    ok(cuda_kernels::own_product<true, T>(stream(), ta, tb, alpha, a, b, beta, c), "gemm_select", c);
  }

  template <class F, class Y, class... X> void map(F const& f, Y y, X... x) {
    detail::check_map(y, x...);
    count(y, x...);
    ok(cuda_kernels::map(stream(), f, y, as_input(x)...), "map", y);
  }
  template <class F, class Y> void generate(F const& f, Y y) {
    count(y);
    ok(cuda_kernels::generate(stream(), f, y), "generate", y);
  }
  template <class X, class Y> void copy(X x, Y y) {
    expects_extents("copy: y", y.ext, x.ext);
    count(x, y);
    using from = typename X::value_type;
    using to = typename Y::value_type;
    if constexpr (std::same_as<from, to>)  // every bit, a NaN's payload too
      ok(cuda_kernels::map(stream(), identity{}, y, as_input(x)), "copy", y);
    else
      ok(cuda_kernels::map(stream(), cuda_kernels::converted<to>{}, y, as_input(x)), "copy", y);
  }
  template <class T> void reduce(reduction r, input<T, 4> x, compute_t<T> beta, output<T, 4> y) {
    detail::check_reduce(x, y);
    count(x, y);
    ok(cuda_kernels::reduce<T>(stream(), r, x, beta, y), "reduce", y);
  }
  /// Arrays that the mask refers to must be memory that the device reads: pinned_memory().
  template <Mask M, class T>
  void softmax(M const& m, score_origin const& o, input<T, 4> x, output<T, 4> y, output<T, 4> lse) {
    detail::check_softmax(x, y, lse);
    count(x, y, lse);
    ok(cuda_kernels::softmax<M, T>(stream(), m, o, x, y, lse), "softmax", y);
  }
  template <class T> void softmax_backward(input<T, 4> y, input<T, 4> dy, output<T, 4> dx) {
    detail::check_softmax_backward(y, dy, dx);
    count(y, dy, dx);
    ok(cuda_kernels::softmax_backward<T>(stream(), y, dy, dx), "softmax_backward", dx);
  }
  template <class T>
  void norm(norm_kind kind, compute_t<T> eps, input<T, 4> x, input<T, 4> gain, input<T, 4> bias,
            output<T, 4> y, output<T, 4> mean, output<T, 4> scale) {
    detail::check_norm(x, gain, bias, y, mean, scale);
    count(x, gain, bias, y, mean, scale);
    ok(cuda_kernels::norm<T>(stream(), kind, eps, {x, gain, bias, y, mean, scale}), "norm", y);
  }
  template <class T>
  void norm_backward(norm_kind kind, input<T, 4> x, input<T, 4> gain, input<T, 4> mean, input<T, 4> scale,
                     input<T, 4> dy, output<T, 4> dx, output<T, 4> dgain, output<T, 4> dbias) {
    detail::check_norm_backward(x, gain, mean, scale, dy, dx, dgain, dbias);
    count(x, gain, mean, scale, dy, dx, dgain, dbias);
    ++launches_;  // the weights' gradients are a kernel of their own
    ok(cuda_kernels::norm_backward<T>(stream(), kind, {x, gain, mean, scale, dy, dx, dgain, dbias}),
       "norm_backward", dx);
  }
  template <class P> static void plan_norm_backward(P& be) {
    be.kernel("norm_backward_columns", {}, [] {});
  }
  template <class T> void cumulative_sum(input<T, 4> x, output<T, 4> y) {
    detail::check_cumulative_sum(x, y);
    count(x, y);
    ok(cuda_kernels::cumulative_sum<T>(stream(), x, y), "cumulative_sum", y);
  }
  template <class T> void decayed_scan(input<T, 4> a, input<T, 4> x, output<T, 4> y) {
    detail::check_decayed_scan(a, x, y);
    count(a, x, y);
    columns(x, cuda_kernels::decayed_scan_columns<T>, "decayed_scan", a, x, y);
  }
  template <class T> void solve_unit_lower(op t, input<T, 4> a, output<T, 4> x) {
    detail::check_solve_unit_lower(a, x);
    count(a, x);
    columns(x, cuda_kernels::solve_columns<T>, "solve_unit_lower", t == op::transpose, a, x);
  }
  /// Rows outside the table are found by the next synchronize, which throws; their rows of y are not written.
  template <class T> void gather(input<T, 2> table, input<index_t, 1> rows, output<T, 2> y) {
    detail::check_gather(table, rows, y);
    count(table, rows, y);
    if (y.size() == 0) return;
    ok(cuda_kernels::launch(stream(), {dim3(cuda_kernels::blocks_for(y.size(), 256)), dim3(256)},
                            cuda_kernels::gather_rows<T>, table, rows, y, own_.flag()),
       "gather", y);
  }
  template <class T> void scatter_add(input<index_t, 1> rows, input<T, 2> dy, output<T, 2> dtable) {
    detail::check_scatter_add(rows, dy, dtable);
    count(rows, dy, dtable);
    if (rows.size() == 0) return;
    ok(cuda_kernels::launch(stream(), {dim3(cuda_kernels::blocks_for(dtable.ext[0], 1)), dim3(128)},
                            cuda_kernels::scatter_rows<T>, rows, dy, dtable, own_.flag()),
       "scatter_add", dtable);
  }

  template <class T, int R> view<T, R, device_space> scratch(extents<R> const& e) { return ws_.take<T>(e); }
  [[nodiscard]] workspace<device_space>::frame scope() { return workspace<device_space>::frame(ws_); }
  smx::memory<device_space> memory() const { return device_memory(); }
  std::size_t workspace_bytes() const { return ws_.peak(); }
  /// Makes the arena large enough for a plan's workspace, so that even the first call allocates nothing.
  void reserve(std::size_t bytes) {
    if (bytes == 0) return;
    auto frame = scope();
    static_cast<void>(ws_.take<std::byte>(extents<1>{static_cast<index_t>(bytes)}));
  }

  /// Everything at once, in slabs whose scratch is at most options().slab_bytes.
  template <class F> void tiles(index_t n, std::size_t bytes_per_item, F const& body) {
    index_t const per = how().items(n, bytes_per_item);
    for (index_t first = 0; first < n; first += per) {
      auto frame = scope();
      body(*this, first, std::min(per, n - first));
    }
  }
  /// f(cuda_launcher), which starts one kernel.
  template <class F> void kernel(char const* what, kernel_cost, F const& f) {
    ++launches_;
    if constexpr (std::invocable<F const&, cuda_launcher const&>)
      f(cuda_launcher{stream(), what, options_.operands, options_.warpgroups});
    else
      f();
  }
  /// Waits until everything is done. Throws backend_error for what went wrong on the device since the last
  /// time.
  void synchronize() {
    cuda_kernels::check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
    if (!own_.flag_was_raised()) return;
    detail::raise<backend_error>(
        "cuda: gather or scatter_add: rows: expected rows inside the table, got one outside");
  }

 private:
  template <class C> static extents<2> pointer_extents(C const& c) { return {3, c.ext[0] * c.ext[1]}; }

  /// `y`: what was to be written.
  template <class V> static void ok(cudaError_t status, char const* call, V const& y) {
    cuda_kernels::check(status, call, y.ext);
  }

  template <class... V> void count(V const&... v) {
    ++launches_;
    if (options_.check_pointers) (own_.expect_reachable(v.size() == 0 ? nullptr : v.ptr), ...);
  }

  template <class X, class... P, class... A>
  void columns(X const& x, void (*run)(P...), char const* what, A const&... a) {
    index_t const n = x.ext[0] * x.ext[1] * x.ext[3];
    if (x.size() == 0) return;
    ok(cuda_kernels::launch(stream(), {dim3(cuda_kernels::blocks_for(n, 128)), dim3(128)}, run, a...), what,
       x);
  }

  cuda_options options_;
  cuda_kernels::resources own_;
  workspace<device_space> ws_;
  index_t launches_ = 0;
};

/// Backends that run cuda_backend's kernels: itself, its planner, wrappers of it.
template <class B>
concept OnCuda = std::same_as<typename B::target, cuda_backend>;

static_assert(Backend<cuda_backend, float> && Backend<cuda_backend, double>);

}  // namespace smx
