// SPDX-License-Identifier: Apache-2.0
#include <smx/nn/tables.hpp>

#include <smx/backend/reference.hpp>
#include <smx/mixers/run.hpp>
#include <smx/nn/m2_sequence_mixer.hpp>
#include <tests/catch.hpp>

TEST_CASE("tables are filled wherever the layer that has them is nested", "[nn]") {
  using mixer = smx::m2_sequence_mixer<double>;
  using inner = smx::residual<smx::sequential<smx::layer_norm<double>, mixer>>;
  using layer = smx::sequential<smx::stack<smx::recomputed<inner>>, inner>;
  smx::reference_backend be;
  mixer one;
  one.channels = 3, one.max_length = 5, one.width = 4;
  layer m;
  for (inner* at : {&m.first.layer.inner, &m.second}) {
    at->norm.channels = at->inner.first.channels = 3;
    at->inner.second = one;
  }
  m.first.depth = 2;
  auto w = smx::initialize(be, m, 1);
  auto alone = smx::initialize(be, one, 1);
  smx::nn::fill_tables(be, m, w.write());
  one.fill_tables(be, alone.write());
  auto const expected = alone.read().filter.t;
  CHECK(expected(4) == 1);
  for (auto const& part : {w.read().first.layers[0], w.read().first.layers[1], w.read().second})
    for (smx::index_t i = 0; i < 5; ++i) CHECK(part.inner.second.filter.t(i) == expected(i));
}
