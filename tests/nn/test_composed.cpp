// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/nn/cases/composed.hpp"
#include "tests/nn/cases/sequences.hpp"
#include "tests/nn/layer_laws.hpp"

namespace {
template <class T> using causal = smx::self_attention<T, smx::causal_mask>;
}

TEST_CASE("residual connections conform") {
  test::layer_conforms<smx::residual<smx::short_convolution<double>>>();
  test::layer_conforms<smx::residual<smx::short_convolution<double>, smx::norm_placement::post>>();
  test::layer_conforms<smx::residual<smx::mlp<double>, smx::norm_placement::post>>();
}
TEST_CASE("sequences of layers conform") {
  test::layer_conforms<smx::sequential<smx::short_convolution<double>, smx::linear<double>>>();
  test::layer_conforms<smx::sequential<smx::linear<double>, smx::dropout<double>>>();
}
TEST_CASE("stacks conform") {
  test::layer_conforms<smx::stack<smx::residual<smx::short_convolution<double>>, 3>>();
}
TEST_CASE("dropout that drops nothing conforms") { test::layer_conforms<smx::dropout<double>>(); }
TEST_CASE("recomputed layers conform") {
  test::layer_conforms<smx::recomputed<smx::residual<smx::short_convolution<double>>>>();
}
TEST_CASE("learned positions conform, behind a layer whose state has rows") {
  test::layer_conforms<smx::sequential<smx::short_convolution<double>, smx::learned_positions<double>>>();
}
TEST_CASE("a block of a transformer conforms") {
  using block = smx::sequential<smx::residual<causal<double>>, smx::residual<smx::mlp<double>>>;
  test::layer_conforms<block>();
}
