// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/nn/cases/sequences.hpp"
#include "tests/nn/layer_laws.hpp"

TEST_CASE("short convolutions conform") {
  test::layer_conforms<smx::short_convolution<double>>();
  test::layer_conforms<smx::short_convolution<float>>();
}
TEST_CASE("self-attention conforms") {
  test::layer_conforms<smx::self_attention<double>>();
  test::layer_conforms<smx::self_attention<double, smx::causal_mask>>();
}
TEST_CASE("the M2 mixer conforms") {
  test::layer_conforms<smx::m2_sequence_mixer<double>>();
  test::layer_conforms<smx::m2_sequence_mixer<double, smx::convolution_kind::bidirectional>>();
}
