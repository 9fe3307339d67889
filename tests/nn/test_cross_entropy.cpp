// SPDX-License-Identifier: Apache-2.0
#include <smx/nn/cross_entropy.hpp>

#include <cmath>
#include <cstring>
#include <limits>

#include <tests/catch.hpp>
#include <tests/nn/backends.hpp>

using smx::extents;
using smx::index_t;
using smx::loss_reduction;

namespace {

/// The formula, row by row in long double.
template <class T>
double oracle(smx::cross_entropy<T> const& f, smx::tensor<T, 2> const& z, std::vector<index_t> const& targets,
              std::vector<T> const& weights) {
  long double loss = 0, count = 0;
  index_t const classes = z.extents()[1];
  auto const weight = [&](index_t c) {
    return weights.empty() ? 1.0L : static_cast<long double>(weights[static_cast<std::size_t>(c)]);
  };
  for (index_t i = 0; i < z.extents()[0]; ++i) {
    index_t const t = targets[static_cast<std::size_t>(i)];
    if (t == f.ignore_index) continue;
    auto const entry = [&](index_t c) { return static_cast<long double>(z(i, c)); };
    long double top = entry(0), sum = 0, each = 0;
    for (index_t c = 1; c < classes; ++c) top = std::max(top, entry(c));
    for (index_t c = 0; c < classes; ++c) sum += std::exp(entry(c) - top);
    long double const lse = top + std::log(sum);
    for (index_t c = 0; c < classes; ++c) each += weight(c) * (lse - entry(c));
    long double const e = f.label_smoothing;
    loss += (1 - e) * weight(t) * (lse - entry(t)) + e / static_cast<long double>(classes) * each;
    count += weight(t);
  }
  return static_cast<double>(f.reduce == loss_reduction::mean ? loss / count : loss);
}

template <class T> struct problem {
  smx::tensor<T, 2> z;
  std::vector<index_t> targets;
  std::vector<T> weights;

  problem(index_t n, index_t classes, bool weighted) : z(test::normal<T, 2>({n, classes}, 5, 3)) {
    auto const t = test::ids_below<1>(classes, {n}, 9);
    targets = test::values(t);
    for (std::size_t i = 0; i < targets.size(); i += 4) targets[i] = -100;
    if (weighted)
      for (index_t c = 0; c < classes; ++c) weights.push_back(T(0.5) + static_cast<T>(c % 5));
  }
  smx::view<index_t const, 1, smx::host_space> target() const {
    return {targets.data(), {static_cast<index_t>(targets.size())}};
  }
  smx::view<T const, 1, smx::host_space> weight() const {
    return {weights.data(), {static_cast<index_t>(weights.size())}};
  }
  index_t rows() const { return z.extents()[0]; }
};

}  // namespace

TEST_CASE("cross entropy: loss and gradient on every backend", "[nn]") {
  for (double const smoothing : {0.0, 0.1, 1.0})
    for (bool const weighted : {false, true})
      for (auto const how : {loss_reduction::mean, loss_reduction::sum}) {
        smx::cross_entropy<double> const f{.label_smoothing = smoothing, .reduce = how};
        problem<double> p(11, 7, weighted);
        double const expected = oracle(f, p.z, p.targets, p.weights);
        smx::tensor<double, 2> slope({11, 7});
        for (index_t i = 0; i < p.z.size(); ++i) {
          double const step = 1e-5, at = p.z.data()[i];
          p.z.data()[i] = at + step;
          double const above = oracle(f, p.z, p.targets, p.weights);
          p.z.data()[i] = at - step;
          double const below = oracle(f, p.z, p.targets, p.weights);
          p.z.data()[i] = at;
          slope.data()[i] = (above - below) / (2 * step);
        }
        test::on_host_backends([&](auto& be) {
          double loss = 0, alone = 0;
          smx::tensor<double, 2> dz({11, 7});
          smx::tensor<double, 1> rows({11});
          auto const to = [](double& x) { return smx::view<double, 1, smx::host_space>(&x, {1}); };
          f.forward(be, p.weight(), p.z.cview(), p.target(), {}, to(alone));
          f.forward_backward(be, p.weight(), p.z.cview(), p.target(), 0.5, rows.view(), to(loss), dz.view());
          CHECK(loss == test::Approx(expected).epsilon(1e-13));
          CHECK(alone == loss);
          for (index_t i = 0; i < dz.size(); ++i)
            CHECK(dz.data()[i] == test::Approx(0.5 * slope.data()[i]).margin(1e-8));
          for (index_t i = 0; i < 11; i += 4) CHECK((rows(i) == 0 && dz(i, 3) == 0));
          auto copy = p.z.clone();  // the gradient may take the place of the logits
          f.forward_backward(be, p.weight(), copy.cview(), p.target(), 0.5, {}, to(loss), copy.view());
          CHECK(std::memcmp(copy.data(), dz.data(), dz.bytes()) == 0);
          CHECK(loss == alone);
        });
      }
}

TEST_CASE("cross entropy: a vocabulary, in single precision, for any number of threads", "[nn]") {
  problem<float> const p(301, 5003, false);
  smx::cross_entropy<float> const f{.label_smoothing = 0.1};
  double const expected = oracle(f, p.z, p.targets, p.weights);
  std::vector<float> bits;
  for (int threads : {1, 2, 3, 5}) {
    smx::cpu be(threads);
    smx::tensor<float, 2> dz(p.z.extents());
    double const loss = f.value_and_gradient(be, p.z, p.target(), dz);
    CHECK(f.value(be, p.z, p.target()) == loss);
    // each row's sums are in double; its loss, about 10, and the mean are rounded to float
    CHECK(std::abs(loss - expected) < 4e-7 * expected);
    std::vector<float> const got = test::values(dz);
    if (bits.empty()) bits = got;
    CHECK(std::memcmp(got.data(), bits.data(), got.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("cross entropy: a confident row keeps the digits of its small loss", "[nn]") {
  smx::tensor<float, 2> z({1, 2});
  z(0, 0) = 1000.f;
  z(0, 1) = 985.f;  // the loss is log(1 + exp(-15)) = 3.06e-7, the spacing of floats at 1000 is 6e-5
  index_t const target = 0;
  smx::cpu be(1);
  double const loss = smx::cross_entropy<float>{}.value(be, z, {&target, {1}});
  CHECK(loss == test::Approx(std::log1p(std::exp(-15.0))).epsilon(0.2));
  CHECK(loss > 0);
}

TEST_CASE("cross entropy: rows that do not count are never read into a result", "[nn]") {
  problem<double> p(9, 4, false);
  for (index_t c = 0; c < 4; ++c) p.z(4, c) = c == 0 ? std::numeric_limits<double>::quiet_NaN() : HUGE_VAL;
  for (double const smoothing : {0.0, 0.2})
    test::on_host_backends([&](auto& be) {
      smx::cross_entropy<double> const f{.label_smoothing = smoothing};
      smx::tensor<double, 2> dz({9, 4});
      CHECK(std::isfinite(f.value_and_gradient(be, p.z, p.target(), dz)));
      for (double const d : test::values(dz)) CHECK(std::isfinite(d));

      std::vector<index_t> const none(9, -100);
      smx::view<index_t const, 1, smx::host_space> const nothing(none.data(), {9});
      CHECK(f.count_targets(nothing) == 0);
      CHECK(f.count_targets(p.target()) == 6);
      CHECK(std::isnan(f.value_and_gradient(be, p.z, nothing, dz)));
      CHECK(test::values(dz) == std::vector<double>(36, 0.0));
      auto sum = f;
      sum.reduce = loss_reduction::sum;
      CHECK(sum.value(be, p.z, nothing) == 0);
    });
}

TEST_CASE("cross entropy: strided logits are the same as contiguous ones", "[nn]") {
  problem<float> const p(7, 6, true);
  smx::cross_entropy<float> const f{.label_smoothing = 0.1};
  test::on_host_backends([&](auto& be) {
    smx::tensor<float, 2> wide({7, 11}), wide_to({7, 13}), dz({7, 6});
    auto const z = smx::slice(wide.view(), 1, 3, 6), to = smx::slice(wide_to.view(), 1, 2, 6);
    be.copy(p.z.cview(), z);
    float a = 0, b = 0;
    f.forward_backward(be, p.weight(), smx::as_input(z), p.target(), 1, {}, {&a, {1}}, to);
    f.forward_backward(be, p.weight(), p.z.cview(), p.target(), 1, {}, {&b, {1}}, dz.view());
    CHECK(a == b);
    for (index_t i = 0; i < 7; ++i)
      for (index_t c = 0; c < 6; ++c) CHECK(to(i, c) == dz(i, c));
  });
}

TEST_CASE("cross entropy: the workspace is what was planned, and O(N) beside the logits", "[nn]") {
  problem<float> const p(301, 5003, false);
  for (int threads : {1, 3})
    for (bool const gradient : {false, true}) {
      smx::cpu be(threads);
      smx::cross_entropy<float> const f{.label_smoothing = 0.1};
      smx::tensor<float, 2> dz(p.z.extents());
      if (gradient)
        f.value_and_gradient(be, p.z, p.target(), dz);
      else
        f.value(be, p.z, p.target());
      auto const planned = test::planned_workspace(be, [&](auto& plan) {
        auto const z = test::shape<float const>(p.z.extents());
        auto const t = test::shape<index_t const>(extents<1>{301});
        auto const loss = test::shape<float>(extents<1>{1});
        if (gradient)
          f.forward_backward(plan, {}, z, t, 1, {}, loss, test::shape<float>(p.z.extents()));
        else
          f.forward(plan, {}, z, t, {}, loss);
      });
      CHECK(planned == be.workspace_bytes());
      CHECK(planned < (gradient ? p.z.bytes() / 20 : static_cast<std::size_t>(threads) << 20));
    }
}

TEST_CASE("cross entropy: bad input is refused by name", "[nn]") {
  problem<float> p(5, 4, true);
  smx::cpu be(1);
  smx::cross_entropy<float> f;
  smx::tensor<float, 2> dz({5, 4});
  CHECK_THROWS_WITH(f.value(be, p.z, smx::slice(p.target(), 0, 0, 4)),
                    test::contains("cross_entropy: targets: expected extents (5), got (4)"));
  float loss = 0;
  auto const to = smx::view<float, 1, smx::host_space>(&loss, {1});
  CHECK_THROWS_WITH(f.forward(be, smx::slice(p.weight(), 0, 0, 3), p.z.cview(), p.target(), {}, to),
                    test::contains("cross_entropy: class_weights: expected extents (4), got (3)"));
  CHECK_THROWS_WITH(f.value_and_gradient(be, p.z, p.target(), smx::slice(dz.view(), 1, 0, 3)),
                    test::contains("cross_entropy: dlogits"));
  CHECK_THROWS_WITH(f.forward(be, {}, p.z.cview(), p.target(), {dz.data(), {4}}, to),
                    test::contains("cross_entropy: row_losses"));
  CHECK_THROWS_WITH(f.value(be, smx::swap_axes(dz.cview(), 0, 1), smx::slice(p.target(), 0, 0, 4)),
                    test::contains("cross_entropy: logits: expected a contiguous last axis"));
  CHECK_THROWS_WITH(f.value_and_gradient(be, smx::slice(p.z.cview(), 0, 0, 4),
                                         smx::slice(p.target(), 0, 0, 4), smx::slice(p.z.view(), 0, 1, 4)),
                    test::contains("cross_entropy: dlogits: expected the logits or memory apart from them"));
  for (index_t const bad : {index_t{4}, index_t{-1}}) {
    p.targets[2] = bad;
    CHECK_THROWS_WITH(f.value(be, p.z, p.target()),
                      test::contains("cross_entropy: targets(2): expected a class, 0 to 3, or -100, got " +
                                     std::to_string(bad)));
  }
  f.label_smoothing = 1.5;
  CHECK_THROWS_WITH(f.value(be, p.z, p.target()), test::contains("cross_entropy: label_smoothing"));
}
