// SPDX-License-Identifier: Apache-2.0
// ssd, nc_ssd and linear_attention beyond the laws: states handed over, packed sequences, snapshots, extreme
// decays, and what they refuse.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <smx/backend/cpu.hpp>
#include <smx/backend/reference.hpp>
#include <smx/mixers/linear_attention.hpp>
#include <smx/mixers/nc_ssd.hpp>
#include <smx/mixers/run.hpp>
#include <smx/mixers/ssd_values.hpp>

#include "tests/catch.hpp"
#include "tests/conformance/cases/ssd.hpp"

namespace {

using namespace smx;
using mixer = ssd<double>;
using smx::testing::cases;

/// A mixer with arrays of sizes of its own, dt around -1.
struct setup {
  cpu be{2};
  mixer m;
  parameters<mixer, cpu> w, dw;
  tensor<double, 4> x, dt, b, c, y;

  setup(mixer what, index_t batch, index_t groups, index_t length, index_t n, index_t p)
      : m(what),
        w(initialize(be, m, 1)),
        dw(be, m),
        x(random_normal<double>(be, {batch, m.heads, length, p}, 2)),
        dt(random_normal<double>(be, {batch, m.heads, length, 1}, 3)),
        b(random_normal<double>(be, {batch, groups, length, n}, 4)),
        c(random_normal<double>(be, {batch, groups, length, n}, 5)),
        y(x.extents()) {
    if (m.dt_bias)
      for (index_t h = 0; h < m.heads; ++h) w.write().dt_bias(h) = -1;
  }
  inputs_in<mixer, cpu> in(index_t first, index_t count) const {
    auto const rows = [&](auto const& v) { return slice(v.cview(), 2, first, count); };
    return {rows(x), rows(dt), rows(b), rows(c), {}, {}};
  }
  inputs_in<mixer, cpu> in() const { return in(0, x.extents()[2]); }
};

double difference(std::vector<double> const& a, std::vector<double> const& b) {
  double worst = a.size() == b.size() ? 0 : std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    double const d = std::fabs(a[i] - b[i]);
    worst = d <= worst ? worst : d;  // NaN is worst
  }
  return worst;
}
template <class V> std::vector<double> numbers_of(V const& v) { return smx::testing::values(v); }

template <class F> std::string refusal(F const& f) {
  try {
    f();
  } catch (precondition_error const& e) { return e.what(); }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("ssd: final states, and a sequence in two parts") {
  setup s({.heads = 5, .chunk = 16}, 2, 5, 77, 12, 9);
  auto const scan = cases<mixer>::scan(s.m, s.w.read(), s.in());
  test::cube want;
  auto const want_y = scan.forward(want);
  tensor<double, 4> final(s.m.state_extents(s.in()));
  s.m.forward(s.be, s.w, s.in(), {}, s.y.view(), final.view());
  // entries are sums of 77 terms of size 1, decays off by 77 roundings of sums below 100
  CHECK(difference(numbers_of(s.y.cview()), want_y.at) < 1e-11);
  CHECK(difference(numbers_of(final.cview()), want.at) < 1e-11);

  for (index_t cut : {1, 16, 40}) {
    tensor<double, 4> state(final.extents());
    s.m.forward(s.be, s.w, s.in(0, cut), {}, slice(s.y.view(), 2, 0, cut), state.view());
    auto rest = s.in(cut, 77 - cut);
    rest.initial = state.cview();
    s.m.forward(s.be, s.w, rest, {}, slice(s.y.view(), 2, cut, 77 - cut), state.view());
    CHECK(difference(numbers_of(s.y.cview()), want_y.at) < 1e-11);
    CHECK(difference(numbers_of(state.cview()), want.at) < 1e-11);
  }
}

TEST_CASE("ssd: gradients of the initial and of the final states") {
  setup s({.heads = 4, .chunk = 8}, 2, 2, 21, 5, 6);
  auto const initial = random_normal<double>(s.be, {2, 4, 5, 6}, 6),
             dfinal = random_normal<double>(s.be, {2, 4, 5, 6}, 7),
             dy = random_normal<double>(s.be, {2, 4, 21, 6}, 8);
  auto in = s.in();
  in.initial = initial.cview();
  auto const want =
      cases<mixer>::scan(s.m, s.w.read(), in).backward(test::cube(dy.cview()), test::cube(dfinal.cview()));
  auto const run = [&](auto& be) {
    parameters<mixer, cpu> dw(s.be, s.m);
    tensor<double, 4> dx(s.x.extents()), ddt(s.dt.extents()), db(s.b.extents()), dc(s.c.extents()),
        dinitial(initial.extents());
    auto frame = be.scope();
    s.m.backward(be, s.w, in, {}, dy.cview(), dfinal.cview(), dw.write(),
                 {dx.view(), ddt.view(), db.view(), dc.view(), {}, dinitial.view()});
    CHECK(difference(numbers_of(dx.cview()), want.v.at) < 1e-11);
    CHECK(difference(numbers_of(db.cview()), want.k.at) < 1e-11);
    CHECK(difference(numbers_of(dc.cview()), want.q.at) < 1e-11);
    CHECK(difference(numbers_of(dinitial.cview()), want.initial.at) < 1e-11);
    std::vector<double> decay(4);
    loops::for_each_index(s.dt.extents(), [&](extents<4> const& i) {
      double const a = -std::exp(s.w.read().a_log(i[1]));
      double const x = s.dt(i[0], i[1], i[2], 0) - 1, delta = std::log1p(std::exp(x));
      double const da = want.a(i[0], i[1], i[2], 0);
      decay[static_cast<std::size_t>(i[1])] += a * delta * da;
      double const d = (want.w(i[0], i[1], i[2], 0) + a * da) / (1 + std::exp(-x));
      if (!(std::fabs(d - ddt(i[0], i[1], i[2], 0)) < 1e-11)) FAIL_CHECK("ddt at " << i[2]);
    });
    CHECK(difference(numbers_of(dw.read().a_log), decay) < 1e-10);
  };
  run(s.be);
  reference_backend reference;
  run(reference);
}

TEST_CASE("ssd: packed sequences are sequences one by one") {
  setup s({.heads = 4, .chunk = 8}, 1, 2, 40, 6, 7);
  index_t const bounds[] = {0, 3, 3, 20, 21, 40};
  auto const initial = random_normal<double>(s.be, {5, 4, 6, 7}, 6);
  auto packed = s.m;
  packed.packing = {bounds, 5};
  auto in = s.in();
  in.initial = initial.cview();
  tensor<double, 4> final(initial.extents()), alone(s.x.extents()), last(initial.extents());
  packed.forward(s.be, s.w, in, {}, s.y.view(), final.view());
  for (index_t i = 0; i < 5; ++i) {
    index_t const count = bounds[i + 1] - bounds[i];
    auto const state = slice(last.view(), 0, i, 1);
    s.be.copy(slice(initial.cview(), 0, i, 1), state);
    if (count == 0) continue;
    auto one = s.in(bounds[i], count);
    one.initial = as_input(state);
    s.m.forward(s.be, s.w, one, {}, slice(alone.view(), 2, bounds[i], count), state);
  }
  // one row alone runs the kernel of a stream, which sums in another order
  CHECK(difference(numbers_of(s.y.cview()), numbers_of(alone.cview())) < 1e-13);
  CHECK(difference(numbers_of(final.cview()), numbers_of(last.cview())) < 1e-13);
}

TEST_CASE("ssd: snapshots are the states after each of the last tokens") {
  setup s({.heads = 3, .chunk = 4}, 2, 1, 11, 5, 6);
  auto state = s.m.make_state(s.be, s.w, s.in(), 20), step = s.m.make_state(s.be, s.w, s.in(), 20);
  tensor<double, 5> kept(extents<5>{4, 2, 3, 5, 6});
  s.m.prefill(s.be, s.w, s.in(), state, s.y.view(), kept.view());
  for (index_t t = 0; t < 11; ++t) {
    s.m.step(s.be, s.w, s.in(t, 1), step, slice(s.y.view(), 2, t, 1));
    if (t >= 7)
      CHECK(difference(numbers_of(fix_axis(kept.cview(), 0, 10 - t)), numbers_of(step.s.cview())) < 1e-13);
  }
  CHECK(difference(numbers_of(state.s.cview()), numbers_of(step.s.cview())) < 1e-13);
  CHECK(state.length == 11);
}

TEST_CASE("ssd: extreme decays are finite and right") {
  for (index_t chunk : {4, 64}) {
    setup s({.heads = 2, .dt_bias = false, .softplus = false, .chunk = chunk}, 1, 1, 70, 3, 4);
    for (index_t h = 0; h < 2; ++h) {
      s.w.write().a_log(h) = std::log(16.);
      for (index_t t = 0; t < 70; ++t) s.dt(0, h, t, 0) = t % 7 == 0 ? 1e4 : t % 3 == 0 ? 2 : 1e-3;
    }
    test::cube final;
    auto const want = cases<mixer>::scan(s.m, s.w.read(), s.in()).forward(final);
    auto const run = [&](auto& be) {
      auto frame = be.scope();
      s.m.forward(be, s.w, s.in(), {}, s.y.view());
      // 64 roundings of exponents whose sums reach 8000, on entries of 1e5
      CHECK(difference(numbers_of(s.y.cview()), want.at) < 1e-6);
    };
    run(s.be);
    reference_backend reference;
    run(reference);
  }
  // a gate of -inf forgets everything
  cpu be(1);
  linear_attention<float, decay_kind::token> const m;
  auto const q = random_normal<float>(be, {1, 1, 9, 4}, 1);
  auto g = random_normal<float>(be, {1, 1, 9, 1}, 2);
  g(0, 0, 5, 0) = -std::numeric_limits<float>::infinity();
  auto const y = forward(be, m, {}, q, q, q, g);
  double own = 0;
  for (index_t n = 0; n < 4; ++n) own += 0.5 * static_cast<double>(q(0, 0, 5, n) * q(0, 0, 5, n));
  for (index_t p = 0; p < 4; ++p)
    CHECK(static_cast<double>(y(0, 0, 5, p)) == test::Approx(own * static_cast<double>(q(0, 0, 5, p))));
}

TEST_CASE("ssd: what it refuses") {
  setup s({.heads = 4}, 1, 2, 6, 3, 5);
  auto const message = [&](mixer const& m, inputs_in<mixer, cpu> const& x) {
    return refusal([&] { m.forward(s.be, s.w, x, {}, s.y.view()); });
  };
  auto const b = random_normal<double>(s.be, {1, 3, 6, 3}, 1);
  auto in = s.in();
  in.b = in.c = b.cview();
  CHECK_THAT(message(s.m, in), test::contains("ssd: b: expected a number of groups that divides the heads"));
  CHECK_THAT(message({.heads = 4, .dt_min = 1, .dt_max = 0.5}, s.in()),
             test::contains("dt_min, dt_max: expected"));
  CHECK_THAT(message({.heads = 4, .dt_min = -1}, s.in()), test::contains("dt_min, dt_max: expected"));
  double const nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THAT(message({.heads = 4, .dt_max = nan}, s.in()), test::contains("dt_min, dt_max: expected"));
  CHECK_THAT(message({.heads = 4, .chunk = 0}, s.in()), test::contains("ssd: chunk: expected"));
  CHECK_THAT(message({.heads = 3}, s.in()), test::contains("ssd: x: expected extents (*, 3, *, *)"));

  auto const with = [&](std::vector<index_t> const& bounds) {
    auto m = s.m;
    m.packing = {bounds.data(), static_cast<index_t>(bounds.size()) - 1};
    return message(m, s.in());
  };
  CHECK_THAT(with({1, 6}), test::contains("packing: bounds: expected a first bound of 0, got 1"));
  CHECK_THAT(with({0, 4, 3, 6}), test::contains("bounds that do not decrease, got 3"));
  CHECK_THAT(with({0, 4, 7}), test::contains("a last bound that is the length, got 7"));
  CHECK_THAT(with({0, 4, 5}), test::contains("a last bound that is the length, got 5"));
  auto null = s.m;
  null.packing = {nullptr, 2};
  CHECK_THAT(message(null, s.in()), test::contains("packing: bounds: expected"));
  setup two({.heads = 4}, 2, 2, 6, 3, 5);
  index_t const whole[] = {0, 6};
  two.m.packing = {whole, 1};
  CHECK_THAT(refusal([&] { two.m.forward(two.be, two.w, two.in(), {}, two.y.view()); }),
             test::contains("packing: expected a batch of 1, got 2"));

  auto const state = random_normal<double>(s.be, {1, 4, 5, 3}, 1);  // P x N
  in = s.in();
  in.initial = state.cview();
  CHECK_THAT(message(s.m, in), test::contains("ssd: initial: expected extents (1, 4, 3, 5)"));
}

TEST_CASE("ssd: a refused call leaves the state as it was") {
  setup s({.heads = 4}, 1, 2, 6, 3, 5);
  auto state = s.m.make_state(s.be, s.w, s.in(), 8);
  s.m.prefill(s.be, s.w, s.in(), state, s.y.view());
  auto const before = numbers_of(state.s.cview());
  tensor<double, 5> many(extents<5>{3, 1, 4, 3, 5}), wrong(extents<5>{2, 1, 4, 5, 3});
  tensor<double, 4> narrow(extents<4>{1, 4, 2, 4});
  auto const two = s.in(0, 2);
  auto const y = slice(s.y.view(), 2, 0, 2);
  auto broken = two;
  broken.c = s.in(0, 1).c;
  auto started = two;
  auto const initial = state.s.clone();
  started.initial = initial.cview();
  setup other({.heads = 4}, 1, 2, 6, 2, 5);
  auto foreign = other.m.make_state(other.be, other.w, other.in(), 8);
  std::string const refused[] = {
      refusal([&] { s.m.prefill(s.be, s.w, s.in(0, 3), state, slice(s.y.view(), 2, 0, 3)); }),
      refusal([&] { s.m.prefill(s.be, s.w, two, state, y, many.view()); }),
      refusal([&] { s.m.prefill(s.be, s.w, two, state, y, wrong.view()); }),
      refusal([&] { s.m.prefill(s.be, s.w, two, state, narrow.view()); }),
      refusal([&] { s.m.prefill(s.be, s.w, broken, state, y); }),
      refusal([&] { s.m.prefill(s.be, s.w, started, state, y); }),
      refusal([&] { s.m.step(s.be, s.w, two, state, y); }),
      refusal([&] { s.m.prefill(s.be, s.w, two, foreign, y); }),
  };
  char const* const words[] = {"ssd: state: expected room", "ssd: snapshots: expected",
                               "ssd: snapshots: expected",  "ssd: y: expected extents",
                               "ssd: c: expected extents",  "ssd: initial: expected none",
                               "one token along L, got 2",  "ssd: state: expected extents"};
  for (std::size_t i = 0; i < std::size(words); ++i) CHECK_THAT(refused[i], test::contains(words[i]));
  CHECK(numbers_of(state.s.cview()) == before);
  CHECK(state.length == 6);
  CHECK_THAT(refusal([&] { s.m.make_state(s.be, s.w, s.in(), 0); }),
             test::contains("ssd: capacity: expected"));
}

TEST_CASE("ssd: numbers that are refused on request") {
  setup s({.heads = 2, .dt_max = 0.5}, 1, 1, 4, 3, 5);
  check_ssd_values(s.m, s.w.read(), s.in());
  double const infinity = std::numeric_limits<double>::infinity(), good = s.dt(0, 1, 2, 0);
  for (double bad : {infinity, -infinity, std::nan("")}) {
    s.dt(0, 1, 2, 0) = bad;
    CHECK_THAT(refusal([&] { check_ssd_values(s.m, s.w.read(), s.in()); }),
               test::contains("ssd: dt: entry 6: expected a finite number"));
  }
  auto m = s.m;
  m.softplus = false;
  s.dt.view();
  for (index_t h = 0; h < 2; ++h)
    for (index_t t = 0; t < 4; ++t) s.dt(0, h, t, 0) = 1.25;  // 0.25 with the bias
  check_ssd_values(m, s.w.read(), s.in());
  s.dt(0, 1, 2, 0) = 1.75;
  CHECK_THAT(refusal([&] { check_ssd_values(m, s.w.read(), s.in()); }),
             test::contains("ssd: dt: entry 6: expected a step size from dt_min to dt_max, got 0.75"));
  s.dt(0, 1, 2, 0) = good;
  s.w.write().a_log(1) = infinity;
  CHECK_THAT(refusal([&] { check_ssd_values(s.m, s.w.read(), s.in()); }),
             test::contains("ssd: a_log: entry 1: expected exp(a_log) to be finite and positive"));
  double const a[] = {-1, -16, 0.5};
  double to[] = {7, 7, 7};
  CHECK_THAT(refusal([&] {
               ssd_a_log<double>({a, extents<1>{3}}, {to, extents<1>{3}});
             }),
             test::contains("ssd_a_log: A: entry 2: expected a negative number, got 0.5"));
  CHECK(to[0] == 7);
  ssd_a_log<double>({a, extents<1>{2}}, {to, extents<1>{2}});
  CHECK(to[1] == test::Approx(std::log(16.)));
}

TEST_CASE("nc_ssd: numbers that are refused on request") {
  cpu be(1);
  nc_ssd<double> const m{.heads = 2, .dt_max = 0.5};
  auto w = initialize(be, m, 1);
  auto const x = random_normal<double>(be, {1, 2, 4, 5}, 1), b = random_normal<double>(be, {1, 1, 4, 3}, 2);
  auto dt = random_normal<double>(be, {1, 2, 4, 1}, 3);
  auto const said = [&] {
    return refusal([&] { check_ssd_values(m, w.read(), inputs_in<nc_ssd<double>, cpu>{x, dt, b, b}); });
  };
  CHECK(said() == "nothing was thrown");
  double const good = dt(0, 1, 3, 0);
  dt(0, 1, 3, 0) = std::nan("");
  CHECK_THAT(said(), test::contains("dt: entry 7: expected a finite number"));
  dt(0, 1, 3, 0) = good;
  w.write().a_log(0) = std::nan("");
  CHECK_THAT(said(), test::contains("a_log: entry 0: expected exp(a_log) to be finite and positive"));
}

TEST_CASE("nc_ssd and linear attention: what they refuse") {
  cpu be(1);
  auto const x = random_normal<float>(be, {1, 4, 6, 5}, 1), dt = random_normal<float>(be, {1, 4, 6, 1}, 1),
             b = random_normal<float>(be, {1, 2, 6, 3}, 1), c = random_normal<float>(be, {1, 2, 7, 3}, 1),
             three = random_normal<float>(be, {1, 3, 6, 3}, 1);
  nc_ssd<float> m{.heads = 4};
  auto const w = initialize(be, m, 1);
  CHECK_THAT(refusal([&] { forward(be, m, w, x, dt, b, c); }), test::contains("nc_ssd: c: expected extents"));
  CHECK_THAT(refusal([&] { forward(be, m, w, x, dt, three, three); }),
             test::contains("nc_ssd: b: expected a number of groups that divides the heads"));
  m.dt_min = -1;
  CHECK_THAT(refusal([&] { forward(be, m, w, x, dt, b, b); }), test::contains("nc_ssd: dt_min, dt_max"));
  linear_attention<float> const a;
  CHECK_THAT(refusal([&] { forward(be, a, {}, three, three, x); }),
             test::contains("linear_attention: v: expected a number of heads that is a multiple"));
  linear_attention<float, decay_kind::head> const heads{.heads = 3};
  CHECK_THAT(refusal([&] { forward(be, heads, initialize(be, heads, 1), b, b, x); }),
             test::contains("linear_attention: v: expected extents (*, 3, *, *)"));
}
