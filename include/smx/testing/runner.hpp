// SPDX-License-Identifier: Apache-2.0
/// \file  A mixer on some backend of host memory, behind function pointers: laws compile once for a mixer,
/// not once for each backend as well.
#pragma once

#include <memory>

#include <smx/mixers/planning.hpp>
#include <smx/mixers/state.hpp>
#include <smx/testing/cases.hpp>

namespace smx::testing {

namespace detail {
template <class M> struct host_state { using type = char; };
template <class M>
requires(M::about.streaming) struct host_state<M> {
  using type = typename M::template state<owns_in<host_space>>;
};

/// The plan of what `be` runs, or of the recipe where the backend has no planner of its own.
template <class B, class M> plan_report planned(B const& be, M const& m, std::vector<extents<4>> const& ext) {
  plan_report report;
  auto const with = [&]<std::size_t... I>(std::index_sequence<I...>) {
    if (sizeof...(I) != ext.size()) return;
    if constexpr (requires { be.how(); })
      report = plan(be, m, ext[I]...);
    else
      report = plan(m, ext[I]...);
  };
  [&]<std::size_t... N>(std::index_sequence<N...>) { (with(std::make_index_sequence<N + 1>{}), ...); }
  (std::make_index_sequence<static_cast<std::size_t>(M::input_count)>{});
  return report;
}
}  // namespace detail

/// Owns a backend and runs mixers of type M on it. Every call is a frame of its own.
template <class M> class runner {
 public:
  using T = typename M::scalar;
  using weights = host_weights<M>;
  using inputs = host_inputs<M>;
  using weights_to = typename M::template weights<writes_in<host_space>>;
  using inputs_to = typename M::template inputs<writes_in<host_space>>;
  using state = typename detail::host_state<M>::type;
  using read = view<T const, 4, host_space>;
  using write = view<T, 4, host_space>;

  /// On the backend that `make(a...)` returns.
  template <class Make, class... A> static runner on(Make const& make, A... a) {
    using B = decltype(make(std::move(a)...));
    static_assert(Mixer<M, B> && std::same_as<space_t<B>, host_space>);
    return {backend(new B(make(std::move(a)...)), [](void* be) { delete static_cast<B*>(be); }), &table<B>};
  }

  void forward(M const& m, weights const& w, inputs const& x, write y) const {
    calls_->forward(be_.get(), m, w, x, y);
  }
  /// Forward with a tape, then backward with that tape.
  void train(M const& m, weights const& w, inputs const& x, read dy, write y, weights_to const& dw,
             inputs_to const& dx) const {
    calls_->backward(be_.get(), m, {w, x, y}, {w, x, dy, dw, dx});
  }
  /// backward with the tape of other arguments, and without one.
  void backward_on_tape_of(M const& m, weights const& taped_w, inputs const& taped_x, write taped_y,
                           weights const& w, inputs const& x, read dy, weights_to const& dw,
                           inputs_to const& dx) const {
    calls_->backward(be_.get(), m, {taped_w, taped_x, taped_y}, {w, x, dy, dw, dx});
  }
  void backward_without_tape(M const& m, weights const& w, inputs const& x, read dy, weights_to const& dw,
                             inputs_to const& dx) const {
    calls_->backward_without_tape(be_.get(), m, {w, x, dy, dw, dx});
  }

  bool streams() const { return calls_->make_state != nullptr; }
  state make_state(M const& m, weights const& w, inputs const& x, index_t capacity) const {
    return calls_->make_state(be_.get(), m, w, x, capacity);
  }
  void prefill(M const& m, weights const& w, inputs const& x, state& s, write y) const {
    calls_->prefill(be_.get(), m, w, x, s, y);
  }
  void step(M const& m, weights const& w, inputs const& x, state& s, write y) const {
    calls_->step(be_.get(), m, w, x, s, y);
  }

  void peek(M const& m, weights const& w, inputs const& x, state& s, write y) const {
    calls_->peek(be_.get(), m, w, x, s, y);
  }
  void commit(M const& m, weights const& w, inputs const& x, state& s) const {
    calls_->commit(be_.get(), m, w, x, s);
  }
  state clone(state const& s) const { return calls_->clone(be_.get(), s); }
  state rows(state const& s, index_t first, index_t count) const {
    return calls_->rows(be_.get(), s, first, count);
  }
  void reorder(state& s, std::vector<index_t> const& from) const { calls_->reorder(be_.get(), s, from); }
  bool truncates() const { return calls_->truncate != nullptr; }
  void truncate(M const& m, state& s, index_t length) const { calls_->truncate(m, s, length); }
  bool evicts() const { return calls_->evict_front != nullptr; }
  void evict_front(M const& m, state& s, index_t n) const { calls_->evict_front(m, s, n); }

  plan_report planned(M const& m, std::vector<extents<4>> const& ext) const {
    return calls_->planned(be_.get(), m, ext);
  }
  std::size_t workspace_bytes() const { return calls_->workspace_bytes(be_.get()); }

 private:
  struct taped {
    weights const& w;
    inputs const& x;
    write y;
  };
  struct backward_arguments {
    weights const& w;
    inputs const& x;
    read dy;
    weights_to const& dw;
    inputs_to const& dx;
  };
  struct calls {
    void (*forward)(void*, M const&, weights const&, inputs const&, write);
    void (*backward)(void*, M const&, taped const&, backward_arguments const&);
    void (*backward_without_tape)(void*, M const&, backward_arguments const&);
    plan_report (*planned)(void const*, M const&, std::vector<extents<4>> const&);
    std::size_t (*workspace_bytes)(void const*);
    state (*make_state)(void*, M const&, weights const&, inputs const&, index_t) = nullptr;
    void (*prefill)(void*, M const&, weights const&, inputs const&, state&, write) = nullptr;
    void (*step)(void*, M const&, weights const&, inputs const&, state&, write) = nullptr;
    void (*peek)(void*, M const&, weights const&, inputs const&, state&, write) = nullptr;
    void (*commit)(void*, M const&, weights const&, inputs const&, state&) = nullptr;
    state (*clone)(void*, state const&) = nullptr;
    state (*rows)(void*, state const&, index_t, index_t) = nullptr;
    void (*reorder)(void*, state&, std::vector<index_t> const&) = nullptr;
    void (*truncate)(M const&, state&, index_t) = nullptr;
    void (*evict_front)(M const&, state&, index_t) = nullptr;
  };

  template <class B> static constexpr calls calls_of() {
    calls c{[](void* b, M const& m, weights const& w, inputs const& x, write y) {
              auto& be = *static_cast<B*>(b);
              auto frame = be.scope();
              m.forward(be, w, x, tape_of<M, B>{}, y);
              be.synchronize();
            },
            [](void* b, M const& m, taped const& t, backward_arguments const& a) {
              auto& be = *static_cast<B*>(b);
              auto frame = be.scope();
              auto const tape = m.make_tape(be, t.x);
              m.forward(be, t.w, t.x, tape, t.y);
              m.backward(be, a.w, a.x, tape, a.dy, a.dw, a.dx);
              be.synchronize();
            },
            [](void* b, M const& m, backward_arguments const& a) {
              auto& be = *static_cast<B*>(b);
              auto frame = be.scope();
              m.backward(be, a.w, a.x, tape_of<M, B>{}, a.dy, a.dw, a.dx);
              be.synchronize();
            },
            [](void const* b, M const& m, std::vector<extents<4>> const& ext) {
              return detail::planned(*static_cast<B const*>(b), m, ext);
            },
            [](void const* b) { return static_cast<B const*>(b)->workspace_bytes(); }};
    if constexpr (StreamingMixer<M, B>) {
      c.make_state = [](void* b, M const& m, weights const& w, inputs const& x, index_t capacity) {
        return m.make_state(*static_cast<B*>(b), w, x, capacity);
      };
      c.prefill = [](void* b, M const& m, weights const& w, inputs const& x, state& s, write y) {
        auto& be = *static_cast<B*>(b);
        auto frame = be.scope();
        m.prefill(be, w, x, s, y);
        be.synchronize();
      };
      c.step = [](void* b, M const& m, weights const& w, inputs const& x, state& s, write y) {
        auto& be = *static_cast<B*>(b);
        auto frame = be.scope();
        m.step(be, w, x, s, y);
        be.synchronize();
      };
      c.peek = [](void* b, M const& m, weights const& w, inputs const& x, state& s, write y) {
        auto& be = *static_cast<B*>(b);
        auto frame = be.scope();
        smx::peek(be, m, w, x, s, y);
        be.synchronize();
      };
      c.commit = [](void* b, M const& m, weights const& w, inputs const& x, state& s) {
        auto& be = *static_cast<B*>(b);
        auto frame = be.scope();
        smx::commit(be, m, w, x, s);
        be.synchronize();
      };
      c.clone = [](void* b, state const& s) { return clone_state(*static_cast<B*>(b), s); };
      c.rows = [](void* b, state const& s, index_t first, index_t count) {
        return take_rows(*static_cast<B*>(b), s, first, count);
      };
      c.reorder = [](void* b, state& s, std::vector<index_t> const& from) {
        auto& be = *static_cast<B*>(b);
        auto frame = be.scope();
        reorder_state(be, s, from);
        be.synchronize();
      };
      if constexpr (TruncatingMixer<M, B>)
        c.truncate = [](M const& m, state& s, index_t length) { m.truncate(s, length); };
      if constexpr (EvictingMixer<M, B>)
        c.evict_front = [](M const& m, state& s, index_t n) { m.evict_front(s, n); };
    }
    return c;
  }
  template <class B> static constexpr calls table = calls_of<B>();

  using backend = std::unique_ptr<void, void (*)(void*)>;
  runner(backend be, calls const* c) : be_(std::move(be)), calls_(c) {}

  backend be_;
  calls const* calls_;
};

/// A line of a list of backends: its name and how to make a fresh one.
///
/// make()           a fresh backend
/// make(workspace)  one that works in a caller's block, where it can
/// make(threads)    one with that many threads, where it has some
///
/// may_allocate: what it keeps for itself (a trace) allocates, so that mixers on it are not held to do
/// without.
template <class Make> struct backend {
  char const* name;
  Make make;
  bool may_allocate = false;
};
template <class Make> backend(char const*, Make, bool = false) -> backend<Make>;

/// A line of the list for mixers of type M. Refers to the line.
template <class M> class maker {
 public:
  template <class Make>
  explicit maker(backend<Make> const& line)
      : name_(line.name),
        may_allocate_(line.may_allocate),
        make_(&line.make),
        fresh_([](void const* make) { return runner<M>::on(*static_cast<Make const*>(make)); }) {
    if constexpr (std::invocable<Make const&, workspace<host_space>>)
      inside_ = [](void const* make, void* block, std::size_t bytes) {
        return runner<M>::on(*static_cast<Make const*>(make), workspace<host_space>(block, bytes));
      };
    if constexpr (std::invocable<Make const&, int>)
      threaded_ = [](void const* make, int threads) {
        return runner<M>::on(*static_cast<Make const*>(make), threads);
      };
  }

  char const* name() const { return name_; }
  bool may_allocate() const { return may_allocate_; }
  runner<M> operator()() const { return fresh_(make_); }
  bool takes_workspace() const { return inside_ != nullptr; }
  runner<M> inside(void* block, std::size_t bytes) const { return inside_(make_, block, bytes); }
  bool takes_threads() const { return threaded_ != nullptr; }
  runner<M> with_threads(int n) const { return threaded_(make_, n); }

 private:
  char const* name_;
  bool may_allocate_;
  void const* make_;
  runner<M> (*fresh_)(void const*);
  runner<M> (*inside_)(void const*, void*, std::size_t) = nullptr;
  runner<M> (*threaded_)(void const*, int) = nullptr;
};

}  // namespace smx::testing
