// SPDX-License-Identifier: Apache-2.0
#include <smx/mixers/stream.hpp>

#include <smx/backend/reference.hpp>
#include <smx/mixers/attention.hpp>
#include <smx/mixers/long_convolution.hpp>
#include <smx/testing/numbers.hpp>

#include "tests/catch.hpp"

using namespace smx;
using smx::testing::values;

namespace {

constexpr index_t count = 9, width = 4;
using causal_attention = attention<double, causal_mask>;
using convolution = long_convolution<double>;

tensor<double, 4> numbers(reference_backend& be, std::uint64_t seed) {
  return random_normal<double>(be, {2, 1, count, width}, seed);
}
auto rows(tensor<double, 4> const& x, index_t first, index_t n) { return slice(x.cview(), 2, first, n); }

}  // namespace

TEST_CASE("a stream gives what the view-level calls give", "[mixers][stream]") {
  reference_backend be;
  convolution const m{.channels = width, .taps = 5};
  auto const w = initialize(be, m, 1);
  auto const x = numbers(be, 2), pre = numbers(be, 3);

  inputs_in<convolution, reference_backend> const like{x.cview(), pre.cview(), {}};
  auto state = m.make_state(be, w, like, count);
  stream s(be, m, w, count);
  CHECK(s.position() == 0);
  CHECK(s.bytes() == 0);
  CHECK(s.capacity() == count);

  tensor<double, 4> y({2, 1, 6, width}), y1({2, 1, 1, width});
  m.prefill(be, w, {rows(x, 0, 6), rows(pre, 0, 6), {}}, state, y.view());
  CHECK(values(s.prefill(rows(x, 0, 6), rows(pre, 0, 6)).cview()) == values(y.cview()));
  CHECK(s.position() == 6);
  CHECK(s.bytes() == state.bytes());
  for (index_t t = 6; t < count; ++t) {
    m.step(be, w, {rows(x, t, 1), rows(pre, t, 1), {}}, state, y1.view());
    CHECK(values(s.step(rows(x, t, 1), rows(pre, t, 1)).cview()) == values(y1.cview()));
    CHECK(s.position() == t + 1);
  }
}

TEST_CASE("a stream of a mixer with several inputs and no weights", "[mixers][stream]") {
  reference_backend be;
  causal_attention const m;
  auto const q = numbers(be, 1), k = numbers(be, 2), v = numbers(be, 3);
  stream s(be, m, {}, count);
  auto const whole = forward(be, m, {}, q, k, v);
  for (index_t t = 0; t < count; ++t)
    CHECK(values(s.step(rows(q, t, 1), rows(k, t, 1), rows(v, t, 1)).cview()) == values(rows(whole, t, 1)));
  CHECK(s.bytes() == 2 * 2 * count * width * sizeof(double));
}

TEST_CASE("a stream refuses what does not fit and stays as it was", "[mixers][stream]") {
  reference_backend be;
  causal_attention const m;
  auto const x = numbers(be, 1);
  CHECK_THROWS_AS(stream(be, m, {}, 0), precondition_error);

  stream s(be, m, {}, 3);
  s.prefill(rows(x, 0, 2), rows(x, 0, 2), rows(x, 0, 2));
  CHECK_THROWS_AS(s.prefill(rows(x, 2, 2), rows(x, 2, 2), rows(x, 2, 2)), precondition_error);
  CHECK_THROWS_AS(s.step(rows(x, 2, 2), rows(x, 2, 2), rows(x, 2, 2)), precondition_error);
  CHECK(s.position() == 2);
  s.step(rows(x, 2, 1), rows(x, 2, 1), rows(x, 2, 1));
  CHECK(s.position() == 3);
  CHECK_THROWS_AS(s.step(rows(x, 3, 1), rows(x, 3, 1), rows(x, 3, 1)), precondition_error);
  CHECK_THROWS_AS(s.step(rows(x, 3, 1), rows(x, 3, 1), rows(x, 3, 1), x), precondition_error);
}

TEST_CASE("a stream branches and forgets, and goes on with the same bits", "[mixers][stream]") {
  reference_backend be;
  causal_attention const m;
  auto const x = numbers(be, 1);
  auto const step = [&](auto& s, index_t t) {
    return values(s.step(rows(x, t, 1), rows(x, t, 1), rows(x, t, 1)).cview());
  };
  stream s(be, m, {}, count);
  CHECK_THROWS_WITH(s.state(), test::contains("stream: state: expected a prefill or a step before"));
  auto fresh = s.clone();  // of nothing
  CHECK(fresh.position() == 0);
  step(s, 0), step(s, 1);
  auto branch = s.clone();
  CHECK(branch.position() == 2);
  CHECK(branch.bytes() == s.bytes());
  auto const third = step(s, 2);
  step(branch, 5);
  branch.truncate(2);
  CHECK(branch.position() == 2);
  CHECK(step(branch, 2) == third);
  stream later(be, m, {}, clone_state(be, s.state()));
  CHECK(later.position() == 3);
  CHECK(later.capacity() == count);
  CHECK(step(later, 3) == step(s, 3));
  CHECK_THROWS_WITH(s.truncate(5), test::contains("stream: length: expected 0 to the tokens so far"));
  CHECK(s.position() == 4);
  CHECK(values(fresh.step(rows(x, 0, 1), rows(x, 0, 1), rows(x, 0, 1)).cview()) == values(rows(x, 0, 1)));
}
