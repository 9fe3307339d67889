// SPDX-License-Identifier: Apache-2.0
// Philox 4x32-10 against the known answers of Random123, and the distributions made from it.
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include <smx/core/rng.hpp>

#include "../catch.hpp"

namespace {

using smx::philox4x32;
using smx::philox_block;
using smx::random_stream;

TEST_CASE("Philox 4x32-10: the known answers of Random123 (kat_vectors)") {
  CHECK(philox4x32({{0, 0, 0, 0}}, 0, 0) == philox_block{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  CHECK(philox4x32({{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, 0xffffffff, 0xffffffff) ==
        philox_block{{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  CHECK(philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0) ==
        philox_block{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
  STATIC_REQUIRE(philox4x32({{0, 0, 0, 0}}, 0, 0).w[0] == 0x6627e8d5);
}

TEST_CASE("every bit of seed, stream and index matters") {
  random_stream const base{0x0123456789abcdef, 0xfedcba9876543210};
  std::set<std::uint64_t> seen{base.at(5).high};
  for (int bit = 0; bit < 64; ++bit) {
    std::uint64_t const flip = std::uint64_t(1) << bit;
    CHECK(seen.insert(random_stream{base.seed ^ flip, base.stream}.at(5).high).second);
    CHECK(seen.insert(random_stream{base.seed, base.stream ^ flip}.at(5).high).second);
    CHECK(seen.insert(base.at(5 ^ flip).high).second);
  }
}

struct moments {
  double mean = 0, variance = 0, skewness = 0, kurtosis = 0, least = INFINITY, most = -INFINITY;
};
template <class F> moments moments_of(int n, F const& f) {
  moments m;
  std::vector<double> x(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) x[static_cast<std::size_t>(i)] = f(static_cast<std::uint64_t>(i));
  for (double const v : x) {
    m.mean += v / n;
    m.least = std::fmin(m.least, v);
    m.most = std::fmax(m.most, v);
  }
  for (double const v : x) m.variance += (v - m.mean) * (v - m.mean) / n;
  for (double const v : x) {
    double const z = (v - m.mean) / std::sqrt(m.variance);
    m.skewness += z * z * z / n;
    m.kurtosis += z * z * z * z / n;
  }
  return m;
}

// Bounds of five standard errors: a right generator fails one such check in a million seeds, and the seed is
// fixed.
constexpr int samples = 200000;

TEST_CASE("uniform: in [0, 1), mean 1/2, variance 1/12, flat in each of 64 bins") {
  random_stream const r{42, 7};
  auto const m = moments_of(samples, [&](std::uint64_t i) { return r.uniform(i); });
  CHECK(m.least >= 0);
  CHECK(m.most < 1);
  CHECK(std::fabs(m.mean - 0.5) < 5 * std::sqrt(1.0 / 12 / samples));
  CHECK(std::fabs(m.variance - 1.0 / 12) < 5 * std::sqrt(1.0 / 180 / samples));
  std::vector<int> bins(64);
  for (int i = 0; i < samples; ++i)
    ++bins[static_cast<std::size_t>(r.uniform(static_cast<std::uint64_t>(i)) * 64)];
  double chi = 0;
  for (int const n : bins) chi += (n - samples / 64.0) * (n - samples / 64.0) / (samples / 64.0);
  CHECK(chi < 63 + 5 * std::sqrt(2.0 * 63));
}

TEST_CASE("normal: moments 0, 1, 0, 3 and the right share within one and two standard deviations") {
  random_stream const r{42, 8};
  auto const m = moments_of(samples, [&](std::uint64_t i) { return r.normal(i); });
  CHECK(std::fabs(m.mean) < 5 / std::sqrt(double(samples)));
  CHECK(std::fabs(m.variance - 1) < 5 * std::sqrt(2.0 / samples));
  CHECK(std::fabs(m.skewness) < 5 * std::sqrt(6.0 / samples));
  CHECK(std::fabs(m.kurtosis - 3) < 5 * std::sqrt(24.0 / samples));
  for (double const width : {1.0, 2.0}) {
    double const p = std::erf(width / std::sqrt(2.0));
    int inside = 0;
    for (int i = 0; i < samples; ++i)
      inside += std::fabs(r.normal(static_cast<std::uint64_t>(i))) < width ? 1 : 0;
    CHECK(std::fabs(inside / double(samples) - p) < 5 * std::sqrt(p * (1 - p) / samples));
  }
}

TEST_CASE("neighbouring entries and streams are uncorrelated") {
  random_stream const r{1, 0}, s{1, 1};
  double next = 0, other = 0;
  for (std::uint64_t i = 0; i < samples; ++i) {
    next += r.normal(i) * r.normal(i + 1);
    other += r.normal(i) * s.normal(i);
  }
  CHECK(std::fabs(next) < 5 * std::sqrt(double(samples)));
  CHECK(std::fabs(other) < 5 * std::sqrt(double(samples)));
}

TEST_CASE("normal stays finite at the ends of the uniform range") {
  // the largest radius: high = 0 gives sqrt(-2 log 2^-53) = 8.57
  random_stream const r{3, 3};
  for (std::uint64_t i = 0; i < samples; ++i) CHECK_NOFAIL(std::isfinite(r.normal(i)));
  CHECK(std::isfinite(r.normal(~std::uint64_t(0))));
}

}  // namespace
