// SPDX-License-Identifier: Apache-2.0
/// \file  A backend without its tuned kernels: the primitives of another one, so that recipes run on them.
#pragma once

#include <utility>

#include <smx/backend/plan.hpp>

namespace smx::testing {

/// What a planner is told to plan B's primitives, and none of its tuned kernels.
template <class B> struct primitives_of {
  template <class... A>
  requires requires(A&&... a) { B::plan_gemm(a...); }
  static void plan_gemm(A&&... a) { B::plan_gemm(a...); }
  template <class... A>
  requires requires(A&&... a) { B::plan_norm_backward(a...); }
  static void plan_norm_backward(A&&... a) { B::plan_norm_backward(a...); }
};

/// B's primitives, tiles, threads and workspace, without what B tunes: `smx_tuned` does not find B's
/// overloads for this type. B may be a reference to a backend that somebody else owns. Held against the same
/// oracle as B it says that kernel and recipe agree.
template <class B> class untuned {
 public:
  using space_type = space_t<std::remove_reference_t<B>>;
  using target = primitives_of<std::remove_reference_t<B>>;

  template <class... A> explicit untuned(A&&... a) : be_(std::forward<A>(a)...) {}
  static constexpr char const* name() { return "untuned"; }

  template <class... A> void gemm(A const&... a) { be_.gemm(a...); }
  template <class... A> void gemm_select(A const&... a) { be_.gemm_select(a...); }
  template <class... A> void map(A const&... a) { be_.map(a...); }
  template <class... A> void generate(A const&... a) { be_.generate(a...); }
  template <class... A> void copy(A const&... a) { be_.copy(a...); }
  template <class... A> void reduce(A const&... a) { be_.reduce(a...); }
  template <class... A> void softmax(A const&... a) { be_.softmax(a...); }
  template <class... A> void softmax_backward(A const&... a) { be_.softmax_backward(a...); }
  template <class... A> void norm(A const&... a) { be_.norm(a...); }
  template <class... A> void norm_backward(A const&... a) { be_.norm_backward(a...); }
  template <class... A> void cumulative_sum(A const&... a) { be_.cumulative_sum(a...); }
  template <class... A> void decayed_scan(A const&... a) { be_.decayed_scan(a...); }
  template <class... A> void solve_unit_lower(A const&... a) { be_.solve_unit_lower(a...); }
  template <class... A> void gather(A const&... a) { be_.gather(a...); }
  template <class... A> void scatter_add(A const&... a) { be_.scatter_add(a...); }
  template <class T, int R> auto scratch(extents<R> const& e) { return be_.template scratch<T>(e); }
  [[nodiscard]] auto scope() { return be_.scope(); }
  auto memory() const { return be_.memory(); }
  template <class F> void tiles(index_t n, std::size_t bytes, F const& body) {
    be_.tiles(n, bytes, [&](auto& sub, index_t first, index_t count) {
      untuned<std::remove_reference_t<decltype(sub)>&> part(sub);
      body(part, first, count);
    });
  }
  template <class F> void kernel(char const* what, kernel_cost cost, F const& f) {
    be_.kernel(what, cost, f);
  }
  void synchronize() { be_.synchronize(); }
  auto how() const { return be_.how(); }
  auto workspace_bytes() const { return be_.workspace_bytes(); }

 private:
  B be_;
};

}  // namespace smx::testing
