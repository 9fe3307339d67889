// SPDX-License-Identifier: Apache-2.0
#include "tests/catch.hpp"
#include "tests/nn/cases/rows.hpp"
#include "tests/nn/layer_laws.hpp"

TEST_CASE("linear layers conform") {
  test::layer_conforms<smx::linear<double>>();
  test::layer_conforms<smx::linear<float>>();
}
TEST_CASE("norms conform") {
  test::layer_conforms<smx::layer_norm<double>>();
  test::layer_conforms<smx::rms_norm<double>>();
  test::layer_conforms<smx::layer_norm<float>>();
}
TEST_CASE("MLPs conform") {
  test::layer_conforms<smx::mlp<double>>();
  test::layer_conforms<smx::glu<double, smx::block_diagonal<double>>>();
  test::layer_conforms<smx::glu<double, smx::linear<double>, smx::silu_activation>>();
}
