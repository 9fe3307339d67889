// SPDX-License-Identifier: Apache-2.0
/// \file  Layers with prepared weights give the bits of forward, for every shape of their maps, and refuse
/// what another layer prepared.
#include <smx/mixers/run.hpp>
#include <smx/nn.hpp>

#include "tests/catch.hpp"
#include "tests/nn/backends.hpp"

using namespace test;
using smx::extents;
using smx::index_t;

namespace {

template <class L> void expect_same_bits(L const& layer, extents<4> const& e) {
  using T = typename L::scalar;
  smx::cpu one(1), two(2);
  auto const weights = smx::initialize(one, layer, 3);
  auto const w = weights.read();
  smx::tensor<T, 4> x(e);
  for (index_t i = 0; i < x.size(); ++i) x.data()[i] = static_cast<T>((i * 7919 + 13) % 257 - 128) / T(64);
  extents<4> const out = layer.output_extents(smx::nn::input_of_extents{e});
  auto const applied = [&](smx::cpu& be) {
    smx::tensor<T, 4> y(out);
    auto const p = layer.prepare(be, w, e[2]);
    layer.apply(be, w, p, {x.cview()}, y.view());
    return values(y);
  };
  smx::tensor<T, 4> y(out);
  layer.forward(one, w, {x.cview()}, {}, y.view());
  INFO(e[2] << " rows, " << e[3] << " to " << out[3] << " channels");
  CHECK((applied(one) == values(y)));  // thousands of entries: not printed
  CHECK((applied(two) == values(y)));
}

template <class T> void linear_cases() {
  for (bool bias : {true, false}) {
    for (index_t rows : {1, 3, 40, 129})
      for (index_t in : {1, 5, 65, 257})
        for (index_t out : {1, 3, 49, 96})
          expect_same_bits(smx::linear<T>{.channels = in, .output_channels = out, .bias = bias},
                           {1, 1, rows, in});
    expect_same_bits(smx::linear<T>{.channels = 600, .output_channels = 800, .bias = bias}, {1, 1, 300, 600});
  }
  expect_same_bits(smx::linear<T>{20, 70}, {2, 3, 50, 20});
}

template <class T> void block_cases() {
  for (bool shuffle : {false, true})
    for (bool bias : {false, true}) {
      auto const layer = [&](index_t in, index_t out) {
        return smx::block_diagonal<T>{
            .channels = in, .output_channels = out, .blocks = 4, .bias = bias, .shuffle = shuffle};
      };
      for (index_t rows : {1, 40, 129})
        for (index_t in : {8, 96, 10})       // 10: the last block is cut
          for (index_t out : {4, 200, 202})  // and here
            expect_same_bits(layer(in, out), {1, 1, rows, in});
      expect_same_bits(layer(1200, 3200), {1, 1, 40, 1200});
    }
  expect_same_bits(smx::block_diagonal<T>{.channels = 16, .output_channels = 24, .blocks = 2},
                   {2, 3, 50, 16});
}

}  // namespace

TEST_CASE("prepared: linear has the bits of forward", "[nn][prepared]") {
  linear_cases<float>();
  linear_cases<double>();
}

TEST_CASE("prepared: block_diagonal has the bits of forward", "[nn][prepared]") {
  block_cases<float>();
  block_cases<double>();
}

TEST_CASE("prepared: a residual MLP has the bits of forward, and its bytes are counted", "[nn][prepared]") {
  smx::cpu be(2);
  smx::residual<smx::glu<float, smx::block_diagonal<float>>, smx::norm_placement::post> layer;
  layer.norm.channels = 64;
  layer.inner.up = {.channels = 64, .output_channels = 256, .blocks = 4, .bias = false};
  layer.inner.down = {.channels = 128, .output_channels = 64, .blocks = 4};
  expect_same_bits(layer, {2, 1, 70, 64});
  auto const w = smx::initialize(be, layer, 3);
  // panels of 48 columns: 64 of a block of up take 96, 16 of one of down take 48
  CHECK(layer.prepare(be, w.read(), 70).bytes() == 4 * (4 * 96 * 16 + 4 * 48 * 32));
}

TEST_CASE("prepared: weights of another layer are refused", "[nn][prepared]") {
  smx::cpu be(1);
  smx::linear<float> const layer{20, 30}, other{20, 31};
  auto const w = smx::initialize(be, layer, 3), v = smx::initialize(be, other, 3);
  smx::tensor<float, 4> x({1, 1, 4, 20}), y({1, 1, 4, 30});
  CHECK_THROWS_WITH(layer.apply(be, w.read(), other.prepare(be, v.read(), 4), {x.cview()}, y.view()),
                    contains("linear: prepared"));
}
