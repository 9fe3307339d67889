// SPDX-License-Identifier: Apache-2.0
#include <smx/nn/schedule.hpp>

#include <cmath>

#include <tests/catch.hpp>

using smx::decay_law;
using smx::rate_schedule;

TEST_CASE("schedule: warm-up rises to the peak, decay falls to the final fraction", "[nn]") {
  rate_schedule s{.peak = 2, .warmup = 4, .steps = 12, .law = decay_law::linear, .final_fraction = 0.25};
  CHECK(s.at(0) == test::Approx(0.4));
  CHECK(s.at(3) == test::Approx(1.6));
  CHECK(s.at(4) == 2);
  CHECK(s.at(8) == test::Approx(2 * (1 - 0.75 / 2)));
  CHECK(s.at(12) == test::Approx(0.5));
  CHECK(s.at(1000) == test::Approx(0.5));
  s.law = decay_law::cosine;
  CHECK(s.at(4) == 2);
  CHECK(s.at(6) == test::Approx(2 * (0.25 + 0.75 * (1 + std::sqrt(0.5)) / 2)));
  CHECK(s.at(8) == test::Approx(2 * (0.25 + 0.75 / 2)));
  CHECK(s.at(12) == test::Approx(0.5));
  s.law = decay_law::constant;
  CHECK(s.at(3) == test::Approx(1.6));
  CHECK(s.at(4) == 2);
  CHECK(s.at(1000) == 2);
}

TEST_CASE("schedule: no step is wasted at a rate of zero", "[nn]") {
  for (auto const law : {decay_law::constant, decay_law::linear, decay_law::cosine})
    for (smx::index_t warmup : {0, 1, 10})
      for (smx::index_t step = 0; step < 10; ++step)
        CHECK(rate_schedule{.peak = 1, .warmup = warmup, .steps = 10, .law = law}.at(step) > 0);
}

TEST_CASE("schedule: options that make no sense are refused by name", "[nn]") {
  CHECK_THROWS_WITH((rate_schedule{.peak = -1}.at(0)), test::contains("peak"));
  CHECK_THROWS_WITH((rate_schedule{.peak = std::nan("")}.at(0)), test::contains("peak"));
  CHECK_THROWS_WITH((rate_schedule{.steps = 0}.at(0)), test::contains("steps: expected at least 1, got 0"));
  CHECK_THROWS_WITH((rate_schedule{.warmup = 2, .steps = 1}.at(0)),
                    test::contains("warmup: expected 0 to the number of steps, got 2"));
  CHECK_THROWS_WITH((rate_schedule{.final_fraction = 2}.at(0)), test::contains("final_fraction"));
  CHECK_THROWS_WITH(rate_schedule{}.at(-1), test::contains("step: expected a number that is not negative"));
}
