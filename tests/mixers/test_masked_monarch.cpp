// SPDX-License-Identifier: Apache-2.0
// What a step of masked_monarch costs and keeps, and what is refused.
#include <smx/mixers/masked_monarch.hpp>

#include <smx/backend/plan.hpp>
#include <smx/backend/reference.hpp>
#include <smx/mixers/stream.hpp>
#include <smx/testing/numbers.hpp>

#include "tests/catch.hpp"

using namespace smx;
using smx::testing::values;
using M = masked_monarch<float>;

TEST_CASE("a step of masked_monarch costs at most 2 (2 b + m) flops a channel", "[mixers][masked_monarch]") {
  M const m{.channels = 8, .length = 4096};
  using B = plan_backend<>;
  weights_in<M, B> w;
  m.for_each_weight([](auto const& info, auto& one) { one = {nullptr, info.ext}; }, w);
  inputs_in<M, B> const x{{nullptr, {1, 1, 1, 8}}};
  B be;
  auto frame = be.scope();
  auto state = m.make_state(be, w, x, m.length);
  CHECK(state.bytes() == (4096 + 64) * 8 * sizeof(float));
  state.position = m.length - 1;
  double const before = be.result().flops;
  m.step(be, w, x, state, {nullptr, {1, 1, 1, 8}});
  double const flops = be.result().flops - before;
  CHECK(flops <= 2 * 8 * (2 * 64 + 64));
  CHECK(flops >= 2 * 8 * (2 * 64 + 63));
}

TEST_CASE("masked_monarch refuses what is no masked sum", "[mixers][masked_monarch]") {
  reference_backend be;
  auto const start = [&](M const& m) { initialize(be, m, 1); };
  CHECK_THROWS_WITH(start({.length = 8}),
                    test::contains("masked_monarch: channels: expected at least 1, got 0"));
  CHECK_THROWS_WITH(start({.channels = 1}),
                    test::contains("masked_monarch: length: expected at least 1, got 0"));
  CHECK_THROWS_WITH(start({.channels = 6, .length = 8, .groups = 4}),
                    test::contains("masked_monarch: groups: expected a divisor of channels, got 4"));
  CHECK_THROWS_WITH(start({.channels = 1, .length = 8, .factors = {2, 2, 2}}),
                    test::contains("masked_monarch: factors: expected two factors, got 3"));
  for (monarch_digits const& f : {monarch_digits{2, 3}, monarch_digits{4, 4}, monarch_digits{0, 8}})
    CHECK_THROWS_WITH(start({.channels = 1, .length = 8, .factors = f}), test::contains("factor"));

  M const m{.channels = 2, .length = 8};
  auto const w = initialize(be, m, 1);
  auto const longer = random_normal<float>(be, {1, 1, 9, 2}, 2);
  CHECK_THROWS_WITH(forward(be, m, w, longer),
                    test::contains("masked_monarch: x: expected no more positions than length, got 9"));
  stream s(be, m, w, 100), other(be, m, w, 100);
  auto const rows = [&](index_t first, index_t n) { return slice(longer.cview(), 2, first, n); };
  s.prefill(rows(0, 5));
  other.prefill(rows(0, 5));
  CHECK_THROWS_WITH(s.prefill(rows(5, 4)), test::contains("stream: capacity: expected room"));
  CHECK_THROWS_WITH(s.step(random_normal<float>(be, {2, 1, 1, 2}, 3)),
                    test::contains("masked_monarch: x: expected extents (1, 1, *, 2)"));
  for (index_t t = 5; t < 8; ++t)
    CHECK(values(s.step(rows(t, 1)).cview()) == values(other.step(rows(t, 1)).cview()));
  CHECK_THROWS_WITH(s.step(rows(8, 1)), test::contains("stream: capacity: expected room"));
}
