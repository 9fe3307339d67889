// SPDX-License-Identifier: Apache-2.0
/// \file  What a backend is: an execution context with a memory space and a small set of primitives on
/// strided views.
///
/// A mixer is a program over these primitives, and a backend interprets it: on the CPU, on a GPU, in double
/// precision (reference), as shapes only (plan) or timed (traced). Each requirement is its own concept, so
/// that a missing primitive is one line of the diagnostic. Unless said otherwise strides are arbitrary, and
/// an output may be the same view as an input, but must not overlap one in any other way.
#pragma once

#include <concepts>

#include <smx/core/check.hpp>
#include <smx/core/dtype.hpp>
#include <smx/core/functors.hpp>
#include <smx/core/mask.hpp>
#include <smx/core/memory.hpp>
#include <smx/core/op.hpp>
#include <smx/core/view.hpp>

namespace smx {

enum class reduction : char { sum, max };
enum class norm_kind : char { layer, rms };

template <class B> using space_t = typename B::space_type;
template <class B, class T, int R> using in = view<T const, R, space_t<B>>;  ///< an argument that is read
template <class B, class T, int R> using out = view<T, R, space_t<B>>;       ///< an argument that is written

/// Where a block of scores lies in the whole (B, H, L, M) score array: masks are asked about global indices.
struct score_origin {
  index_t batch = 0, head = 0, row = 0, key = 0;
};

/// What an opaque kernel costs, as its author counts it.
struct kernel_cost {
  double flops = 0, bytes = 0;
};

/// gemm(ta, tb, alpha, a, b, beta, c):  C := alpha op(A) op(B) + beta C on the last two axes, for each index
/// of the two leading ones (extent 1 or stride 0 broadcasts A and B). The last axis of each view is
/// contiguous. Sums are formed in compute_t<T>. beta = 0 does not read C; alpha = 0 may leave A and B unread,
/// as BLAS does. gemm_select: terms whose entry of op(A) is exactly zero are left out, so that a masked
/// probability of 0 keeps a NaN of B away.
template <class B, class T>
concept has_gemm = requires(B& be, in<B, T, 4> a, out<B, T, 4> c, compute_t<T> s) {
  { be.gemm(op::none, op::transpose, s, a, a, s, c) } -> std::same_as<void>;
  { be.gemm_select(op::none, op::transpose, s, a, a, s, c) } -> std::same_as<void>;
};

/// map(f, y, x...):  y := f(x...) entry by entry; f is a function object callable where the memory is.
template <class B, class T>
concept has_map = requires(B& be, out<B, T, 4> y, in<B, T, 4> x) {
  { be.map(add{}, y, x, x) } -> std::same_as<void>;
};

/// generate(f, y):  y(i...) := f(i), i an extents<R>: tables, constants, random numbers.
template <class B, class T>
concept has_generate = requires(B& be, out<B, T, 2> y, T (*f)(extents<2> const&)) {
  { be.generate(f, y) } -> std::same_as<void>;
};

/// copy(x, y):  y := x, converting between element types (to bf16 and f16 through float). One type keeps
/// every bit.
template <class B, class T>
concept has_copy = requires(B& be, in<B, T, 4> x, out<B, T, 4> y) {
  { be.copy(x, y) } -> std::same_as<void>;
};

/// reduce(r, x, beta, y):  y(i,j,k,0) := beta y(i,j,k,0) + sum_l x(i,j,k,l), or the maximum instead of the
/// sum (beta is then not used). The order of the sum is fixed.
template <class B, class T>
concept has_reduce = requires(B& be, in<B, T, 4> x, out<B, T, 4> y, compute_t<T> s) {
  { be.reduce(reduction::sum, x, s, y) } -> std::same_as<void>;
};

/// softmax(mask, origin, x, y, lse):  y = exp(x - lse) where the mask allows, 0 elsewhere; lse = log of the
/// row's sum of exp(x) over the allowed keys, with extent 1 along the last axis. A row without an allowed key
/// gives y = 0 and lse = -inf. Masked scores are never read. softmax_backward(y, dy, dx): dx = y (dy - sum y
/// dy), 0 where y is 0.
template <class B, class T>
concept has_softmax = requires(B& be, in<B, T, 4> x, out<B, T, 4> y, score_origin at) {
  { be.softmax(causal_mask{}, at, x, y, y) } -> std::same_as<void>;
  { be.softmax_backward(x, x, y) } -> std::same_as<void>;
};

/// norm(kind, eps, x, gain, bias, y, mean, scale): along the last axis, y = (x - mean) scale gain + bias with
/// scale = 1 / sqrt(variance + eps); kind rms: mean = 0 and the mean square instead of the variance. mean and
/// scale have extent 1 along the last axis; gain and bias are (1,1,1,D); an empty bias adds nothing.
/// norm_backward(kind, x, gain, mean, scale, dy, dx, dgain, dbias): dx =, dgain and dbias +=.
template <class B, class T>
concept has_norm = requires(B& be, in<B, T, 4> x, out<B, T, 4> y, compute_t<T> eps) {
  { be.norm(norm_kind::rms, eps, x, x, x, y, y, y) } -> std::same_as<void>;
  { be.norm_backward(norm_kind::rms, x, x, x, x, x, y, y, y) } -> std::same_as<void>;
};

/// cumulative_sum(x, y): along the last axis. decayed_scan(a, x, y): along axis 2, y_t = exp(a_t) y_{t-1} +
/// x_t, y_{-1} = 0; a has extent 1 or that of x along the last axis.
template <class B, class T>
concept has_scan = requires(B& be, in<B, T, 4> x, out<B, T, 4> y) {
  { be.cumulative_sum(x, y) } -> std::same_as<void>;
  { be.decayed_scan(x, x, y) } -> std::same_as<void>;
};

/// solve_unit_lower(t, a, x): X := op(A)^-1 X, A unit lower triangular (its diagonal and upper part are not
/// read).
template <class B, class T>
concept has_solve = requires(B& be, in<B, T, 4> a, out<B, T, 4> x) {
  { be.solve_unit_lower(op::none, a, x) } -> std::same_as<void>;
};

/// gather(table, rows, y): y(i,:) = table(rows(i),:). scatter_add(rows, dy, dtable): dtable(rows(i),:) +=
/// dy(i,:), in ascending order of i. A row outside the table throws on the host.
template <class B, class T>
concept has_gather = requires(B& be, in<B, T, 2> x, in<B, index_t, 1> rows, out<B, T, 2> y) {
  { be.gather(x, rows, y) } -> std::same_as<void>;
  { be.scatter_add(rows, x, y) } -> std::same_as<void>;
};

/// scratch<T>(extents): uninitialised workspace, given back when the enclosing be.scope() closes.
template <class B, class T>
concept has_scratch = requires(B& be, extents<3> e) {
  { be.template scratch<T>(e) } -> std::same_as<out<B, T, 3>>;
  be.scope();
  { be.memory() } -> std::same_as<memory<space_t<B>>>;
};

namespace detail {
struct any_tile_body {  // a lambda inside of a requires-expression is more than nvcc's front end takes
  template <class Sub> void operator()(Sub&, index_t, index_t) const {}
};
}  // namespace detail

/// tiles(n, bytes_per_item, body): body(sub, first, count) on disjoint ranges that cover n independent items.
/// `sub` is a backend too; what a range takes from its scratch is given back after it. The CPU chooses ranges
/// whose scratch fits the cache and runs them in parallel; others take everything at once, in slabs that
/// bound the memory. kernel(name, cost, f): runs f, a tuned kernel that is no program over primitives;
/// planners count its cost instead.
template <class B>
concept has_tiles = requires(B& be, index_t n, std::size_t bytes, void (*f)()) {
  be.tiles(n, bytes, detail::any_tile_body{});
  { be.kernel("name", kernel_cost{}, f) } -> std::same_as<void>;
  { be.synchronize() } -> std::same_as<void>;
};

template <class B, class T = float>
concept Backend = requires {
  typename B::space_type;
}
&&has_gemm<B, T>&& has_map<B, T>&& has_generate<B, T>&& has_copy<B, T>&& has_reduce<B, T>&&
    has_softmax<B, T>&& has_norm<B, T>&& has_scan<B, T>&& has_solve<B, T>&& has_gather<B, T>&&
        has_scratch<B, T>&& has_tiles<B>;

namespace detail {
/// What the hooks of tuned kernels ask a backend for: B::target, or void.
template <class B> struct target_of { using type = void; };
template <class B>
requires requires { typename B::target; }
struct target_of<B> {
  using type = typename B::target;
};
}  // namespace detail

}  // namespace smx
