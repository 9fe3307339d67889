// SPDX-License-Identifier: Apache-2.0
/// \file  A mixer on some backend, behind function pointers: laws compile once for a mixer, not once for each
/// backend as well. A backend of another memory space runs on copies (see mirror.hpp).
#pragma once

#include <memory>

#include <smx/mixers/planning.hpp>
#include <smx/mixers/state.hpp>
#include <smx/testing/cases.hpp>
#include <smx/testing/mirror.hpp>
#include <smx/testing/verdict.hpp>

namespace smx::testing {

namespace detail {
template <class M, class Space> struct state_in { using type = char; };
template <class M, class Space>
requires(M::about.streaming) struct state_in<M, Space> {
  using type = typename M::template state<owns_in<Space>>;
};

template <class B, class M, std::size_t... I>
plan_report plan_of_all(B const& be, M const& m, std::vector<extents<4>> const& ext,
                        std::index_sequence<I...>) {
  if constexpr (requires { be.how(); })
    return plan(be, m, ext[I]...);
  else
    return plan(m, ext[I]...);
}
/// The plan of what `be` runs, or of the recipe where the backend has no planner of its own.
template <class B, class M, std::size_t Count = 1>
plan_report planned(B const& be, M const& m, std::vector<extents<4>> const& ext) {
  if (ext.size() == Count) return plan_of_all(be, m, ext, std::make_index_sequence<Count>{});
  if constexpr (Count < static_cast<std::size_t>(M::input_count)) return planned<B, M, Count + 1>(be, m, ext);
  return {};
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
  using state = typename detail::state_in<M, host_space>::type;
  using read = view<T const, 4, host_space>;
  using write = view<T, 4, host_space>;

  /// On the backend that `make(a...)` returns.
  template <class Make, class... A> static runner on(Make const& make, A... a) {
    return made<true>(make, std::move(a)...);
  }
  /// The same without what moves and cuts states (peek to evict_front), which is much to compile.
  template <class Make> static runner in_short_on(Make const& make) { return made<false>(make); }

  void forward(M const& m, weights const& w, inputs const& x, write y) const {
    calls_->forward(be_.get(), m, w, x, y);
  }
  /// Forward with a tape, then backward with that tape.
  void train(M const& m, weights const& w, inputs const& x, read dy, write y, weights_to const& dw,
             inputs_to const& dx) const {
    calls_->backward(
        be_.get(), m, {w, x, y}, {w, x, dy, dw, dx},
        [](void const*, void const* backward, void (*call)(void const*)) { call(backward); }, nullptr);
  }
  /// One forward with a tape of other arguments, then body(backward), which may call `backward` as often as
  /// it likes: with that tape, and with the arguments as they are at the time. Those may change their extents
  /// in between, not their memory.
  template <class F>
  void on_tape_of(M const& m, weights const& taped_w, inputs const& taped_x, write taped_y, weights const& w,
                  inputs const& x, read const& dy, weights_to const& dw, inputs_to const& dx,
                  F const& body) const {
    calls_->backward(
        be_.get(), m, {taped_w, taped_x, taped_y}, {w, x, dy, dw, dx},
        [](void const* f, void const* backward, void (*call)(void const*)) {
          (*static_cast<F const*>(f))([=] { call(backward); });
        },
        &body);
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
  /// Weights, which only the mixer can walk.
  template <class W> struct with_mixer {
    M const& mixer;
    W const& of;
  };
  template <class W> struct moved_weights { W of; };
  struct taped {
    weights const& w;
    inputs const& x;
    write y;
  };
  struct backward_arguments {
    weights const& w;
    inputs const& x;
    read const& dy;
    weights_to const& dw;
    inputs_to const& dx;
  };
  /// f(backward) behind a pointer: body(f, backward, how it is called).
  using backward_body = void (*)(void const* f, void const* backward, void (*call)(void const*));
  struct calls {
    void (*forward)(void*, M const&, weights const&, inputs const&, write);
    void (*backward)(void*, M const&, taped const&, backward_arguments const&, backward_body, void const*);
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

  /// A backend and, where its memory is not the host's, the mirror of the arguments.
  struct nothing {};
  template <class B> struct hosted {
    static constexpr bool here = std::same_as<space_t<B>, host_space>;
    using space = space_t<B>;
    using state_there = typename detail::state_in<M, space>::type;
    B be;
    [[no_unique_address]] std::conditional_t<here, nothing, mirror<space>> copies = {};

    /// f(backend, arguments where it sees them...) in a frame.
    template <class F, class... A> void run(F const& f, A const&... a) {
      if constexpr (here) {
        auto frame = be.scope();
        f(be, a...);
        be.synchronize();
      } else {
        // A call that throws leaves the work before it under way, in memory that the next call writes to.
        struct ending {
          B& be;
          mirror<space>& of;
          ~ending() {
            static_cast<void>(judged([&]() -> verdict {
              be.synchronize();
              return holds;
            }));
            of.forget();
          }
        } const at_the_end{be, copies};
        (each_array(a, [&](auto const& v) { copies.add(v); }), ...);
        copies.open();
        {
          auto frame = be.scope();
          f(be, there(a)...);
          be.synchronize();
        }
        copies.close();
      }
    }
    /// An argument of run(), as it is now, where the backend sees it.
    template <class A> decltype(auto) seen(A const& a) const {
      if constexpr (here)
        return (a);
      else
        return there(a);
    }

    /// f(backend, state where it is, arguments...).
    template <class F, class... A> void run_state(state& s, F const& f, A const&... a) {
      if constexpr (here) {
        run([&](B& b, auto const&... x) { f(b, s, x...); }, a...);
      } else {
        auto remote = smx::testing::state_there<state_there, space>(s);
        auto const bring_back = [&] { s = state_here<state, space>(remote); };
#if defined(__cpp_exceptions)
        try {
          run([&](B& b, auto const&... x) { f(b, remote, x...); }, a...);
        } catch (...) {
          bring_back();
          throw;
        }
#else
        run([&](B& b, auto const&... x) { f(b, remote, x...); }, a...);
#endif
        bring_back();
      }
    }

    /// The state that f(backend, state where it is) returns.
    template <class F> state made_from(state const& s, F const& f) {
      if constexpr (here) {
        return f(be, s);
      } else {
        auto const made = f(be, smx::testing::state_there<state_there, space>(s));
        be.synchronize();
        return state_here<state, space>(made);
      }
    }

   private:
    template <class T, int R, class F> static void each_array(view<T, R, host_space> const& v, F const& f) {
      f(v);
    }
    template <class F> static void each_array(with_mixer<weights> const& w, F const& f) {
      w.mixer.for_each_weight([&](auto const&, auto const& v) { f(v); }, w.of);
    }
    template <class F> static void each_array(with_mixer<weights_to> const& w, F const& f) {
      w.mixer.for_each_weight([&](auto const&, auto const& v) { f(v); }, w.of);
    }
    template <class F> static void each_array(inputs const& x, F const& f) {
      M::for_each_input([&](char const*, auto const& v) { f(v); }, x);
    }
    template <class F> static void each_array(inputs_to const& x, F const& f) {
      M::for_each_input([&](char const*, auto const& v) { f(v); }, x);
    }
    template <class T, int R> auto there(view<T, R, host_space> const& v) const { return copies.there(v); }
    template <class To, class W> To weights_there(with_mixer<W> const& w) const {
      To to;
      w.mixer.for_each_weight([&](auto const&, auto const& v, auto& made) { made = copies.there(v); }, w.of,
                              to);
      return to;
    }
    template <class To, class X> To inputs_there(X const& x) const {
      To to;
      M::for_each_input([&](char const*, auto const& v, auto& made) { made = copies.there(v); }, x, to);
      return to;
    }
    auto there(with_mixer<weights> const& w) const {
      using to = typename M::template weights<reads_in<space>>;
      return moved_weights<to>{weights_there<to>(w)};
    }
    auto there(with_mixer<weights_to> const& w) const {
      using to = typename M::template weights<writes_in<space>>;
      return moved_weights<to>{weights_there<to>(w)};
    }
    auto there(inputs const& x) const {
      return inputs_there<typename M::template inputs<reads_in<space>>>(x);
    }
    auto there(inputs_to const& x) const {
      return inputs_there<typename M::template inputs<writes_in<space>>>(x);
    }
  };

  template <bool Whole, class Make, class... A> static runner made(Make const& make, A... a) {
    using B = decltype(make(std::move(a)...));
    static_assert(Mixer<M, B>);
    using owned = hosted<B>;
    return {backend(new owned{make(std::move(a)...)}, [](void* be) { delete static_cast<owned*>(be); }),
            &table<B, Whole>};
  }

  template <class B, bool Whole> static constexpr calls calls_of() {
    using on = hosted<B>;
    calls c{[](void* b, M const& m, weights const& w, inputs const& x, write y) {
              static_cast<on*>(b)->run([&](B& be, auto const& wb, auto const& xb,
                                           auto const& yb) { m.forward(be, wb.of, xb, tape_of<M, B>{}, yb); },
                                       with_mixer<weights>{m, w}, x, y);
            },
            [](void* b, M const& m, taped const& t, backward_arguments const& a, backward_body body,
               void const* f) {
              on& self = *static_cast<on*>(b);
              self.run(
                  [&](B& be, auto const& tw, auto const& tx, auto const& ty, auto const&...) {
                    auto const tape = m.make_tape(be, tx);
                    m.forward(be, tw.of, tx, tape, ty);
                    auto const backward = [&] {
                      m.backward(be, self.seen(with_mixer<weights>{m, a.w}).of, self.seen(a.x), tape,
                                 self.seen(a.dy), self.seen(with_mixer<weights_to>{m, a.dw}).of,
                                 self.seen(a.dx));
                    };
                    body(f, &backward,
                         [](void const* call) { (*static_cast<decltype(backward) const*>(call))(); });
                  },
                  with_mixer<weights>{m, t.w}, t.x, t.y, with_mixer<weights>{m, a.w}, a.x, a.dy,
                  with_mixer<weights_to>{m, a.dw}, a.dx);
            },
            [](void* b, M const& m, backward_arguments const& a) {
              static_cast<on*>(b)->run(
                  [&](B& be, auto const& wb, auto const& xb, auto const& dy, auto const& dw, auto const& dx) {
                    m.backward(be, wb.of, xb, tape_of<M, B>{}, dy, dw.of, dx);
                  },
                  with_mixer<weights>{m, a.w}, a.x, a.dy, with_mixer<weights_to>{m, a.dw}, a.dx);
            },
            [](void const* b, M const& m, std::vector<extents<4>> const& ext) {
              return detail::planned(static_cast<on const*>(b)->be, m, ext);
            },
            [](void const* b) { return static_cast<on const*>(b)->be.workspace_bytes(); }};
    if constexpr (StreamingMixer<M, B>) {
      c.make_state = [](void* b, M const& m, weights const& w, inputs const& x, index_t capacity) {
        state s;
        static_cast<on*>(b)->run(
            [&](B& be, auto const& wb, auto const& xb) {
              if constexpr (on::here)
                s = m.make_state(be, wb.of, xb, capacity);
              else {
                auto const made = m.make_state(be, wb.of, xb, capacity);
                be.synchronize();
                s = state_here<state, space_t<B>>(made);
              }
            },
            with_mixer<weights>{m, w}, x);
        return s;
      };
      c.prefill = [](void* b, M const& m, weights const& w, inputs const& x, state& s, write y) {
        static_cast<on*>(b)->run_state(
            s,
            [&](B& be, auto& sb, auto const& wb, auto const& xb, auto const& yb) {
              m.prefill(be, wb.of, xb, sb, yb);
            },
            with_mixer<weights>{m, w}, x, y);
      };
      c.step = [](void* b, M const& m, weights const& w, inputs const& x, state& s, write y) {
        static_cast<on*>(b)->run_state(
            s,
            [&](B& be, auto& sb, auto const& wb, auto const& xb, auto const& yb) {
              m.step(be, wb.of, xb, sb, yb);
            },
            with_mixer<weights>{m, w}, x, y);
      };
    }
    if constexpr (Whole && StreamingMixer<M, B>) {
      c.peek = [](void* b, M const& m, weights const& w, inputs const& x, state& s, write y) {
        static_cast<on*>(b)->run_state(
            s,
            [&](B& be, auto& sb, auto const& wb, auto const& xb, auto const& yb) {
              smx::peek(be, m, wb.of, xb, sb, yb);
            },
            with_mixer<weights>{m, w}, x, y);
      };
      c.commit = [](void* b, M const& m, weights const& w, inputs const& x, state& s) {
        static_cast<on*>(b)->run_state(
            s, [&](B& be, auto& sb, auto const& wb, auto const& xb) { smx::commit(be, m, wb.of, xb, sb); },
            with_mixer<weights>{m, w}, x);
      };
      c.clone = [](void* b, state const& s) {
        return static_cast<on*>(b)->made_from(s, [](B& be, auto const& sb) { return clone_state(be, sb); });
      };
      c.rows = [](void* b, state const& s, index_t first, index_t count) {
        return static_cast<on*>(b)->made_from(
            s, [&](B& be, auto const& sb) { return take_rows(be, sb, first, count); });
      };
      c.reorder = [](void* b, state& s, std::vector<index_t> const& from) {
        static_cast<on*>(b)->run_state(s, [&](B& be, auto& sb) { reorder_state(be, sb, from); });
      };
      if constexpr (TruncatingMixer<M, B>)
        c.truncate = [](M const& m, state& s, index_t length) { m.truncate(s, length); };
      if constexpr (EvictingMixer<M, B>)
        c.evict_front = [](M const& m, state& s, index_t n) { m.evict_front(s, n); };
    }
    return c;
  }
  template <class B, bool Whole> static constexpr calls table = calls_of<B, Whole>();

  using backend = std::unique_ptr<void, void (*)(void*)>;
  runner(backend be, calls const* c) : be_(std::move(be)), calls_(c) {}

  backend be_;
  calls const* calls_;
};

}  // namespace smx::testing
