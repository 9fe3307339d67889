// SPDX-License-Identifier: Apache-2.0
// Streams of every mixer with rows of different lengths: each row has the bits of the row alone, through
// padded prefills, per-row commits, truncates and reorders; and a call that is refused changes nothing.
#include <smx/smx.hpp>

#include <optional>

#include <smx/backend/cpu.hpp>
#include <smx/testing/laws/states.hpp>

#include "tests/catch.hpp"

namespace {

using namespace smx;
using smx::testing::numbers;
using smx::testing::values;
using test::contains;

constexpr index_t rows = 3, capacity = 24;
using backend = cpu_backend<serial_pool>;

/// Three rows of tokens for one mixer, and streams of all of them or of one.
template <class M> struct setting {
  backend& be;
  M m;
  parameters<M, backend> w;
  std::vector<tensor<float, 4>> x;

  setting(backend& b, M const& mixer, std::vector<extents<4>> const& ext)
      : be(b), m(mixer), w(initialize(b, mixer, 3)) {
    for (extents<4> const& e : ext)
      x.push_back(random_normal<float>(be, {e[0], e[1], e[2], e[3]}, x.size() + 1));
  }

  smx::stream<M, backend> stream(index_t snapshots = 0) const {
    return {be, m, w, stream_options{.capacity = capacity, .snapshots = snapshots}};
  }
  /// f(inputs...) for tokens first .. first + count - 1, of one row or (-1) of all.
  template <class F> auto with(index_t row, index_t first, index_t count, F const& f) const {
    auto const part = [&](std::size_t i) {
      auto const v = slice(x[i].cview(), 2, first, count);
      return row < 0 ? v : slice(v, 0, row, 1);
    };
    if constexpr (M::about.name == "long_convolution" || M::input_count == 1)
      return f(part(0));
    else if constexpr (M::about.name == "ssd")
      return f(part(0), part(1), part(2), part(3));
    else
      return f(part(0), part(1), part(2));
  }
  template <class S> tensor<float, 4> prefill(S& s, index_t first, index_t count, index_t row = -1) const {
    return with(row, first, count, [&](auto const&... in) { return s.prefill(in...); });
  }
  template <class S>
  tensor<float, 4> padded(S& s, std::vector<index_t> const& n, index_t first, index_t count) const {
    return with(-1, first, count, [&](auto const&... in) { return s.prefill(n, in...); });
  }
  template <class S> tensor<float, 4> peek(S& s, index_t first, index_t count) const {
    return with(-1, first, count, [&](auto const&... in) { return s.peek(in...); });
  }
};

numbers of_row(tensor<float, 4> const& y, index_t row, index_t count) {
  return values(slice(slice(y.cview(), 0, row, 1), 2, 0, count));
}
template <class S> std::vector<numbers> everything(S const& s, index_t states) {
  std::vector<numbers> all;
  for (index_t b = 0; b < states; ++b) all.push_back(testing::state_bits(s.state(b)));
  return all;
}

template <class F> void each_mixer(F const& f) {
  backend be;
  extents<4> const e{rows, 1, 40, 4}, heads{rows, 2, 40, 4}, column{rows, 2, 40, 1};
  f(setting(be, attention<float, causal_mask>{}, {heads, heads, heads}));
  f(setting(be, long_convolution<float>{.channels = 4, .taps = 20}, {e}));
  f(setting(be, causal_monarch<float>{.channels = 4, .length = capacity, .order = 2}, {e}));
  f(setting(be, chebyshev_monarch<float>{.channels = 4, .length = capacity, .order = 2}, {e}));
  f(setting(be, masked_monarch<float>{.channels = 4, .length = capacity}, {e}));
  f(setting(be, ssd<float>{.heads = 2}, {heads, column, heads, heads}));
  f(setting(be, linear_attention<float>{}, {heads, heads, heads}));
}

}  // namespace

TEST_CASE("rows of different lengths are each row alone") {
  each_mixer([](auto const& run) {
    CAPTURE(decltype(run.m)::about.name);
    std::vector<index_t> const lengths{5, 0, 9}, more{0, 2, 3}, taken{4, 0, 2};
    auto s = run.stream();
    auto const y = run.padded(s, lengths, 0, 9);
    auto const z = run.padded(s, more, 9, 3);
    auto const next = run.prefill(s, 12, 1);
    auto const seen = run.peek(s, 13, 4);
    s.commit(taken);
    auto const last = run.prefill(s, 17, 2);
    CHECK(s.batch() == rows);
    for (index_t b = 0; b < rows; ++b) {
      CAPTURE(b);
      auto const at = static_cast<std::size_t>(b);
      auto alone = run.stream();
      if (lengths[at] > 0)
        CHECK(of_row(y, b, lengths[at]) == values(run.prefill(alone, 0, lengths[at], b).cview()));
      if (more[at] > 0) CHECK(of_row(z, b, more[at]) == values(run.prefill(alone, 9, more[at], b).cview()));
      CHECK(of_row(next, b, 1) == values(run.prefill(alone, 12, 1, b).cview()));
      auto branch = alone.clone();
      CHECK(of_row(seen, b, 4) == values(run.prefill(branch, 13, 4, b).cview()));
      if (taken[at] > 0) run.prefill(alone, 13, taken[at], b);
      CHECK(of_row(last, b, 2) == values(run.prefill(alone, 17, 2, b).cview()));
      CHECK(s.position(b) == lengths[at] + more[at] + 1 + taken[at] + 2);
      // what is left out gives 0
      for (index_t t = lengths[at]; t < 9; ++t)
        for (double const v : values(slice(slice(y.cview(), 0, b, 1), 2, t, 1))) CHECK(v == 0);
    }
    CHECK_THROWS_WITH(s.position(), contains("expected rows of one length"));
    CHECK_THROWS_WITH(s.state(), contains("a state for each row"));
  });
}

TEST_CASE("rows of one length stay together, and may part later") {
  each_mixer([](auto const& run) {
    CAPTURE(decltype(run.m)::about.name);
    auto s = run.stream(), t = run.stream();
    run.prefill(s, 0, 4);
    run.padded(t, {4, 4, 4}, 0, 4);
    CHECK(testing::state_bits(s.state()) == testing::state_bits(t.state()));
    run.padded(t, {2, 1, 2}, 4, 2);  // part
    CHECK(t.position(1) == 5);
    for (index_t b = 0; b < rows; ++b) {
      auto alone = run.stream();
      run.prefill(alone, 0, 4, b);
      run.prefill(alone, 4, b == 1 ? 1 : 2, b);
      auto branch = t.clone();
      CHECK(of_row(run.prefill(branch, 10, 1), b, 1) == values(run.prefill(alone, 10, 1, b).cview()));
    }
  });
}

TEST_CASE("a stream is taken back, row by row: attention at once, others to snapshots") {
  each_mixer([](auto const& run) {
    using M = decltype(run.m);
    CAPTURE(M::about.name);
    auto s = run.stream(3);
    run.prefill(s, 0, 6);
    run.prefill(s, 6, 1);
    auto kept = s.clone();
    auto const want = values(run.prefill(kept, 7, 5).cview());
    run.prefill(s, 20, 2);
    s.truncate(7);
    CHECK(s.position() == 7);
    CHECK(values(run.prefill(s, 7, 5).cview()) == want);
    s.truncate(6);
    CHECK(values(run.prefill(s, 6, 6).cview()).size() == want.size() / 5 * 6);
    if constexpr (!M::about.truncates) {
      auto const before = testing::state_bits(s.state());
      CHECK_THROWS_WITH(s.truncate(9),
                        contains("stream: length: expected the tokens before one of the last"));
      CHECK_THROWS_WITH(s.truncate({12, 9, 12}), contains("stream: length"));
      CHECK(testing::state_bits(s.state()) == before);
      auto bare = run.stream();
      run.prefill(bare, 0, 2);
      CHECK_THROWS_WITH(bare.truncate(1), contains("stream: length"));
      CHECK_NOTHROW(bare.truncate(2));
    }
    CHECK_THROWS_WITH(s.truncate(13), contains("stream: length: expected 0 to the tokens so far"));
    CHECK_THROWS_WITH(s.truncate(-1), contains("stream: length"));
    CHECK_THROWS_WITH(s.truncate({6, 6}), contains("stream: length: expected one for each row"));

    s.truncate({6, 12, 6});
    CHECK(s.position(0) == 6);
    CHECK(s.position(1) == 12);
    auto const y = run.prefill(s, 12, 2);
    for (index_t b = 0; b < rows; ++b) {
      auto alone = run.stream();
      run.prefill(alone, 0, 6, b);
      if (b == 1) run.prefill(alone, 6, 6, b);
      CHECK(of_row(y, b, 2) == values(run.prefill(alone, 12, 2, b).cview()));
    }
    s.truncate({6, 14, 8});  // rows of their own, too
    CHECK(s.position(0) == 6);
    CHECK(s.position(2) == 8);
    if constexpr (M::about.truncates) {
      s.truncate({0, 0, 0});
      CHECK(s.position() == 0);
    }
  });
}

TEST_CASE("rows are reordered, together and each on its own, with their snapshots") {
  each_mixer([](auto const& run) {
    CAPTURE(decltype(run.m)::about.name);
    for (bool const together : {true, false}) {
      CAPTURE(together);
      auto s = run.stream(2);
      run.padded(s, together ? std::vector<index_t>{4, 4, 4} : std::vector<index_t>{4, 2, 3}, 0, 4);
      run.prefill(s, 4, 2);
      std::vector<index_t> const from{2, 0, 0};
      s.reorder(from);
      auto const before = everything(s, together ? 1 : rows);
      CHECK_THROWS_WITH(s.reorder({2, 3, 0}), contains("reorder_state: from: expected indices of rows"));
      CHECK_THROWS_WITH(s.reorder({2, -1, 0}), contains("reorder_state: from"));
      CHECK_THROWS_WITH(s.reorder({0, 1}), contains("an index for each row"));
      CHECK(everything(s, together ? 1 : rows) == before);
      std::vector<index_t> old;
      for (index_t b = 0; b < rows; ++b) old.push_back(s.position(b) - 2);
      for (int round = 0; round < 2; ++round) {
        auto const y = run.prefill(s, 10, 1);
        for (index_t b = 0; b < rows; ++b) {
          index_t const source = from[static_cast<std::size_t>(b)];
          auto alone = run.stream();
          run.prefill(alone, 0, old[static_cast<std::size_t>(b)], source);
          if (round == 0) run.prefill(alone, 4, 2, source);
          CHECK(of_row(y, b, 1) == values(run.prefill(alone, 10, 1, b).cview()));
        }
        if (round == 0) s.truncate(old);  // before the reorder, in the order after it
      }
    }
  });
}

TEST_CASE("peeks are remembered until the state moves, and commit takes some of them") {
  each_mixer([](auto const& run) {
    CAPTURE(decltype(run.m)::about.name);
    auto s = run.stream(), t = run.stream();
    CHECK_THROWS_WITH(s.commit(1), contains("expected a peek just before"));
    CHECK(run.peek(s, 0, 3).extents()[2] == 3);  // before any token
    CHECK(s.position() == 0);
    s.commit(2);
    run.prefill(t, 0, 2);
    CHECK(testing::state_bits(s.state()) == testing::state_bits(t.state()));
    auto const before = testing::state_bits(s.state());
    run.peek(s, 2, 3);
    CHECK(testing::state_bits(s.state()) == before);
    CHECK_THROWS_WITH(s.commit(4), contains("stream: commit: expected 0 to the tokens of x"));
    CHECK_THROWS_WITH(s.commit({1, 1}), contains("stream: commit: expected one for each row"));
    CHECK(testing::state_bits(s.state()) == before);
    s.commit(0);
    CHECK(testing::state_bits(s.state()) == before);
    CHECK_THROWS_WITH(s.commit(1), contains("expected a peek just before"));
    run.peek(s, 2, 3);
    run.prefill(s, 5, 1);
    CHECK_THROWS_WITH(s.commit(1), contains("expected a peek just before"));
  });
}

TEST_CASE("what one row has no room for, no row takes") {
  each_mixer([](auto const& run) {
    CAPTURE(decltype(run.m)::about.name);
    auto s = run.stream();
    CHECK_THROWS_AS(run.prefill(s, 0, capacity + 1), precondition_error);
    CHECK_THROWS_AS(run.padded(s, {1, 1, capacity + 1}, 0, capacity + 1), precondition_error);
    CHECK(s.batch() == 0);  // as before the first call
    run.padded(s, {2, capacity - 1, 4}, 0, capacity - 1);
    auto const before = everything(s, rows);
    CHECK_THROWS_WITH(run.prefill(s, 0, 2), contains("stream: capacity: expected room for the tokens"));
    CHECK_THROWS_WITH(run.peek(s, 0, 2), contains("stream: capacity"));
    CHECK_THROWS_WITH(run.padded(s, {1, 2, 1}, 0, 2), contains("stream: capacity"));
    CHECK_THROWS_WITH(run.padded(s, {1, 1}, 0, 2), contains("stream: lengths: expected one for each row"));
    CHECK_THROWS_WITH(run.padded(s, {1, 1, 3}, 0, 2), contains("stream: lengths: expected 0 to the tokens"));
    CHECK_THROWS_WITH(run.prefill(s, 0, 1, 1), contains("stream: inputs: expected the rows of the batch"));
    CHECK(everything(s, rows) == before);
    CHECK_NOTHROW(run.prefill(s, 0, 1));
  });
}

TEST_CASE("attention's stream: rings, and what evict_front drops") {
  backend be;
  extents<4> const heads{rows, 2, 40, 4};
  setting const run(be, attention<float, window_mask>{.mask = {4}}, {heads, heads, heads});
  auto const whole = run.with(-1, 0, 40, [&](auto const&... in) { return forward(be, run.m, {}, in...); });
  stream ring(be, run.m, {}, {.capacity = 6, .ring = true});
  for (index_t t = 0; t < 40; t += 2) {
    auto const y = values(run.prefill(ring, t, 2).cview()), want = values(slice(whole.cview(), 2, t, 2));
    for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::fabs(y[i] - want[i]) <= 1e-5);
  }
  CHECK(ring.position() == 40);
  CHECK(ring.bytes() == rows * 2 * 6 * 8 * sizeof(float));
  CHECK_THROWS_WITH(stream(be, run.m, {}, {.capacity = 3, .ring = true})
                        .step(slice(run.x[0].cview(), 2, 0, 1), slice(run.x[1].cview(), 2, 0, 1),
                              slice(run.x[2].cview(), 2, 0, 1)),
                    contains("attention: capacity"));
  CHECK_THROWS_WITH(stream(be, attention<float, causal_mask>{}, {}, {.capacity = 9, .ring = true}),
                    contains("stream: ring: expected attention under a mask with a window"));
  CHECK_THROWS_WITH(stream(be, run.m, {}, {.capacity = 9, .snapshots = -1}), contains("stream: snapshots"));

  auto s = run.stream();
  run.padded(s, {24, 20, 24}, 0, 24);
  CHECK_THROWS_WITH(run.prefill(s, 24, 1), contains("stream: capacity"));
  CHECK_THROWS_WITH(s.evict_front(21), contains("stream: n: expected 0 to the tokens that are kept"));
  s.evict_front(2);
  CHECK(s.position(0) == 24);
  CHECK_NOTHROW(run.prefill(s, 24, 2));
  CHECK(s.position(0) == 26);
  CHECK_THROWS_WITH(s.truncate(1), contains("attention: length: expected a token whose keys"));
  CHECK(s.position(1) == 22);
}
