// SPDX-License-Identifier: Apache-2.0
// What a user gets wrong, and the words that tell him: the argument, what was expected, what came.
#include <cmath>
#include <limits>
#include <string>

#include <smx/backend/cpu.hpp>
#include <smx/smx.hpp>

#include "tests/catch.hpp"

namespace {

using namespace smx;

/// The message of the precondition_error that f throws, or "nothing was thrown".
template <class F> std::string refusal(F const& f) {
  try {
    f();
  } catch (precondition_error const& e) { return e.what(); }
  return "nothing was thrown";
}
bool says(std::string const& text, std::initializer_list<char const*> words) {
  INFO(text);
  for (char const* word : words)
    if (text.find(word) == std::string::npos) {
      UNSCOPED_INFO("missing: " << word << " in: " << text);
      return false;
    }
  return true;
}

}  // namespace

TEST_CASE("sizes that no mixer has") {
  cpu be(1);
  CHECK(says(refusal([&] { random_normal<float>(be, {2, 0, 3}, 1); }), {"tensor", "at least 1", "got 0"}));
  CHECK(says(refusal([&] { random_normal<float>(be, {2, -5}, 1); }), {"at least 1", "got -5"}));
  CHECK(says(refusal([&] {
               random_normal<float>(be, {index_t{1} << 40, index_t{1} << 40}, 1);
             }),
             {"overflows", "1099511627776"}));
  CHECK(says(refusal([&] { initialize(be, monarch<float>{.length = 0}, 1); }),
             {"monarch: length", "at least 1", "got 0"}));
  CHECK(
      says(refusal([&] { initialize(be, monarch<float>{.length = -4}, 1); }), {"monarch: length", "got -4"}));
  CHECK(says(refusal([&] { initialize(be, long_convolution<float>{.channels = 2, .taps = 0}, 1); }),
             {"taps", "at least 1"}));
  CHECK(says(refusal([&] { initialize(be, block_diagonal<float>{.channels = 4, .blocks = 0}, 1); }),
             {"blocks", "at least 1"}));
}

TEST_CASE("monarch: orders and factors") {
  cpu be(1);
  CHECK(says(refusal([&] { initialize(be, monarch<float>{.length = 16, .order = 1}, 1); }),
             {"monarch: order", "2 to 16", "got 1"}));
  CHECK(says(refusal([&] { initialize(be, monarch<float>{.length = 16, .order = 17}, 1); }),
             {"monarch: order", "got 17"}));
  CHECK(says(refusal([&] {
               initialize(be, monarch<float>{.length = 16, .factors = {4, 3}}, 1);
             }),
             {"monarch: factors", "multiply up", "12"}));
  CHECK(says(refusal([&] {
               initialize(be, monarch<float>{.length = 16, .factors = {6, 4}}, 1);
             }),
             {"monarch: factors", "top digit only", "24"}));
  CHECK(says(refusal([&] {
               initialize(be, monarch<float>{.length = 16, .factors = {4, 2, 2}}, 1);
             }),
             {"monarch: factors", "order", "3"}));
  CHECK(says(refusal([&] {
               initialize(be, monarch<float>{.length = 16, .factors = {-4, -4}}, 1);
             }),
             {"factor", "at least 1", "-4"}));
}

TEST_CASE("inputs that do not fit the mixer") {
  cpu be(1);
  monarch<float> const m{.length = 16};
  auto const w = initialize(be, m, 1);
  auto const longer = random_normal<float>(be, {1, 1, 17, 3}, 2);
  CHECK(says(refusal([&] { forward(be, m, w, longer); }), {"monarch: x", "(*, *, 16, *)", "(1, 1, 17, 3)"}));
  auto const other = initialize(be, monarch<float>{.length = 16, .factors = {2, 8}}, 1);
  auto const x = random_normal<float>(be, {1, 1, 16, 3}, 2);
  CHECK(says(refusal([&] { forward(be, m, other, x); }), {"factor0", "(4, 4, 4)", "(2, 8, 8)"}));
  CHECK(says(refusal([&] { forward(be, m, w, x, x); }), {"inputs", "got 2"}));
  CHECK(says(refusal([&] { gradients(be, m, w, x, longer); }),
             {"monarch: dy", "(1, 1, 16, 3)", "(1, 1, 17, 3)"}));
}

TEST_CASE("outputs that overlap inputs") {
  cpu be(1);
  auto x = random_normal<float>(be, {1, 1, 16, 3}, 2);
  auto frame = be.scope();
  monarch<float> const m{.length = 16};
  auto const w = initialize(be, m, 1);
  CHECK(says(refusal([&] { m.forward(be, w, {x}, {}, x.view()); }), {"monarch: y", "overlap"}));
  dense<float> const d{.length = 16};
  auto const v = initialize(be, d, 1);
  CHECK(says(refusal([&] { d.forward(be, v, {x}, {}, x.view()); }), {"dense: y", "overlap"}));
  attention<float> const a;
  CHECK(says(refusal([&] { a.forward(be, {}, {x, x, x}, {}, x.view()); }), {"attention: y", "overlap"}));
}

TEST_CASE("attention: heads, lengths and strides") {
  cpu be(1);
  attention<float> const m;
  auto const q = random_normal<float>(be, {1, 3, 5, 4}, 1), k = random_normal<float>(be, {1, 2, 5, 4}, 2);
  CHECK(says(refusal([&] { forward(be, m, {}, q, k, k); }),
             {"attention: q", "multiple of the key heads", "got 3"}));
  auto const shorter = random_normal<float>(be, {1, 3, 4, 4}, 3);
  CHECK(says(refusal([&] { forward(be, m, {}, q, q, shorter); }),
             {"attention: v", "(1, 3, 5, *)", "(1, 3, 4, 4)"}));
  auto const narrow = random_normal<float>(be, {1, 3, 5, 2}, 3);
  CHECK(says(refusal([&] { forward(be, m, {}, q, narrow, q); }), {"attention: k", "(1, 3, 5, 2)"}));
  auto const square = random_normal<float>(be, {1, 3, 4, 4}, 1);
  CHECK(says(refusal([&] { forward(be, m, {}, swap_axes(square.cview(), 2, 3), square, square); }),
             {"contiguous last axis", "got 4"}));
}

TEST_CASE("attention: a tape that is not that of the inputs") {
  cpu be(1);
  attention<float> const mix;
  extents<4> const e{1, 2, 6, 4};
  auto const q = random_normal<float>(be, {1, 2, 6, 4}, 1);
  tensor<float, 4> dq(e), dk(e), dv(e), y(e), lse({1, 2, 6, 1}), short_lse({1, 2, 3, 1}), wide({1, 2, 6, 8});
  auto const backward = [&](view<float, 4, host_space> of_lse, view<float, 4, host_space> of_y) {
    mix.backward(be, {}, {q.cview(), q.cview(), q.cview()}, {of_lse, of_y}, q.cview(), {},
                 {dq.view(), dk.view(), dv.view()});
  };
  CHECK(says(refusal([&] { backward(short_lse.view(), y.view()); }),
             {"attention: tape: lse", "(1, 2, 6, 1)", "(1, 2, 3, 1)"}));
  CHECK(says(refusal([&] {
               backward(lse.view(), view<float, 4, host_space>(wide.data(), e, {96, 48, 8, 2}));
             }),
             {"attention: tape: y", "contiguous last axis"}));
}

TEST_CASE("long convolution: kernels that are longer than the input") {
  cpu be(1);
  long_convolution<double> m{.channels = 2, .taps = 9};
  auto const w = initialize(be, m, 1);
  auto const x = random_normal<double>(be, {1, 1, 5, 2}, 2);
  CHECK(says(refusal([&] { forward(be, m, w, x); }), {"long_convolution: taps", "length of x", "got 9"}));
  m.truncate = true;
  auto const y = forward(be, m, w, x);
  double expected = w.read().skip(1) * x(0, 0, 4, 1);
  for (int j = 0; j <= 4; ++j) expected += w.read().k(1, 4 - j) * x(0, 0, j, 1);
  CHECK(std::abs(y(0, 0, 4, 1) - expected) < 1e-13);
  auto const gate = random_normal<double>(be, {1, 1, 4, 2}, 3);
  CHECK(says(refusal([&] { forward(be, m, w, x, gate); }),
             {"long_convolution: pre", "(1, 1, 5, 2)", "(1, 1, 4, 2)"}));
}

TEMPLATE_TEST_CASE("a stream refuses what is past its capacity, and goes on after that", "",
                   (attention<float, causal_mask>), (long_convolution<float>)) {
  cpu be(1);
  TestType m;
  if constexpr (requires { m.taps; }) m.channels = 4, m.taps = 3;
  auto const w = initialize(be, m, 1);
  auto const x = random_normal<float>(be, {1, 1, 4, 4}, 2);
  auto const inputs = [&](index_t first, index_t count) {
    inputs_in<TestType, cpu> in;
    bool more = true;
    TestType::for_each_input(
        [&](char const* name, auto& one) {
          if (more) one = slice(x.cview(), 2, first, count);
          more = std::string(name) != "x";  // gates stay empty
        },
        in);
    return in;
  };
  auto const whole = inputs(0, 3);
  tensor<float, 4> expected(m.output_extents(whole)), y(expected.extents());
  m.forward(be, w, whole, {}, expected.view());

  auto state = m.make_state(be, w, inputs(0, 1), 3);
  m.prefill(be, w, inputs(0, 2), state, slice(y.view(), 2, 0, 2));
  CHECK(says(refusal([&] { m.prefill(be, w, inputs(2, 2), state, slice(y.view(), 2, 0, 2)); }),
             {"capacity", "got 4"}));
  m.step(be, w, inputs(2, 1), state, slice(y.view(), 2, 2, 1));
  CHECK(says(refusal([&] { m.step(be, w, inputs(3, 1), state, slice(y.view(), 2, 2, 1)); }),
             {"capacity", "got 4"}));
  for (index_t i = 0; i < expected.size(); ++i) CHECK(std::abs(y.data()[i] - expected.data()[i]) < 1e-5f);
}

TEST_CASE("out of memory says how much was asked for") {
  cpu be(1);
  try {
    random_normal<float>(be, {index_t{1} << 30, index_t{1} << 22}, 1);
    FAIL("nothing was thrown");
  } catch (std::bad_alloc const& e) {
    CHECK(std::string(e.what()).find("18014398509481984 bytes") != std::string::npos);
  }
}

TEST_CASE("not a number and infinity in data go through, and stay where the mathematics puts them") {
  cpu be(2);
  auto x = random_normal<float>(be, {1, 1, 16, 3}, 2);
  x(0, 0, 5, 1) = std::numeric_limits<float>::quiet_NaN();
  x(0, 0, 7, 2) = std::numeric_limits<float>::infinity();
  dense<float> const d{.length = 16};
  auto const y = forward(be, d, initialize(be, d, 1), x);
  for (int i = 0; i < 16; ++i) {
    CHECK(std::isfinite(y(0, 0, i, 0)));
    CHECK(std::isnan(y(0, 0, i, 1)));
    CHECK(!std::isfinite(y(0, 0, i, 2)));
  }
}
