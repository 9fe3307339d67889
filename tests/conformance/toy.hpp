// SPDX-License-Identifier: Apache-2.0
/// \file  A small mixer that is broken on request: what the suite must notice.
#pragma once

#include <atomic>

#include <smx/backend/shapes.hpp>
#include <smx/mixers/concept.hpp>
#include <smx/testing/cases.hpp>
#include <smx/testing/numbers.hpp>

namespace test {

using namespace smx;

enum class flaw : char {
  none,
  leaks,                       // row i sees position i + 1
  touches_the_future,          // row i adds 0 times position i + 1
  forgets,                     // the longest lag is left out
  wrong_input_gradient,        // by 1e-6 of it
  wrong_weight_gradient,       // by 1e-6 of it
  overwrites_weight_gradient,  //
  adds_to_input_gradient,      //
  depends_on_tape,             // the last bit of y
  differs_each_run,            // the last bits of y
  differs_by_threads,          // the last bit of y
  allocates,                   //
  takes_more_than_planned,     //
  reads_scratch_unwritten,     //
  reads_outside,               // one element behind x
  writes_outside,              // one element behind y
  ignores_strides,             // of x
  swallows_nan,                //
  changes_input,               //
  checks_no_weight,            //
  checks_no_output,            //
  names_no_argument,           //
  writes_before_it_checks,     //
  checks_no_gradient,          // of a weight
  writes_gradient_too_early,   // before it checks
  checks_no_overlap,           //
  checks_no_tape,              //
  mixes_batch,                 //
  mixes_heads,                 //
  knows_the_length,            // y depends on L
  loses_state,                 // streaming forgets what came before
  no_capacity,                 // a step beyond it does not throw
  grows_before_it_throws,      // a refused prefill leaves its tokens in the state
  takes_any_batch,             // a state of two rows takes tokens of one
  truncates_too_little,        // one token more stays than was asked for
  truncates_anything,          // to a length that there never was
  evicts_nothing,              // the oldest tokens are still read
  evicts_anything,             // more tokens than there are
};

/// y_i = sum_{l < taps, l <= i} w[l] x_{i-l}, in double, as plain loops. Shapes: x (B,H,L,D), w (taps), y
/// like x.
struct toy {
  using scalar = double;
  static constexpr traits about{.name = "toy",
                                .causality = causality::exact,
                                .streaming = true,
                                .truncates = true,
                                .evicts = true,
                                .flops_exponent = 1};
  static constexpr int input_count = 1;

  index_t taps = 0;
  flaw broken = flaw::none;
  friend bool operator==(toy const&, toy const&) = default;

  template <class A> struct weights { array<A, double, 1> w; };  // (taps)
  template <class A> struct inputs { array<A, double, 4> x; };   // (B,H,L,D)
  template <class A> struct tape { array<A, double, 4> x; };     // (B,H,L,D)
  template <class A> struct state {
    array<A, double, 4> x;  // (B,H,capacity,D): position p in row p mod capacity
    index_t length = 0, capacity = 0, first = 0;

    template <class F, class... S> static void for_each_array(F&& f, S&&... s) { f("x", s.x...); }
    template <class F, class... S> static void for_each_counter(F&& f, S&&... s) {
      f("length", s.length...);
      f("capacity", s.capacity...);
      f("first", s.first...);
    }
    index_t tokens() const { return length; }
    index_t kept() const { return length - first; }
    index_t room() const { return capacity - kept(); }
  };

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    f(weight_info<1>{"w", {taps}, {initializer::law::normal, 1}}, w.w...);
  }
  template <class F, class... X> static void for_each_input(F&& f, X&&... x) { f("x", x.x...); }
  template <class X> extents<4> output_extents(X const& x) const { return x.x.extents(); }

  template <class B> tape<writes<B>> make_tape(B& be, inputs<reads<B>> const& a) const {
    return {be.template scratch<double>(a.x.ext)};
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
               out<B, double, 4> y) const {
    if (is(flaw::writes_before_it_checks)) be.kernel("early", {}, [&] { *y.ptr = 0; });
    check(a.x.ext, w.w.ext);
    if (!is(flaw::checks_no_output)) expects_extents("toy: y", y.ext, a.x.ext);
    if (!is(flaw::checks_no_overlap))
      expects(!overlaps(a.x, y), "toy: y: expected memory apart from x, got an overlap");
    bool const record = t.x.size() != 0;
    if (record) be.copy(a.x, t.x);
    auto frame = be.scope();
    auto const zero = be.template scratch<double>(extents<1>{1});
    if (!is(flaw::reads_scratch_unwritten)) be.map(constant<double>{0}, zero);
    if constexpr (!std::same_as<space_t<B>, meta_space>)
      if (is(flaw::takes_more_than_planned)) be.template scratch<double>(extents<1>{1});
    if (is(flaw::allocates)) {
      void* volatile const block =
          be.memory().allocate(8);  // volatile: or the compiler leaves out both calls
      be.memory().release(block, 8);
    }
    int threads = 1;
    if constexpr (requires { be.threads(); }) threads = be.threads();
    be.kernel("toy", {2 * static_cast<double>(taps * a.x.size()), 0}, [&] {
      auto x = a.x;
      if (is(flaw::ignores_strides)) x = {x.ptr, x.ext};
      compute(w.w, x, y, *zero.ptr);
      double factor = 1;
      if (is(flaw::depends_on_tape) && record) factor += 0x1p-52;
      if (is(flaw::differs_by_threads)) factor += 0x1p-52 * threads;
      if (is(flaw::differs_each_run)) factor += 0x1p-52 * static_cast<double>(runs().fetch_add(1) % 16);
      if (is(flaw::knows_the_length)) factor += 0x1p-52 * static_cast<double>(x.ext[2]);
      loops::for_each_index(y.ext, [&](extents<4> const& i) { loops::at(y, i) *= factor; });
      if (is(flaw::reads_outside)) *y.ptr += 0 * x.ptr[x.size()];
      if (is(flaw::writes_outside)) y.ptr[y.size()] = 0;
    });
  }

  template <class B>
  void backward(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, tape<writes<B>> const& t,
                in<B, double, 4> dy, weights<writes<B>> dw, inputs<writes<B>> dx) const {
    if (is(flaw::writes_gradient_too_early)) be.kernel("early", {}, [&] { *dx.x.ptr = 0; });
    check(a.x.ext, w.w.ext);
    expects_extents("toy: dy", dy.ext, a.x.ext);
    expects_extents("toy: dx", dx.x.ext, a.x.ext);
    if (!is(flaw::checks_no_gradient)) expects_extents("toy: dw", dw.w.ext, {taps});
    if (!is(flaw::checks_no_overlap))
      expects(!overlaps(dy, dx.x) && !overlaps(a.x, dx.x),
              "toy: dx: expected memory apart from dy and x, got an overlap");
    if (!is(flaw::checks_no_tape)) expects_extents("toy: tape", t.x.ext, a.x.ext);
    be.kernel("toy_backward", {}, [&] {
      loops::for_each_index(dx.x.ext, [&](extents<4> const& i) {
        double sum = 0;
        for (index_t l = 0; l < taps && i[2] + l < a.x.ext[2]; ++l)
          sum += w.w(l) * dy(i[0], i[1], i[2] + l, i[3]);
        if (is(flaw::wrong_input_gradient)) sum *= 1 + 1e-6;
        double& to = loops::at(dx.x, i);
        to = is(flaw::adds_to_input_gradient) ? to + sum : sum;
      });
      for (index_t l = 0; l < taps; ++l) {
        double sum = 0;
        loops::for_each_index(t.x.ext, [&](extents<4> const& i) {
          if (i[2] >= l) sum += loops::at(dy, i) * t.x(i[0], i[1], i[2] - l, i[3]);
        });
        if (is(flaw::wrong_weight_gradient)) sum *= 1 + 1e-6;
        dw.w(l) = is(flaw::overwrites_weight_gradient) ? sum : dw.w(l) + sum;
      }
      if (is(flaw::changes_input)) *const_cast<double*>(a.x.ptr) += 1;
    });
  }

  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const&, inputs<reads<B>> const& a,
                            index_t capacity) const {
    extents<4> e = a.x.ext;
    e[2] = capacity;
    return {tensor<double, 4, space_t<B>>(be.memory(), e), 0, capacity};
  }
  template <class B>
  void prefill(B&, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
               out<B, double, 4> y) const {
    index_t const count = a.x.ext[2], first = s.length;
    extents<4> rows = s.x.extents();
    if (is(flaw::takes_any_batch)) rows[0] = -1;
    expects_extents("toy: x", a.x.ext, {rows[0], rows[1], -1, rows[3]});
    expects_extents("toy: y", y.ext, a.x.ext);
    index_t const room = s.room();
    if (is(flaw::grows_before_it_throws)) s.length += count;
    if (is(flaw::no_capacity) && count > room) return;
    expects_value(count <= room, "toy: state", "room for the tokens; tokens", first + count);
    for (index_t i = 0; i < count; ++i)
      loops::copy(slice(a.x, 2, i, 1),
                  slice(slice(s.x.view(), 2, (first + i) % s.capacity, 1), 0, 0, a.x.ext[0]));
    for (index_t i = 0; i < count; ++i)
      row(w.w, in<B, double, 4>(s.x.view()), first + i, is(flaw::loses_state) ? first + i : s.first, 0.0,
          slice(y, 2, i, 1));
    s.length = first + count;
  }
  template <class S> void truncate(S& s, index_t length) const {
    if (!is(flaw::truncates_anything))
      expects_value(length >= s.first && length <= s.length, "toy: length", "the tokens kept", length);
    s.length = is(flaw::truncates_too_little) && length < s.length ? length + 1 : length;
  }
  template <class S> void evict_front(S& s, index_t n) const {
    if (!is(flaw::evicts_anything))
      expects_value(n >= 0 && n <= s.kept(), "toy: n", "0 to the tokens kept", n);
    if (!is(flaw::evicts_nothing)) s.first += n;
  }
  template <class B>
  void step(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a, state<owns<B>>& s,
            out<B, double, 4> y) const {
    prefill(be, w, a, s, y);
  }

 private:
  bool is(flaw f) const { return broken == f; }
  static std::atomic<long>& runs() {
    static std::atomic<long> count{0};
    return count;
  }

  void check(extents<4> const& x, extents<1> const& w) const {
    expects_value(taps >= 1, "toy: taps", "at least 1", taps);
    expects_extents(is(flaw::names_no_argument) ? "toy" : "toy: x", x, {-1, -1, -1, -1});
    if (!is(flaw::checks_no_weight))
      expects_extents(is(flaw::names_no_argument) ? "toy" : "toy: w", w, {taps});
  }

  /// y (B,H,1,D): row i of the output for positions from `first` on.
  template <class W, class X, class Y>
  void row(W const& w, X const& x, index_t i, index_t first, double zero, Y const& y) const {
    loops::for_each_index(y.ext, [&](extents<4> const& at) {
      index_t const b = at[0], h = at[1], d = at[3];
      double sum = zero;
      index_t const count = is(flaw::forgets) && taps > 1 ? taps - 1 : taps;
      for (index_t l = 0; l < count && i - l >= first; ++l) {
        double const entry = x(b, h, (i - l) % x.ext[2], d);
        if (is(flaw::swallows_nan) && entry != entry) continue;
        sum += w(l) * entry;
      }
      if (i + 1 < x.ext[2]) {
        if (is(flaw::leaks)) sum += 1e-3 * x(b, h, i + 1, d);
        if (is(flaw::touches_the_future)) sum += 0 * x(b, h, i + 1, d);
      }
      if (is(flaw::mixes_batch)) sum += 1e-3 * x(0, h, i % x.ext[2], d);
      if (is(flaw::mixes_heads)) sum += 1e-3 * x(b, 0, i % x.ext[2], d);
      loops::at(y, at) = sum;
    });
  }
  template <class W, class X, class Y> void compute(W const& w, X const& x, Y const& y, double zero) const {
    for (index_t i = 0; i < y.ext[2]; ++i) row(w, x, i, 0, zero, slice(y, 2, i, 1));
  }
};

/// The toy under traits that it does not keep.
template <int FlopsExponent, bool Normalised> struct toy_with : toy {
  static constexpr traits about{.name = "toy",
                                .causality = causality::exact,
                                .flops_exponent = FlopsExponent,
                                .normalised = Normalised};
};

/// The toy with a peek that keeps what it saw, a commit that takes nothing, or a state that does not name its
/// array.
struct toy_that_keeps_peeks : toy {
  template <class B, class W, class X, class S, class Y>
  void peek(B& be, W const& w, X const& a, S& s, Y const& y) const {
    prefill(be, w, a, s, y);
  }
};
struct toy_that_commits_nothing : toy {
  template <class B, class W, class X, class S> void commit(B&, W const&, X const&, S&) const {}
};
struct toy_that_hides_its_array : toy {
  template <class A> struct state : toy::state<A> {
    template <class F, class... S> static void for_each_array(F&&, S&&...) {}
  };
  template <class B>
  state<owns<B>> make_state(B& be, weights<reads<B>> const& w, inputs<reads<B>> const& a,
                            index_t capacity) const {
    return {toy::make_state(be, w, a, capacity)};
  }
};

}  // namespace test

template <std::derived_from<test::toy> M> struct smx::testing::cases<M> {
  static M of(index_t taps) {
    M m;
    m.taps = taps;
    return m;
  }
  static std::vector<example<M>> examples() {
    return {{of(3), {{2, 2, 7, 3}}}, {of(1), {{1, 1, 1, 1}}}, {of(30), {{2, 1, 30, 2}}}};
  }
  static example<M> sized(index_t length) { return {of(3), {{1, 1, length, 1}}}; }
  static double terms(M const& m, host_inputs<M> const&) { return static_cast<double>(m.taps); }
  static bool sees(M const& m, host_inputs<M> const&, int, index_t row, index_t position) {
    return position <= row && row - position < m.taps;
  }
  static void oracle(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    loops::for_each_index(y.ext, [&](extents<4> const& i) {
      double sum = 0, magnitude = 0;
      for (index_t j = 0; j <= i[2]; ++j) {
        if (i[2] - j >= m.taps) continue;
        double const term = w.w(i[2] - j) * x.x(i[0], i[1], j, i[3]);
        sum += term, magnitude += std::fabs(term);
      }
      loops::at(y, i) = sum;
      loops::at(bound, i) = static_cast<double>(m.taps) * magnitude;
    });
  }
};
