// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include <smx/backend/cpu.hpp>
#include <smx/smx.hpp>

#include "tests/catch.hpp"

namespace {
// Entries are single products or short sums of products: a few roundings of numbers below 10.
double const tight = 1e-13;
}  // namespace

TEST_CASE("the matrix of a Monarch mixer is the product of its factors' entries") {
  smx::cpu be(1);
  smx::monarch<double> const m{.length = 12, .factors = {3, 4}};  // K = 3, P = Q = 4
  auto const w = smx::initialize(be, m, 1);
  auto const dense = smx::materialize(be, m, w, 12);
  for (int s = 0; s < 3; ++s)
    for (int q = 0; q < 4; ++q)
      for (int k = 0; k < 3; ++k)
        for (int p = 0; p < 4; ++p) {
          double const expected = w.read().factor[1](q, s, k) * w.read().factor[0](k, q, p);
          REQUIRE(std::abs(dense(0, s * 4 + q, k * 4 + p) - expected) < tight);
        }
}

TEST_CASE("the matrices of a long convolution are Toeplitz, one for each channel") {
  smx::cpu be(1);
  auto const check = [&](auto const& m, auto const& lag) {
    auto const w = smx::initialize(be, m, 2);
    auto const dense = smx::materialize(be, m, w, 9, 3);
    for (int d = 0; d < 3; ++d)
      for (int i = 0; i < 9; ++i)
        for (int j = 0; j < 9; ++j) {
          double const expected = lag(w.read(), d, i, j) + (i == j ? w.read().skip(d) : 0.0);
          REQUIRE(std::abs(dense(d, i, j) - expected) < tight);
        }
  };
  check(smx::long_convolution<double>{.channels = 3, .taps = 5},
        [](auto const& w, int d, int i, int j) { return i >= j && i - j < 5 ? w.k(d, i - j) : 0.0; });
  check(smx::long_convolution<double, smx::convolution_kind::bidirectional>{.channels = 3, .taps = 9},
        [](auto const& w, int d, int i, int j) { return i >= j ? w.k(d, i - j) : w.k_rev(d, j - i - 1); });
  check(smx::long_convolution<double, smx::convolution_kind::circular>{.channels = 3, .taps = 9},
        [](auto const& w, int d, int i, int j) { return w.k(d, (i - j + 9) % 9); });
}

TEST_CASE("the matrix of a dense mixer is its weights, without those that a causal one hides") {
  smx::cpu be(1);
  smx::dense<double, true> const m{.length = 5};
  auto const w = smx::initialize(be, m, 3);
  auto const dense = smx::materialize(be, m, w, 5);
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 5; ++j) REQUIRE(dense(0, i, j) == (j <= i ? w.read().w(i, j) : 0.0));
}

TEST_CASE("along the channels the matrix acts on every row") {
  smx::cpu be(1);
  smx::block_diagonal<double> const m{.channels = 6, .output_channels = 4, .blocks = 2, .bias = false};
  auto const w = smx::initialize(be, m, 4);
  auto const dense = smx::materialize_channels(be, m, w, 6);
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 6; ++j)
      REQUIRE(std::abs(dense(i, j) - (i / 2 == j / 3 ? w.read().weight(i / 2, i % 2, j % 3) : 0.0)) < tight);
}

TEST_CASE("the matrix of attention is its probabilities") {
  smx::cpu be(1);
  auto const q = smx::random_normal<double>(be, {1, 2, 4, 3}, 5),
             k = smx::random_normal<double>(be, {1, 1, 4, 3}, 6);
  auto const p = smx::materialize(be, smx::attention<double, smx::causal_mask>{}, q, k);
  for (int h = 0; h < 2; ++h)
    for (int i = 0; i < 4; ++i) {
      double sum = 0, weight[4] = {};
      for (int j = 0; j <= i; ++j) {
        double score = 0;
        for (int d = 0; d < 3; ++d) score += q(0, h, i, d) * k(0, 0, j, d);
        sum += weight[j] = std::exp(score / std::sqrt(3.0));
      }
      for (int j = 0; j < 4; ++j) REQUIRE(std::abs(p(0, h, i, j) - weight[j] / sum) < tight);
    }
}
