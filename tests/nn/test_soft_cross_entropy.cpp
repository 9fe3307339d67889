// SPDX-License-Identifier: Apache-2.0
#include <smx/nn/soft_cross_entropy.hpp>

#include <cmath>
#include <cstring>

#include <tests/catch.hpp>
#include <tests/nn/backends.hpp>

using smx::index_t;

namespace {

double oracle(smx::tensor<double, 2> const& z, smx::tensor<double, 2> const& q, bool mean) {
  long double loss = 0;
  auto const [n, classes] = z.extents().n;
  for (index_t i = 0; i < n; ++i) {
    long double sum = 0;
    for (index_t c = 0; c < classes; ++c) sum += std::exp(static_cast<long double>(z(i, c)));
    for (index_t c = 0; c < classes; ++c) loss += q(i, c) * (std::log(sum) - z(i, c));
  }
  return static_cast<double>(mean ? loss / n : loss);
}

smx::tensor<double, 2> targets() {
  auto q = test::normal<double, 2>({6, 5}, 3);
  for (index_t i = 0; i < q.size(); ++i) q.data()[i] = std::abs(q.data()[i]);  // no row sums to 1
  return q;
}

}  // namespace

TEST_CASE("soft cross entropy: loss and gradient on every backend", "[nn]") {
  auto const q = targets();
  for (bool const mean : {true, false}) {
    auto z = test::normal<double, 2>({6, 5}, 2, 3);
    double const expected = oracle(z, q, mean);
    smx::tensor<double, 2> slope({6, 5});
    for (index_t i = 0; i < z.size(); ++i) {
      double const step = 1e-5, at = z.data()[i];
      z.data()[i] = at + step;
      double const above = oracle(z, q, mean);
      z.data()[i] = at - step;
      double const below = oracle(z, q, mean);
      z.data()[i] = at;
      slope.data()[i] = (above - below) / (2 * step);
    }
    smx::soft_cross_entropy<double> const f{mean ? smx::loss_reduction::mean : smx::loss_reduction::sum};
    test::on_host_backends([&](auto& be) {
      double loss = 0;
      auto const to = smx::view<double, 1, smx::host_space>(&loss, {1});
      smx::tensor<double, 2> dz({6, 5});
      smx::tensor<double, 1> rows({6});
      f.forward_backward(be, z.cview(), q.cview(), 0.5, rows.view(), to, dz.view());
      CHECK(loss == test::Approx(expected).epsilon(1e-13));
      for (index_t i = 0; i < dz.size(); ++i)
        CHECK(dz.data()[i] == test::Approx(0.5 * slope.data()[i]).margin(1e-8));
      auto copy = z.clone();
      f.forward_backward(be, copy.cview(), q.cview(), 0.5, {}, to, copy.view());
      CHECK(std::memcmp(copy.data(), dz.data(), dz.bytes()) == 0);
    });
  }
}

TEST_CASE("soft cross entropy: a class without probability may have no chance", "[nn]") {
  auto z = test::normal<double, 2>({6, 5}, 2);
  auto q = targets();
  z(2, 3) = -HUGE_VAL;
  q(2, 3) = 0;
  test::on_host_backends([&](auto& be) {
    double loss = 0;
    smx::tensor<double, 2> dz({6, 5});
    smx::soft_cross_entropy<double>{}.forward_backward(be, z.cview(), q.cview(), 1, {}, {&loss, {1}},
                                                       dz.view());
    CHECK(std::isfinite(loss));
    CHECK(dz(2, 3) == 0);
  });
}

TEST_CASE("soft cross entropy: bits, workspace and bad input", "[nn]") {
  auto const z = test::normal<float, 2>({97, 3001}, 2), q = test::normal<float, 2>({97, 3001}, 3);
  std::vector<float> bits;
  for (int threads : {1, 2, 5}) {
    smx::cpu be(threads);
    float loss = 0;
    smx::tensor<float, 2> dz({97, 3001});
    smx::soft_cross_entropy<float>{}.forward_backward(be, z.cview(), q.cview(), 1, {}, {&loss, {1}},
                                                      dz.view());
    auto got = test::values(dz);
    got.push_back(loss);
    if (bits.empty()) bits = got;
    CHECK(std::memcmp(got.data(), bits.data(), got.size() * sizeof(float)) == 0);
    CHECK(be.workspace_bytes() == test::planned_workspace(be, [&](auto& plan) {
            auto const shape = test::shape<float const>(z.extents());
            smx::soft_cross_entropy<float>{}.forward_backward(plan, shape, shape, 1, {},
                                                              test::shape<float>(smx::extents<1>{1}),
                                                              test::shape<float>(z.extents()));
          }));
  }
  smx::cpu be(1);
  float loss = 0;
  smx::tensor<float, 2> dz({97, 3001});
  auto const run = [&](smx::view<float const, 2, smx::host_space> targets,
                       smx::view<float, 2, smx::host_space> to) {
    smx::soft_cross_entropy<float>{}.forward_backward(be, z.cview(), targets, 1, {}, {&loss, {1}}, to);
  };
  CHECK_THROWS_WITH(run(smx::slice(q.cview(), 0, 0, 96), dz.view()),
                    test::contains("soft_cross_entropy: targets"));
  CHECK_THROWS_WITH(run(q.cview(), smx::slice(dz.view(), 1, 0, 3)),
                    test::contains("soft_cross_entropy: dlogits"));
  CHECK_THROWS_WITH(run(dz.cview(), dz.view()), test::contains("apart from the targets"));
}
