// SPDX-License-Identifier: Apache-2.0
// map, generate and copy: any rank, strides, broadcasts and element types.
#include "../scalars.hpp"
#include "arrays.hpp"

namespace {

using namespace test;

template <int R> extents<R> sizes(numbers& random, index_t most) {
  extents<R> e;
  for (int r = 0; r < R; ++r) e[r] = 1 + random.below(most);
  return e;
}

/// 2 x - 3 y + z: three inputs that cannot be exchanged.
struct mix {
  template <class T> T operator()(T x, T y, T z) const { return T(2) * x - T(3) * y + z; }
};

template <class T, int R> void check_map(order how, std::uint64_t seed, index_t most) {
  numbers random(seed);
  auto const e = sizes<R>(random, most);
  array<T, R> x(e, how, seed + 1), y(e, how, seed + 2), z(e, how, seed + 3), to(e, how, seed + 4);
  auto broadcast = z.in();  // one axis with stride 0
  int const axis = static_cast<int>(random.below(R));
  broadcast.str[axis] = 0;
  std::vector<double> exact, bound;
  each(e, [&](extents<R> const& i) {
    exact.push_back(2 * double(x(i)) - 3 * double(y(i)) + double(entry(broadcast, i)));
    bound.push_back(4 * eps<T> * 6);
  });
  on_each_backend(
      [&](auto& be) {
        auto result = to;
        be.map(mix{}, result.out(), x.in(), y.in(), broadcast);
        return result;
      },
      [&](auto const& got) { CHECK(agree(got.values(), exact, bound)); });
}

TEMPLATE_TEST_CASE("map: ranks 1 to 5 with contiguous, padded, permuted, negative and zero strides", "",
                   TEST_SCALARS) {
  std::uint64_t seed = 10;
  for (order const how : {order::rows, order::padded, order::shuffled})
    for (int repeat = 0; repeat < 8; ++repeat) {
      seed += 10;
      check_map<TestType, 1>(how, seed, 70);
      check_map<TestType, 2>(how, seed, 40);
      check_map<TestType, 3>(how, seed, 17);
      check_map<TestType, 4>(how, seed, 9);
      check_map<TestType, 5>(how, seed, 6);
    }
}

TEST_CASE("map: long rows and many rows, beyond what one thread takes at once") {
  check_map<float, 1>(order::rows, 1, 150000);
  check_map<float, 1>(order::shuffled, 2, 150000);
  check_map<double, 2>(order::padded, 3, 400);
  for (extents<3> const& e :
       {extents<3>{1, 1, 33000}, extents<3>{33000, 1, 1}, extents<3>{1, 33000, 2}, extents<3>{3, 5, 4099}}) {
    array<float, 3> x(e, order::rows, 5);
    auto exact = x.values();
    for (double& v : exact) v = -v;
    on_each_backend(
        [&](auto& be) {
          array<float, 3> to(e, order::padded, 6);
          be.map(smx::negate{}, to.out(), x.in());
          return to;
        },
        [&](auto const& got) { CHECK(agree(got.values(), exact, std::vector<double>(exact.size(), 0.0))); });
  }
}

TEST_CASE("map: transposed operands of every size around the blocks of a transposition") {
  for (index_t const m : {1, 7, 16, 31, 64, 65, 130})
    for (index_t const n : {1, 8, 15, 33, 64, 100}) {
      array<float, 3> x({2, n, m}, order::padded, 7), y({2, m, n}, order::rows, 8);
      auto const turned = swap_axes(x.in(), 1, 2);  // (2,m,n)
      std::vector<double> exact;
      each(y.ext(), [&](extents<3> const& i) { exact.push_back(double(x({i[0], i[2], i[1]}) + y(i))); });
      on_each_backend(
          [&](auto& be) {
            auto to = y;
            be.map(smx::add{}, to.out(), turned, smx::as_input(to.out()));
            return to;
          },
          [&](auto const& got) {
            CHECK(agree(got.values(), exact, std::vector<double>(exact.size(), 0.0)));
          });
    }
}

TEMPLATE_TEST_CASE("map in place: the output may be any of the inputs", "", TEST_SCALARS) {
  using T = TestType;
  for (order const how : {order::rows, order::padded, order::shuffled}) {
    array<T, 4> x({3, 2, 5, 41}, how, 20), y({3, 2, 5, 41}, how, 21);
    std::vector<double> exact, bound;
    each(x.ext(), [&](extents<4> const& i) {
      exact.push_back(2 * double(x(i)) - 3 * double(y(i)) + double(x(i)));
      bound.push_back(24 * eps<T>);
    });
    on_each_backend(
        [&](auto& be) {
          auto result = x;
          be.map(mix{}, result.out(), result.in(), y.in(), result.in());
          return result;
        },
        [&](auto const& got) { CHECK(agree(got.values(), exact, bound)); });
  }
}

TEST_CASE("map: no input, scalars by stride 0 on every axis, inputs of another type, infinities and NaN") {
  array<float, 3> to({4, 5, 6}, order::shuffled, 30);
  on_each_backend(
      [&](auto& be) {
        auto result = to;
        be.map(smx::constant<float>{2.5f}, result.out());
        return result;
      },
      [&](auto const& got) {
        CHECK(agree(got.values(), std::vector<double>(120, 2.5), std::vector<double>(120, 0.0)));
      });

  double const scale = 3;
  view<double const, 3, host_space> const scalar(&scale, {4, 5, 6}, {0, 0, 0});
  array<float, 3> x({4, 5, 6}, order::rows, 31);
  x({1, 2, 3}) = std::numeric_limits<float>::quiet_NaN();
  x({3, 4, 5}) = -std::numeric_limits<float>::infinity();
  auto exact = x.values();
  for (double& v : exact) v *= 3;
  std::vector<double> bound;
  for (double const v : exact) bound.push_back(eps<float> * std::fabs(v));
  on_each_backend(
      [&](auto& be) {
        auto result = to;
        be.map([](float a, double b) { return static_cast<float>(static_cast<double>(a) * b); }, result.out(),
               x.in(), scalar);
        return result;
      },
      [&](auto const& got) { CHECK(agree(got.values(), exact, bound)); });
}

TEST_CASE("map and copy reject extents that differ, and name the argument") {
  auto const rejects = [](auto& be) {
    array<float, 3> x({2, 3, 4}, order::rows, 1), y({2, 3, 5}, order::rows, 2);
    CHECK_THROWS_WITH(be.map(smx::negate{}, y.out(), x.in()),
                      contains("map: x: expected extents (2, 3, 5), got (2, 3, 4)"));
    CHECK_THROWS_WITH(be.copy(x.in(), y.out()),
                      contains("copy: y: expected extents (2, 3, 4), got (2, 3, 5)"));
  };
  smx::reference_backend reference;
  rejects(reference);
  smx::cpu cpu(2);
  rejects(cpu);
  smx::traced<smx::cpu> traced(2);
  rejects(traced);
}

TEST_CASE("generate: f of the index, also where the work is cut") {
  for (extents<3> const& e :
       {extents<3>{3, 4, 5}, extents<3>{1, 1, 40000}, extents<3>{50, 30, 40}, extents<3>{40000, 1, 1}}) {
    std::vector<double> exact;
    each(e, [&](extents<3> const& i) { exact.push_back(double(10000 * i[0] + 100 * i[1] + i[2])); });
    on_each_backend(
        [&](auto& be) {
          array<double, 3> to(e, order::shuffled, 40);
          be.generate(
              [](extents<3> const& i) { return static_cast<double>(10000 * i[0] + 100 * i[1] + i[2]); },
              to.out());
          return to;
        },
        [&](auto const& got) { CHECK(agree(got.values(), exact, std::vector<double>(exact.size(), 0.0))); });
  }
}

template <class X, class Y> void check_copy() {
  std::uint64_t seed = 50;
  for (order const from : {order::rows, order::padded, order::shuffled})
    for (order const to : {order::rows, order::padded, order::shuffled})
      for (extents<4> const& e :
           {extents<4>{2, 3, 5, 7}, extents<4>{1, 40, 1, 50}, extents<4>{2, 65, 33, 1}}) {
        array<X, 4> x(e, from, ++seed);
        std::vector<double> exact;  // one conversion, from the definition of the types
        each(e, [&](extents<4> const& i) {
          exact.push_back(static_cast<double>(
              static_cast<Y>(static_cast<smx::compute_t<Y>>(static_cast<smx::compute_t<X>>(x(i))))));
        });
        on_each_backend(
            [&](auto& be) {
              array<Y, 4> y(e, to, seed + 100);
              be.copy(x.in(), y.out());
              return y;
            },
            [&](auto const& got) {
              CHECK(agree(got.values(), exact, std::vector<double>(exact.size(), 0.0)));
            });
      }
}

TEST_CASE("copy: any strides, between all element types") {
  check_copy<float, float>();
  check_copy<double, double>();
  check_copy<smx::bf16, smx::bf16>();
  check_copy<float, double>();
  check_copy<double, float>();
  check_copy<float, smx::bf16>();
  check_copy<smx::bf16, float>();
  check_copy<float, smx::f16>();
  check_copy<smx::f16, double>();
}

TEST_CASE("copy: transpositions of every size around the blocks, in both directions") {
  for (index_t const m : {1, 3, 15, 16, 17, 64, 129})
    for (index_t const n : {1, 2, 16, 31, 48, 65}) {
      array<double, 3> x({2, m, n}, order::padded, 60);
      auto const turned = swap_axes(x.in(), 1, 2);  // (2,n,m)
      auto const exact = x.values();
      std::vector<double> const none(exact.size(), 0.0);
      on_each_backend(
          [&](auto& be) {
            array<double, 3> back({2, m, n}, order::rows, 61), middle({2, n, m}, order::padded, 62);
            be.copy(turned, middle.out());
            be.copy(swap_axes(middle.in(), 1, 2), back.out());
            return back;
          },
          [&](auto const& got) { CHECK(agree(got.values(), exact, none)); });
    }
}

TEST_CASE("copy within one type keeps every bit, the payload of a NaN included") {
  std::vector<smx::f16> patterns(65536);
  for (std::size_t n = 0; n < patterns.size(); ++n) patterns[n].bits = static_cast<std::uint16_t>(n);
  auto const check = [&](auto& be) {
    std::vector<smx::f16> to(patterns.size());
    be.copy(view<smx::f16 const, 1, host_space>(patterns.data(), {65536}),
            view<smx::f16, 1, host_space>(to.data(), {65536}));
    CHECK(std::memcmp(to.data(), patterns.data(), 2 * patterns.size()) == 0);
  };
  smx::reference_backend reference;
  check(reference);
  smx::cpu cpu(2);
  check(cpu);
}

}  // namespace
