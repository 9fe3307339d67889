// SPDX-License-Identifier: Apache-2.0
// The rule that chooses factors, and the stages that follow from them.
#include <cmath>
#include <vector>

#include <smx/structured/monarch_factors.hpp>

#include "../catch.hpp"

namespace {

using smx::check_factors;
using smx::index_t;
using smx::make_stages;
using smx::monarch_digits;
using smx::monarch_factors;
using smx::monarch_stage;
using smx::padded_length;
using test::contains;

TEST_CASE("factors cover the length and pad in the top digit only") {
  for (int p = 1; p <= 6; ++p)
    for (index_t n = 1; n <= 3000; ++n) {
      auto const f = monarch_factors(n, p);
      index_t const product = padded_length(f);
      bool const covers = f.size() == p && product >= n && product - product / f[0] < n;
      if (!covers) FAIL("n = " << n << ", p = " << p);
      check_factors("f", f, n);
    }
  SUCCEED();
}

TEST_CASE("factors are balanced: no digit but the top one is more than 1.5 times the root of what is left") {
  for (int p = 2; p <= 4; ++p)
    for (index_t n = 1; n <= 20000; n += 7) {
      auto const f = monarch_factors(n, p);
      index_t left = n;
      for (int a = p - 1; a > 0; --a) {
        double const root = std::pow(static_cast<double>(left), 1.0 / (a + 1));
        double const ratio = static_cast<double>(f[a]) / root;
        // a root that is rounded can be off by a half
        if (std::fmax(ratio, 1 / ratio) > std::fmax(1.5, (root + 0.5) / root) + 1e-9 && f[a] != 1)
          FAIL("n = " << n << ", p = " << p << ", digit " << f[a]);
        left = (left + f[a] - 1) / f[a];
      }
    }
  SUCCEED();
}

TEST_CASE("documented factors; a divisor near the root is preferred to padding") {
  CHECK(monarch_factors(4096, 2) == monarch_digits{64, 64});
  CHECK(monarch_factors(1000, 2) == monarch_digits{40, 25});
  CHECK(monarch_factors(10007, 2) == monarch_digits{101, 100});
  CHECK(monarch_factors(4096, 3) == monarch_digits{16, 16, 16});
  CHECK(monarch_factors(1, 2) == monarch_digits{1, 1});
  CHECK(monarch_factors(7, 1) == monarch_digits{7});
  for (index_t k = 1; k <= 200; ++k) CHECK(monarch_factors(k * k, 2) == monarch_digits{k, k});
}

TEST_CASE("every divisor within 1.5 of the root is found, the nearest one taken") {
  for (index_t n = 2; n <= 5000; ++n) {
    double const root = std::sqrt(static_cast<double>(n));
    double nearest = 1.5;
    for (index_t d = 1; d <= n; ++d) {
      double const ratio = std::fmax(static_cast<double>(d) / root, root / static_cast<double>(d));
      if (n % d == 0) nearest = std::fmin(nearest, ratio);
    }
    auto const f = monarch_factors(n, 2);
    double const got = std::fmax(static_cast<double>(f[1]) / root, root / static_cast<double>(f[1]));
    if (nearest < 1.5 - 1e-9 && (padded_length(f) != n || got > nearest + 1e-9)) FAIL("n = " << n);
  }
  SUCCEED();
}

TEST_CASE("stages chain, cover every entry once, and lie where their digits are") {
  for (auto const& [in, out] : std::vector<std::pair<monarch_digits, monarch_digits>>{
           {{4, 3}, {4, 3}}, {{4, 3}, {2, 5}}, {{2, 3, 4}, {2, 3, 4}}, {{2, 3, 4}, {5, 1, 2}}, {{3}, {7}}}) {
    auto const s = make_stages(in, out);
    REQUIRE(s.size() == in.size());
    CHECK(s[0].input_length() == padded_length(in));
    CHECK(s[s.size() - 1].output_length() == padded_length(out));
    for (int a = 0; a < s.size(); ++a) {
      int const digit = s.size() - 1 - a;  // the lowest digit first
      CHECK(s[a].in == in[digit]);
      CHECK(s[a].out == out[digit]);
      if (a > 0) CHECK(s[a].input_length() == s[a - 1].output_length());
      index_t high = 1, low = 1;
      for (int b = 0; b < digit; ++b) high *= in[b];
      for (int b = digit + 1; b < in.size(); ++b) low *= out[b];
      CHECK(s[a].high == high);
      CHECK(s[a].low == low);
      CHECK(s[a].blocks() == high * low);
    }
  }
}

TEST_CASE("butterfly stages are the two stages of factors where the layouts meet") {
  auto const b = smx::butterfly_stages(4, 3, 5, 3, 2, 4);  // k q p, l = q, s, r = k
  CHECK(b == make_stages({4, 5}, {2, 3}));
  CHECK_THROWS_WITH(smx::butterfly_stages(4, 3, 5, 5, 2, 4), contains("butterfly_stages: l r"));
}

TEST_CASE("bad lengths, orders and factors are named") {
  CHECK_THROWS_WITH(monarch_factors(0, 2), contains("monarch_factors: n: expected at least 1, got 0"));
  CHECK_THROWS_WITH(monarch_factors(-5, 2), contains("got -5"));
  CHECK_THROWS_WITH(monarch_factors(8, 0),
                    contains("monarch_factors: p: expected an order from 1 to 16, got 0"));
  CHECK_THROWS_WITH(monarch_factors(8, 17), contains("got 17"));
  CHECK_THROWS_WITH(padded_length({4, 0}),
                    contains("monarch: factors: expected every factor to be at least 1, got 0"));
  CHECK_THROWS_WITH(padded_length({index_t(1) << 32, index_t(1) << 32}), contains("a product below 2^63"));
  CHECK_THROWS_WITH(check_factors("monarch: factors", {4, 4}, 17),
                    contains("monarch: factors: expected factors that multiply up"));
  CHECK_THROWS_AS(check_factors("f", {4, 4}, 12),
                  smx::precondition_error);  // a whole step of the top digit is padding
  CHECK_NOTHROW(check_factors("f", {4, 4}, 13));
  CHECK_THROWS_AS(check_factors("f", {}, 1), smx::precondition_error);
  CHECK_THROWS_WITH(make_stages({2, 3}, {2}), contains("monarch: output_factors"));
}

}  // namespace
