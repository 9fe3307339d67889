// SPDX-License-Identifier: Apache-2.0
// Attention's cache: under a window or from block to block, cached equals one-shot for any chunking; a ring
// holds as many rows as it was made with; what was dropped stays dropped; what is refused changes nothing.
#include <smx/mixers/state.hpp>

#include <smx/backend/cpu.hpp>
#include <smx/testing/laws/states.hpp>

#include "tests/catch.hpp"
#include "tests/conformance/cases/masks.hpp"

namespace {

using namespace smx;
using smx::testing::expectation;
using smx::testing::numbers;
using smx::testing::within;
using test::contains;

/// Attention under `mask`, 65 tokens of two rows with shared heads, on backend B.
template <class MaskType, class B> struct session {
  using mixer = attention<float, MaskType>;
  using state = state_of<mixer, B>;
  static constexpr index_t length = 60;

  B be;
  mixer m;
  testing::problem<mixer> p;

  explicit session(MaskType const& mask)
      : m{.mask = mask}, p({m, {{2, 4, length, 6}, {2, 2, length, 6}, {2, 2, length, 5}}}) {}

  inputs_in<mixer, B> rows(index_t first, index_t count) const {
    auto const x = p.x();
    return {slice(x.q, 2, first, count), slice(x.k, 2, first, count), slice(x.v, 2, first, count)};
  }
  state linear(index_t capacity) { return m.make_state(be, {}, rows(0, 1), capacity); }
  state ring(index_t capacity) { return m.make_ring(be, {}, rows(0, 1), capacity); }

  /// Tokens first .. first + count - 1 through `verb`; outputs in row-major order.
  template <class F> numbers outputs(index_t first, index_t count, F const& verb) {
    tensor<float, 4> y({2, 4, count, 5});
    auto frame = be.scope();
    verb(rows(first, count), y.view());
    return testing::values(y.cview());
  }
  numbers feed(state& s, index_t first, index_t count) {
    return outputs(first, count, [&](auto const& x, auto const& y) { m.prefill(be, {}, x, s, y); });
  }
  numbers peek(state& s, index_t first, index_t count) {
    return outputs(first, count, [&](auto const& x, auto const& y) { smx::peek(be, m, {}, x, s, y); });
  }
  /// All tokens in pieces of the given sizes, again and again.
  numbers all(state& s, std::vector<index_t> const& pieces) {
    tensor<float, 4> y({2, 4, length, 5});
    for (index_t at = 0, i = 0; at < length; ++i) {
      index_t const n = std::min(pieces[static_cast<std::size_t>(i) % pieces.size()], length - at);
      auto frame = be.scope();
      m.prefill(be, {}, rows(at, n), s, slice(y.view(), 2, at, n));
      at += n;
    }
    return testing::values(y.cview());
  }
  static numbers bits(state const& s) { return testing::state_bits(s); }
};

template <class MaskType, class F> void on_each_backend(MaskType const& mask, F const& f) {
  session<MaskType, reference_backend> reference(mask);
  f(reference);
  session<MaskType, cpu_backend<serial_pool>> serial(mask);
  f(serial);
}

}  // namespace

TEST_CASE("a ring under a window equals one-shot, in pieces of any size") {
  for (index_t const size : {1, 5, 16})
    on_each_backend(window_mask{size}, [&](auto& run) {
      expectation const want = testing::expected(run.p);
      for (index_t const capacity : {size, size + 1, size + 7, index_t{100}})
        for (std::vector<index_t> const& pieces :
             {std::vector<index_t>{1}, {2}, {3, 1, 11}, {17}, {1, 40}, {60}}) {
          CAPTURE(size, capacity, pieces);
          auto s = run.ring(capacity);
          CHECK(within("y", run.all(s, pieces), want.y, want.tolerance).value_or("") == "");
          CHECK(s.tokens() == 60);
          CHECK(s.kept() == std::min<index_t>(capacity, 60));
          CHECK(s.bytes() == static_cast<std::size_t>(2 * 2 * capacity * (6 + 5)) * sizeof(float));
        }
    });
}

TEST_CASE("a mask that is composed with a window has its ring") {
  auto const mask = causal_mask{} & window_mask{7};
  static_assert(WindowedMask<decltype(causal_mask{} & window_mask{7})>);
  on_each_backend(mask, [](auto& run) {
    expectation const want = testing::expected(run.p);
    auto s = run.ring(9);
    CHECK(within("y", run.all(s, {2, 1}), want.y, want.tolerance).value_or("") == "");
  });
}

TEST_CASE("frames: a linear cache and a ring equal one-shot, in whole frames of any number") {
  for (index_t const history : {-1, 0, 2})
    on_each_backend(block_causal_mask{4, history}, [&](auto& run) {
      expectation const want = testing::expected(run.p);
      for (std::vector<index_t> const& pieces : {std::vector<index_t>{4}, {8, 4}, {12}, {4, 36}, {60}}) {
        CAPTURE(history, pieces);
        auto s = run.linear(60);
        CHECK(within("y", run.all(s, pieces), want.y, want.tolerance).value_or("") == "");
        if (history < 0) continue;
        for (index_t const capacity : {4 * history + 4, 4 * history + 7, 4 * history + 11}) {
          CAPTURE(capacity);
          auto ring = run.ring(capacity);
          CHECK(within("y", run.all(ring, pieces), want.y, want.tolerance).value_or("") == "");
        }
      }
      auto s = run.linear(60);
      run.feed(s, 0, 8);
      auto const before = run.bits(s);
      CHECK_THROWS_WITH(run.feed(s, 8, 3), contains("attention: q: expected whole blocks of the mask"));
      CHECK_THROWS_WITH(run.peek(s, 8, 3), contains("whole blocks"));
      CHECK_THROWS_WITH(run.m.truncate(s, 6), contains("attention: length: expected whole blocks"));
      CHECK(run.bits(s) == before);
    });
}

TEST_CASE("a ring is peeked at, taken back as far as it holds, and no further") {
  on_each_backend(window_mask{5}, [](auto& run) {
    auto s = run.ring(9);
    run.all(s, {3, 2});
    auto const before = run.bits(s);
    for (index_t const n : {1, 4, 20}) {  // 20: more than the ring has rows
      auto const seen = run.peek(s, 0, n);
      CHECK(run.bits(s) == before);
      auto fed = clone_state(run.be, s);
      CHECK(run.feed(fed, 0, n) == seen);
    }
    auto branch = clone_state(run.be, s);
    auto const want = run.feed(branch, 10, 7);
    for (index_t const back : {1, 2, 4}) {
      CAPTURE(back);
      auto t = clone_state(run.be, s);
      run.feed(t, 20, back);
      run.m.truncate(t, 60);
      CHECK(run.feed(t, 10, 7) == want);
    }
    CHECK_THROWS_WITH(run.m.truncate(s, 54), contains("attention: length: expected a token whose keys"));
    CHECK(run.bits(s) == before);
    CHECK_NOTHROW(run.m.truncate(s, 55));
  });
}

TEST_CASE("evicted keys are hidden from what comes later, also when the cache has gone round") {
  on_each_backend(causal_mask{}, [](auto& run) {
    // 20 tokens; the oldest 12 go; 30 more, in a cache of 40; 25 go; the last 10
    auto const sees = [](index_t i, index_t j) {
      return j <= i && (i < 20 || j >= 12) && (i < 50 || j >= 37);
    };
    tensor<bool, 4> visible({1, 1, 60, 60});
    for (index_t i = 0; i < 60; ++i)
      for (index_t j = 0; j < 60; ++j) visible(0, 0, i, j) = sees(i, j);
    using one_shot = attention<float, boolean_mask>;
    testing::problem<one_shot> const p({{.mask = {visible.cview()}}, run.p.all_ext});
    expectation const want = testing::expected(p);
    auto s = run.linear(40);
    tensor<float, 4> y({2, 4, 60, 5});
    auto const feed = [&](index_t first, index_t last, index_t piece) {
      for (index_t at = first; at < last; at += piece) {
        auto frame = run.be.scope();
        run.m.prefill(run.be, {}, run.rows(at, piece), s, slice(y.view(), 2, at, piece));
      }
    };
    feed(0, 20, 5);
    run.m.evict_front(s, 12);
    feed(20, 50, 3);
    CHECK(s.kept() == 38);
    CHECK_THROWS_WITH(run.feed(s, 0, 3), contains("attention: state: expected room for the tokens"));
    run.m.evict_front(s, 25);
    feed(50, 60, 1);
    CHECK(s.tokens() == 60);
    CHECK(within("y", testing::values(y.cview()), want.y, want.tolerance).value_or("") == "");
  });
}

TEST_CASE("rings that cannot be, and states of another mask") {
  session<window_mask, cpu_backend<serial_pool>> run(window_mask{5});
  CHECK_THROWS_WITH(run.ring(4), contains("attention: capacity: expected at least the keys that the mask"));
  session<block_causal_mask, cpu_backend<serial_pool>> unbounded(block_causal_mask{4});
  CHECK_THROWS_WITH(unbounded.ring(40), contains("looks back over a bounded number"));
  auto s = run.ring(9);
  run.feed(s, 0, 3);
  auto const before = run.bits(s);
  run.m.mask.size = 6;
  CHECK_THROWS_WITH(run.feed(s, 3, 1), contains("attention: state: expected a ring made for this mask"));
  session<causal_mask, cpu_backend<serial_pool>> causal(causal_mask{});
  CHECK_THROWS_WITH(causal.feed(s, 3, 1), contains("expected no ring"));
  CHECK(run.bits(s) == before);
}

TEST_CASE("modified scores stream with biases and gates for all keys, or for those so far") {
  using M = attention<double, causal_mask, modified_scores>;
  constexpr index_t length = 9;
  cpu be(1);
  M const m{
      .scores = {.softcap = 2, .alibi = 8, .relative = {6, 7, false}, .sink = true, .heads = 2, .offset = 1}};
  auto const w = initialize(be, m, 1);
  auto const x = random_normal<double>(be, {2, 2, length, 4}, 2);
  auto const bias = random_normal<double>(be, {1, 2, length, length}, 3);
  tensor<double, 4> gates(extents<4>{2, 1, 1, length}), y(x.extents());
  for (index_t i = 0; i < gates.size(); ++i) gates.data()[i] = 0.5 + 0.1 * static_cast<double>(i);
  auto const want = forward(be, m, w, x, x, x, bias, gates);

  auto const rows = [&](index_t first, index_t count, index_t keys) {
    auto const part = slice(x.cview(), 2, first, count);
    return inputs_in<M, cpu>{part, part, part, slice(slice(bias.cview(), 2, first, count), 3, 0, keys),
                             slice(gates.cview(), 3, 0, keys)};
  };
  for (bool const all : {true, false}) {
    auto s = m.make_state(be, w, rows(0, 1, length), length);
    for (index_t at = 0, n = 3; at < length; at += n, n = 1) {
      auto const part = rows(at, n, all ? length : at + n);
      m.prefill(be, w, part, s, slice(y.view(), 2, at, n));
    }
    for (index_t i = 0; i < y.size(); ++i) CHECK(y.data()[i] == test::Approx(want.data()[i]).margin(1e-12));
  }
  auto s = m.make_state(be, w, rows(0, 1, length), length);
  m.prefill(be, w, rows(0, 3, length), s, slice(y.view(), 2, 0, 3));
  auto const before = testing::state_bits(s);
  CHECK_THROWS_WITH(m.prefill(be, w, rows(3, 1, 3), s, slice(y.view(), 2, 3, 1)),
                    contains("attention: bias: expected 1 or the extent of the scores"));
  M random = m;
  random.scores.dropout = 0.5;
  CHECK_THROWS_WITH(random.prefill(be, w, rows(3, 1, 4), s, slice(y.view(), 2, 3, 1)),
                    contains("attention: dropout: expected 0 where tokens are cached"));
  CHECK_THROWS_WITH(random.make_state(be, w, rows(0, 1, 1), length),
                    contains("attention: dropout: expected 0 where tokens are cached"));
  CHECK(testing::state_bits(s) == before);
}
