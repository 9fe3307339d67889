// SPDX-License-Identifier: Apache-2.0
// A session takes nothing from the heap once its scratch has grown.
#include <smx/backend/cpu.hpp>
#include <smx/mixers/causal_layer.hpp>
#include <smx/mixers/masked_monarch.hpp>
#include <smx/mixers/run.hpp>
#include <smx/mixers/streaming_session.hpp>

#include "tests/catch.hpp"
#include "tests/conformance/allocations.hpp"
#include "tests/mixers/lookahead_layer.hpp"

TEST_CASE("a streaming session allocates nothing after its first rows", "[session]") {
  using namespace smx;
  cpu be(1);
  constexpr index_t length = 64, dim = 8;
  std::vector<index_t> ahead;
  for (index_t t = 0; t < length; ++t) ahead.push_back(t * t % 5);
  auto const w = random_normal<double>(be, {1, 3, dim, dim}, 1),
             x = random_normal<double>(be, {1, 1, length, dim}, 2);
  masked_monarch<double> const mix{.channels = dim, .length = length};
  auto const v = initialize(be, mix, 3);
  streaming_session s(be, x.extents(), test::lookahead_layer<host_space>(w.cview(), ahead),
                      causal_layer(be, mix, v), test::lookahead_layer<host_space>(w.cview(), ahead));
  index_t rows = 0;
  auto const count = [&](std::span<index_range const> list) {
    for (index_range const r : list) rows += r.last - r.first;
  };
  for (index_t t = 0; t < 16; ++t) count(s.push(slice(x.cview(), 2, t, 1)));
  long const before = test::allocations();
  for (index_t t = 16; t < length; ++t) count(s.push(slice(x.cview(), 2, t, 1)));
  count(s.finish());
  long const taken = test::allocations() - before;
  CHECK(taken == 0);
  CHECK(rows == length);
}
