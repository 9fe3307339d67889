// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <vector>

#include <examples/gpt/sampling.hpp>
#include <tests/catch.hpp>

using smx_examples::choose_token;
using smx_examples::sampling;

namespace {
/// How often each token is chosen by 10000 equally spaced numbers.
std::vector<double> shares(std::vector<float> const& logits, sampling const& how) {
  std::vector<double> n(logits.size());
  for (int i = 0; i < 10000; ++i)
    n[static_cast<std::size_t>(choose_token(logits, how, (i + 0.5) / 10000))] += 1e-4;
  return n;
}
void check(std::vector<double> const& got, std::vector<double> const& expected) {
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    INFO(i);
    CHECK(std::abs(got[i] - expected[i]) < 2e-4);
  }
}
// Probabilities 0.1, 0.4, 0.2, 0.3.
std::vector<float> const logits{std::log(1.f), std::log(4.f), std::log(2.f), std::log(3.f)};
}  // namespace

TEST_CASE("tokens are chosen by their probabilities", "[sampling]") {
  check(shares(logits, {}), {0.1, 0.4, 0.2, 0.3});
  check(shares(logits, {.temperature = 0.5}), {1 / 30., 16 / 30., 4 / 30., 9 / 30.});
  check(shares(logits, {.temperature = 0}), {0, 1, 0, 0});
  check(shares(logits, {.top_k = 2}), {0, 4 / 7., 0, 3 / 7.});
  check(shares(logits, {.top_k = 9}), {0.1, 0.4, 0.2, 0.3});
  check(shares(logits, {.top_p = 0.69}), {0, 4 / 7., 0, 3 / 7.});
  check(shares(logits, {.top_p = 0.71}), {0, 4 / 9., 2 / 9., 3 / 9.});
  check(shares(logits, {.top_p = 1e-9}), {0, 1, 0, 0});
  check(shares(logits, {.top_k = 3, .top_p = 0.5}), {0, 4 / 7., 0, 3 / 7.});
  CHECK(choose_token(std::vector<float>{1, 5, 5}, {.temperature = 0}, 0.9) == 1);
}

TEST_CASE("large logits do not overflow", "[sampling]") {
  check(shares({1e30f, 1e30f, -1e30f}, {}), {0.5, 0.5, 0});
}

TEST_CASE("options of sampling that make no sense", "[sampling]") {
  CHECK_THROWS_WITH(smx_examples::check_sampling({.temperature = -1}), test::contains("temperature"));
  CHECK_THROWS_WITH(smx_examples::check_sampling({.top_k = -1}), test::contains("top-k"));
  CHECK_THROWS_WITH(smx_examples::check_sampling({.top_p = 0}), test::contains("top-p"));
  CHECK_THROWS_WITH(smx_examples::check_sampling({.top_p = 1.5}), test::contains("top-p"));
}
