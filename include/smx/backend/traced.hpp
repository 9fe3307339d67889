// SPDX-License-Identifier: Apache-2.0
/// \file  Any backend, with a record of every primitive and kernel that it runs: name, shapes, flops, bytes,
/// time and thread. The results, the workspace and the kernels chosen are those of the wrapped backend.
///
/// flops and bytes are counted as by plan (backend/counting.hpp). Time is the host's steady clock. A record
/// costs well under a microsecond: primitives that take less than about 10 us look slower than they are.
#pragma once

#include <smx/backend/counting.hpp>
#include <smx/backend/trace_writer.hpp>

namespace smx {

/// traced<cpu> be(1) owns its backend, made from the arguments; traced<cpu&> be(other) watches one that
/// exists. As with any backend, one thread at a time uses the object; the tiles that it runs in parallel
/// record each on their own thread.
template <class B> class traced {
  using inner = std::remove_reference_t<B>;

 public:
  using space_type = typename inner::space_type;
  using target = typename detail::target_of<inner>::type;

  template <class... A>
  requires std::constructible_from<B, A...>
  explicit traced(A&&... arguments)
      : be_(std::forward<A>(arguments)...),
        own_(std::make_unique<trace_log>()),
        log_(own_.get()),
        records_(&log_->of_this_thread(0, 0)) {}
  traced(traced const&) = delete;
  traced& operator=(traced const&) = delete;

  static constexpr char const* name() { return inner::name(); }
  inner& backend() { return be_; }
  int threads() const requires requires(inner const& b) { b.threads(); }
  { return be_.threads(); }
  auto how() const requires requires(inner const& b) { b.how(); }
  { return be_.how(); }

  /// What was recorded so far, thread by thread.
  std::vector<trace_event> events() const { return log_->events(); }
  /// Forgets it.
  void clear() { log_->clear(); }
  /// A table by primitive: calls, ms, GFLOP/s, GB/s.
  std::string summary() const { return trace_summary(events()); }
  /// Writes the trace for Perfetto, beside the file and then renamed. Throws backend_error with the path and
  /// the system's text.
  void write_chrome_trace(std::string const& path) const {
    detail::replace_file(path, chrome_trace(events(), std::string("smx on ") + name()));
  }
  /// A named span around what follows, until the returned object ends: `auto span = be.region("layer 3");`.
  [[nodiscard]] auto region(std::string_view what) {
    return trace_log::interval(*log_, *records_, trace_kind::span, what, "", 0, 0);
  }

  template <class S, class A, class W, class R, class C>
  void gemm(op ta, op tb, S alpha, A a, W b, R beta, C c) {
    auto const record = work("gemm", letters(ta, tb), counting::gemm(ta, a, b, beta, c), a, b, c);
    be_.gemm(ta, tb, alpha, a, b, beta, c);
  }
  template <class S, class A, class W, class R, class C>
  void gemm_select(op ta, op tb, S alpha, A a, W b, R beta, C c) {
    auto const record = work("gemm_select", letters(ta, tb), counting::gemm(ta, a, b, beta, c), a, b, c);
    be_.gemm_select(ta, tb, alpha, a, b, beta, c);
  }
  template <class F, class Y, class... X> void map(F const& f, Y y, X... x) {
    auto const record = work("map", "", counting::map(y, x...), y, x...);
    be_.map(f, y, x...);
  }
  template <class F, class Y> void generate(F const& f, Y y) {
    auto const record = work("generate", "", counting::generate(y), y);
    be_.generate(f, y);
  }
  template <class X, class Y> void copy(X x, Y y) {
    auto const record = work("copy", "", counting::copy(x, y), x, y);
    be_.copy(x, y);
  }
  template <class X, class S, class Y> void reduce(reduction r, X x, S beta, Y y) {
    auto const record = work("reduce", r == reduction::sum ? "sum" : "max", counting::reduce(x, y), x, y);
    be_.reduce(r, x, beta, y);
  }
  template <Mask M, class X, class Y> void softmax(M const& m, score_origin const& o, X x, Y y, Y lse) {
    auto const record = work("softmax", "", counting::softmax(x, y, lse), x, y, lse);
    be_.softmax(m, o, x, y, lse);
  }
  template <class X, class Y> void softmax_backward(X y, X dy, Y dx) {
    auto const record = work("softmax_backward", "", counting::softmax_backward(y, dy, dx), y, dy, dx);
    be_.softmax_backward(y, dy, dx);
  }
  template <class S, class X, class Y>
  void norm(norm_kind kind, S eps, X x, X gain, X bias, Y y, Y mean, Y scale) {
    auto const record = work("norm", letters(kind), counting::norm(x, gain, bias, y, mean, scale), x);
    be_.norm(kind, eps, x, gain, bias, y, mean, scale);
  }
  template <class X, class Y>
  void norm_backward(norm_kind kind, X x, X gain, X mean, X scale, X dy, Y dx, Y dgain, Y dbias) {
    auto const cost = counting::norm_backward(x, gain, mean, scale, dy, dx, dgain, dbias);
    auto const record = work("norm_backward", letters(kind), cost, x);
    be_.norm_backward(kind, x, gain, mean, scale, dy, dx, dgain, dbias);
  }
  template <class X, class Y> void cumulative_sum(X x, Y y) {
    auto const record = work("cumulative_sum", "", counting::cumulative_sum(x, y), x, y);
    be_.cumulative_sum(x, y);
  }
  template <class X, class Y> void decayed_scan(X a, X x, Y y) {
    auto const record = work("decayed_scan", "", counting::decayed_scan(a, x, y), a, x, y);
    be_.decayed_scan(a, x, y);
  }
  template <class A, class X> void solve_unit_lower(op t, A a, X x) {
    auto const record =
        work("solve_unit_lower", t == op::none ? "n" : "t", counting::solve_unit_lower(a, x), a, x);
    be_.solve_unit_lower(t, a, x);
  }
  template <class A, class I, class Y> void gather(A table, I rows, Y y) {
    auto const record = work("gather", "", counting::gather(rows, y), table, rows, y);
    be_.gather(table, rows, y);
  }
  template <class I, class X, class Y> void scatter_add(I rows, X dy, Y dtable) {
    auto const record = work("scatter_add", "", counting::scatter_add(rows, dy), rows, dy, dtable);
    be_.scatter_add(rows, dy, dtable);
  }

  template <class T, int R> view<T, R, space_type> scratch(extents<R> const& e) {
    return be_.template scratch<T>(e);
  }
  [[nodiscard]] auto scope() { return be_.scope(); }
  smx::memory<space_type> memory() const { return be_.memory(); }
  std::size_t workspace_bytes() const requires requires(inner const& b) { b.workspace_bytes(); }
  { return be_.workspace_bytes(); }

  template <class F> void tiles(index_t n, std::size_t bytes_per_item, F const& body) {
    std::size_t const before = records_->records.size() + 1;  // the constructor's thread has 0
    trace_log::interval const all(*log_, *records_, trace_kind::span, "tiles", std::to_string(n), 0, 0);
    be_.tiles(n, bytes_per_item, [&](auto& sub, index_t first, index_t count) {
      traced<std::remove_reference_t<decltype(sub)>&> part(
          sub, log_, log_->of_this_thread(before, static_cast<std::size_t>(first)));
      std::string const range = std::to_string(first) + " + " + std::to_string(count);
      trace_log::interval const one(*log_, *part.records_, trace_kind::span, "tile", range, 0, 0);
      body(part, first, count);
    });
  }
  template <class F> void kernel(char const* what, kernel_cost cost, F const& f) {
    auto const record = work(what, "", cost);
    be_.kernel(what, cost, f);
  }
  void synchronize() { be_.synchronize(); }

 private:
  template <class> friend class traced;
  /// One tile, on the thread that runs it.
  traced(B sub, trace_log* log, trace_log::buffer& records) : be_(sub), log_(log), records_(&records) {}

  template <class... V>
  trace_log::interval work(std::string_view what, std::string_view lead, kernel_cost const& cost,
                           V const&... shapes) {
    return trace_log::interval(*log_, *records_, trace_kind::work, what, lead, cost.flops, cost.bytes,
                               shapes...);
  }
  static char const* letters(op ta, op tb) {
    return ta == op::none ? (tb == op::none ? "nn" : "nt") : tb == op::none ? "tn" : "tt";
  }
  static char const* letters(norm_kind kind) { return kind == norm_kind::layer ? "layer" : "rms"; }

  B be_;
  std::unique_ptr<trace_log> own_;
  trace_log* log_;
  trace_log::buffer* records_;
};

}  // namespace smx
