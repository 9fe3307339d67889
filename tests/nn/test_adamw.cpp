// SPDX-License-Identifier: Apache-2.0
#include <smx/nn/adamw.hpp>

#include <cmath>
#include <cstring>
#include <limits>

#include <smx/mixers/run.hpp>
#include <tests/catch.hpp>
#include <tests/nn/backends.hpp>

using smx::index_t;

namespace {

/// A matrix and a vector; large enough for several tasks of a pool.
template <class T> struct model {
  using scalar = T;
  static constexpr smx::traits about{.name = "model"};
  index_t rows = 61, columns = 1003;
  friend bool operator==(model const&, model const&) = default;
  template <class A> struct weights {
    smx::array<A, T, 2> matrix;
    smx::array<A, T, 1> vector;
  };
  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    smx::initializer const normal{smx::initializer::law::normal, 1};
    f(smx::weight_info<2>{"matrix", {rows, columns}, normal}, w.matrix...);
    f(smx::weight_info<1>{"vector", {columns}, normal}, w.vector...);
  }
};

template <class T> using params = smx::parameters_in<model<T>, smx::host_space>;

template <class P> std::vector<typename P::scalar> entries(P& p) {
  return {p.all().ptr, p.all().ptr + p.size()};
}

template <class P> bool same_bits(P& a, P& b) {
  return std::memcmp(a.all().ptr, b.all().ptr, a.bytes()) == 0;
}

/// The formulas of Loshchilov and Hutter for one weight.
struct scalar_adamw {
  double w, m = 0, v = 0;
  void step(smx::adamw const& f, double rate, double g, double decay, int t) {
    m = f.beta1 * m + (1 - f.beta1) * g;
    v = f.beta2 * v + (1 - f.beta2) * g * g;
    double const mean = m / (1 - std::pow(f.beta1, t)), square = v / (1 - std::pow(f.beta2, t));
    w = w - rate * decay * w - rate * mean / (std::sqrt(square) + f.epsilon);
  }
};

/// A matrix, and a vector that is not trained.
template <class T> struct with_table {
  using scalar = T;
  static constexpr smx::traits about{.name = "with_table"};
  friend bool operator==(with_table const&, with_table const&) = default;
  template <class A> using weights = typename model<T>::template weights<A>;
  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    f(smx::weight_info<2>{"matrix", {3, 4}, {smx::initializer::law::constant, 1}}, w.matrix...);
    f(smx::weight_info<1>{"vector", {5}, {smx::initializer::law::constant, 1}, false}, w.vector...);
  }
};

}  // namespace

TEST_CASE("adamw: each weight follows the formula; vectors decay only when asked", "[nn]") {
  model<double> const m{3, 5};
  for (bool const vectors : {false, true}) {
    smx::adamw const f{.decay = 0.3, .decay_vectors = vectors};
    test::on_host_backends([&](auto& be) {
      auto w = smx::initialize(be, m, 1);
      params<double> dw(be, m);
      smx::adamw_state_in<model<double>, smx::host_space> s(be, m);
      std::vector<scalar_adamw> matrix, vector;
      for (index_t i = 0; i < 15; ++i) matrix.push_back({w.read().matrix.ptr[i]});
      for (index_t i = 0; i < 5; ++i) vector.push_back({w.read().vector.ptr[i]});
      for (int t = 1; t <= 4; ++t) {
        dw = smx::initialize(be, m, 10 + static_cast<std::uint64_t>(t));
        CHECK(f.update(be, m, dw, 0.02, s, w));
        for (std::size_t i = 0; i < 15; ++i) {
          matrix[i].step(f, 0.02, dw.read().matrix.ptr[i], 0.3, t);
          CHECK(w.read().matrix.ptr[i] == test::Approx(matrix[i].w).epsilon(1e-13));
          CHECK(s.second.read().matrix.ptr[i] == test::Approx(matrix[i].v).epsilon(1e-13));
        }
        for (std::size_t i = 0; i < 5; ++i) {
          vector[i].step(f, 0.02, dw.read().vector.ptr[i], vectors ? 0.3 : 0, t);
          CHECK(w.read().vector.ptr[i] == test::Approx(vector[i].w).epsilon(1e-13));
        }
      }
      CHECK(s.steps == 4);
    });
  }
}

TEST_CASE("adamw: without rate nothing moves, and gaps between weights stay zero", "[nn]") {
  model<float> const m{3, 5};
  smx::cpu be(2);
  auto w = smx::initialize(be, m, 1), before = smx::initialize(be, m, 1), dw = smx::initialize(be, m, 2);
  smx::adamw_state<model<float>, smx::cpu> s(be, m);
  smx::adamw{.decay = 0.1}.update(be, m, dw, 0, s, w);
  CHECK(same_bits(w, before));
  smx::adamw{.decay = 0.1}.update(be, m, dw, 0.5, s, w);
  CHECK(!same_bits(w, before));
  CHECK(entries(w)[15] == 0);
}

TEST_CASE("adamw: a table that is not trained keeps its bits, whatever decays", "[nn]") {
  smx::cpu be(1);
  using M = with_table<double>;
  M const m{};
  auto w = smx::initialize(be, m, 1);
  smx::parameters<M, smx::cpu> dw(be, m);
  smx::adamw_state<M, smx::cpu> s(be, m);
  REQUIRE(smx::adamw{.decay = 0.5, .decay_vectors = true}.update(be, m, dw, 0.1, s, w));
  for (index_t i = 0; i < 5; ++i) CHECK(w.read().vector(i) == 1);
  CHECK(w.read().matrix(2, 3) == 0.95);
}

TEST_CASE("adamw: the same bits for any number of threads", "[nn]") {
  model<float> const m;
  smx::adamw const f{.most_norm = 1};
  std::vector<float> bits;
  for (int threads : {1, 2, 3, 7}) {
    smx::cpu be(threads);
    auto w = smx::initialize(be, m, 1);
    smx::adamw_state<model<float>, smx::cpu> s(be, m);
    for (std::uint64_t t = 0; t < 3; ++t) {
      auto dw = smx::initialize(be, m, 10 + t);
      f.update(be, m, dw, 0.01, s, w);
    }
    std::vector<float> got = entries(w);
    got.push_back(s.norm(0));
    if (bits.empty()) bits = got;
    CHECK(std::memcmp(got.data(), bits.data(), got.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("gradient norm: all entries count, whatever the size", "[nn]") {
  for (index_t const n : {1, 7, 4095, 4096, 4097, 40'000, 300'001}) {
    auto const g = test::normal<float, 1>({n}, 3);
    double sum = 0;
    for (float const x : test::values(g)) sum += static_cast<double>(x) * static_cast<double>(x);
    test::on_host_backends([&](auto& be) {
      smx::tensor<float, 1> norm({1});
      smx::gradient_norm<std::remove_reference_t<decltype(be)>, float>(be, g.cview(), norm.view());
      // one rounding of each partial sum and of the root; squares are rounded to float
      CHECK(static_cast<double>(norm(0)) == test::Approx(std::sqrt(sum)).epsilon(2e-7));
    });
  }
}

TEST_CASE("adamw: clipping scales long gradients only", "[nn]") {
  model<double> const m{2, 3};
  smx::cpu be(1);
  params<double> w(be, m), dw(be, m);
  smx::adamw_state<model<double>, smx::cpu> s(be, m);
  dw.write().matrix(1, 2) = 3;
  dw.write().vector(0) = 4;
  smx::adamw{.most_norm = 10}.update(be, m, dw, 0.1, s, w);
  CHECK(s.norm(0) == 5);
  CHECK(dw.read().vector(0) == 4);
  smx::adamw{.most_norm = 2}.update(be, m, dw, 0.1, s, w);
  CHECK(s.norm(0) == 5);
  CHECK(dw.read().vector(0) == test::Approx(1.6).epsilon(1e-6));
  CHECK(dw.read().matrix(1, 2) == test::Approx(1.2).epsilon(1e-6));
}

TEST_CASE("adamw: a gradient that is no number changes nothing and is reported", "[nn]") {
  model<float> const m{3, 5};
  for (float const bad : {std::numeric_limits<float>::quiet_NaN(), HUGE_VALF, -HUGE_VALF})
    for (bool const decoupled : {true, false})
      test::on_host_backends([&](auto& be) {
        smx::adamw const f{.decoupled = decoupled, .most_norm = 1};
        auto w = smx::initialize(be, m, 1), before = smx::initialize(be, m, 1),
             dw = smx::initialize(be, m, 2);
        smx::adamw_state_in<model<float>, smx::host_space> s(be, m);
        params<float> zero(be, m);
        CHECK(smx::non_finite_weight(m, dw.read()).empty());
        dw.write().vector(3) = bad;
        CHECK(!f.update(be, m, dw, 0.1, s, w));
        CHECK(same_bits(w, before));
        CHECK(same_bits(s.first, zero));
        CHECK(same_bits(s.second, zero));
        CHECK(s.steps == 0);
        CHECK(!std::isfinite(s.norm(0)));
        CHECK(smx::non_finite_weight(m, dw.read()) == "vector");
      });
}

TEST_CASE("adamw: what a device runs without waiting leaves the weights alone too", "[nn]") {
  float const nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(smx::detail::first_moment<float>{0.1f, 0.1f}(2.f, nan, nan) == 2.f);
  CHECK(smx::detail::second_moment<float>{0.9f, 0.1f, 0.1f}(2.f, nan, nan, 1.f) == 2.f);
  CHECK(smx::detail::adam_step<float>{0.9f, 0.1f, 1.f, 1e-8f}(2.f, 1.f, 1.f, nan) == 2.f);
  CHECK(smx::detail::clip_entry<float>{1.f}(2.f, HUGE_VALF) == 2.f);
  CHECK(smx::detail::clip_entry<float>{10.f}(2.f, 5.f) == 2.f);
  CHECK(smx::detail::clip_entry<float>{10.f}(2.f, 40.f) == test::Approx(0.5f));
}

TEST_CASE("adamw: the workspace is what was planned", "[nn]") {
  model<float> const m;
  for (int threads : {1, 3}) {
    smx::cpu be(threads);
    auto w = smx::initialize(be, m, 1), dw = smx::initialize(be, m, 2);
    smx::adamw_state<model<float>, smx::cpu> s(be, m);
    smx::adamw const f{.most_norm = 1};
    f.update(be, m, dw, 0.1, s, w);
    auto const planned = test::planned_workspace(be, [&](auto& plan) {
      using B = std::remove_reference_t<decltype(plan)>;
      smx::parameters<model<float>, B> pw(plan, m), pdw(plan, m);
      smx::adamw_state<model<float>, B> ps(plan, m);
      f.update(plan, m, pdw, 0.1, ps, pw);
    });
    CHECK(planned == be.workspace_bytes());
  }
}

TEST_CASE("adamw: options that make no sense are refused by name", "[nn]") {
  model<float> const m{2, 3}, other{3, 30};
  smx::cpu be(1);
  params<float> w(be, m), dw(be, m), wrong(be, other);
  smx::adamw_state<model<float>, smx::cpu> s(be, m), s_wrong(be, other);
  auto const update = [&](smx::adamw const& f, double rate = 0.1) { f.update(be, m, dw, rate, s, w); };
  CHECK_THROWS_WITH(update({}, -1), test::contains("adamw: rate"));
  CHECK_THROWS_WITH(update({}, std::nan("")), test::contains("adamw: rate"));
  CHECK_THROWS_WITH(update({.beta1 = 1}), test::contains("adamw: beta1"));
  CHECK_THROWS_WITH(update({.beta2 = -0.1}), test::contains("adamw: beta2"));
  CHECK_THROWS_WITH(update({.epsilon = 0}), test::contains("adamw: epsilon"));
  CHECK_THROWS_WITH(update({.decay = -1}), test::contains("adamw: decay"));
  CHECK_THROWS_WITH(update({.most_norm = -1}), test::contains("adamw: most_norm"));
  CHECK_THROWS_WITH(smx::adamw{}.update(be, m, wrong, 0.1, s, w), test::contains("adamw: dw"));
  CHECK_THROWS_WITH(smx::adamw{}.update(be, m, dw, 0.1, s_wrong, w), test::contains("adamw: s"));
  smx::tensor<float, 1> norm({2});
  CHECK_THROWS_WITH((smx::gradient_norm<smx::cpu, float>(be, dw.all(), norm.view())),
                    test::contains("gradient_norm: norm"));
}
