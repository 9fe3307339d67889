// SPDX-License-Identifier: Apache-2.0
// Modified scores: every combination of modifiers against the dense formula, forward and backward; slopes and
// buckets against numbers from their papers' code.
#include <smx/backend/cpu.hpp>
#include <smx/mixers/merge.hpp>
#include <smx/testing/laws/forward.hpp>
#include <smx/testing/laws/gradients.hpp>
#include <smx/testing/laws/invariance.hpp>

#include "tests/catch.hpp"
#include "tests/conformance/cases/attention_scores.hpp"

namespace {

using namespace smx;

/// A problem whose gates, if there are any, are positive.
template <class M> testing::problem<M> with_gates(testing::example<M> const& e) {
  testing::problem<M> p(e);
  for (index_t n = 0; n < p.given.inputs.gates.size(); ++n) {
    double& gate = p.given.inputs.gates.data()[n];
    gate = std::fabs(gate) + 0.25;
  }
  return p;
}

/// Left out of score modifiers or not, by the bits of a number.
struct combination {
  bool softcap, alibi, relative, sink, dropout, bias, gates;
  explicit combination(int bits)
      : softcap(bits & 1),
        alibi(bits & 2),
        relative(bits & 4),
        sink(bits & 8),
        dropout(bits & 16),
        bias(bits & 32),
        gates(bits & 64) {}
};

template <class MaskType> void check_combinations() {
  using M = attention<double, MaskType, modified_scores>;
  for (int bits = 0; bits < 128; ++bits) {
    combination const with(bits);
    auto ext = testing::cases<M>::plain::shapes(2, 4, 2, 6, 9, 3, 4);
    ext.push_back(with.bias ? extents<4>{1, 4, 6, 9} : extents<4>{});
    ext.push_back(with.gates ? extents<4>{2, 1, 6, 9} : extents<4>{});
    M m{.mask = test::mask_maker<MaskType>::make(6, 9)};
    m.scores.heads = 4;
    m.scores.offset = 3;
    if (with.softcap) m.scores.softcap = 1.5;
    if (with.alibi) m.scores.alibi = 8;
    if (with.relative) m.scores.relative = {6, 7, bits % 3 == 0 ? false : true};
    m.scores.sink = with.sink;
    if (with.dropout) m.scores.dropout = 0.3, m.scores.seed = static_cast<std::uint64_t>(bits);
    auto const p = with_gates<M>({m, ext});
    for (auto const& be : {testing::on_reference<M>(), testing::runner<M>::on([] { return cpu(2); })}) {
      CAPTURE(bits);
      CHECK(testing::laws::forward_equals_oracle(be, p).value_or("") == "");
      CHECK(testing::laws::backward_is_adjoint(be, p).value_or("") == "");
    }
  }
}

}  // namespace

TEST_CASE("every combination of score modifiers equals the dense formula") {
  check_combinations<full_mask>();
  check_combinations<window_mask>();
}

TEST_CASE("dropout depends on the seed alone, not on threads") {
  using M = attention<double, causal_mask, modified_scores>;
  auto const ext = testing::cases<M>::plain::shapes(3, 4, 2, 150, 150, 8, 8);
  testing::problem<M> p({M{.scores = {.dropout = 0.5, .seed = 3}}, ext});
  auto const one = testing::runner<M>::on([] { return cpu(1); });
  auto const y = testing::forward_values(one, p.mixer, p.w(), p.x());
  auto const g = testing::train(one, p).g;
  for (int threads : {2, 3, 4}) {
    auto const many = testing::runner<M>::on([=] { return cpu(threads); });
    CHECK(testing::identical("y", testing::forward_values(many, p.mixer, p.w(), p.x()), y).value_or("") ==
          "");
    auto const same = testing::train(many, p).g;
    for (std::size_t i = 0; i < g.dx.size(); ++i)
      CHECK(testing::identical("gradient", same.dx[i], g.dx[i]).value_or("") == "");
  }
  p.mixer.scores.seed = 4;
  CHECK(testing::forward_values(one, p.mixer, p.w(), p.x()) != y);
}

TEST_CASE("dropout leaves out the share that it says, and keeps the mean") {
  cpu be(2);
  index_t const keys = 200;
  tensor<double, 4> q(extents<4>{1, 1, 500, 1}), v(extents<4>{1, 1, keys, 1});
  testing::fill(v.view(), 1.0);
  attention<double, full_mask, modified_scores> const mix{.scores = {.dropout = 0.2, .seed = 1}};
  auto const y = forward(be, mix, {}, q, v, v);  // each row: the share that stayed / 0.8
  double mean = 0;
  for (double one : testing::values(y.cview())) mean += one / 500;
  // 100000 draws: the mean is off by 0.5 / sqrt(100000) = 0.0016 at one standard deviation, of 0.8
  CHECK(mean == test::Approx(1).margin(0.008));
}

TEST_CASE("gates of 0 close, gates of 1 change nothing") {
  using M = attention<double, full_mask, modified_scores>;
  cpu be(1);
  auto const q = random_normal<double>(be, {1, 2, 5, 4}, 1), k = random_normal<double>(be, {1, 2, 6, 4}, 2),
             v = random_normal<double>(be, {1, 2, 6, 3}, 3), dy = random_normal<double>(be, {1, 2, 5, 3}, 4);
  auto gates = random_normal<double>(be, {1, 1, 5, 6}, 5);
  testing::fill(gates.view(), 1.0);
  in<cpu, double, 4> const no_bias;
  CHECK(testing::values(forward(be, M{}, {}, q, k, v, no_bias, gates).cview()) ==
        testing::values(forward(be, M{}, {}, q, k, v).cview()));

  auto const t = std::make_unique<bool[]>(30);
  for (index_t n = 0; n < 30; ++n) {
    t[static_cast<std::size_t>(n)] = n % 4 != 1 && n / 6 != 2;  // row 2 sees nothing
    gates.data()[n] = t[static_cast<std::size_t>(n)] ? 1 : 0;
  }
  attention<double, boolean_mask> const masked{.mask = {{t.get(), extents<4>{1, 1, 5, 6}}}};
  auto const y = forward(be, M{}, {}, q, k, v, no_bias, gates), z = forward(be, masked, {}, q, k, v);
  for (std::size_t n = 0; n < 30; ++n)
    CHECK(testing::values(y.cview())[n] == test::Approx(testing::values(z.cview())[n]).margin(1e-14));
  auto const g = gradients(be, M{}, {}, q, k, v, no_bias, gates, dy);
  for (index_t n = 0; n < 30; ++n) {
    CHECK(std::isfinite(g.x.gates.data()[n]));
    if (!t[static_cast<std::size_t>(n)]) CHECK(g.x.gates.data()[n] == 0);
  }
}

TEST_CASE("masked bias and gates are not read") {
  using M = attention<double, causal_mask, modified_scores>;
  cpu be(1);
  auto const q = random_normal<double>(be, {1, 1, 9, 4}, 1), dy = random_normal<double>(be, {1, 1, 9, 4}, 2);
  auto bias = random_normal<double>(be, {1, 1, 9, 9}, 3);
  auto gates = bias.clone();
  for (index_t n = 0; n < 81; ++n) gates.data()[n] = 0.5 + bias.data()[n] * bias.data()[n];
  M const mix{.scores = {.softcap = 2}};
  auto const y = forward(be, mix, {}, q, q, q, bias, gates);
  auto const g = gradients(be, mix, {}, q, q, q, bias, gates, dy);
  for (index_t i = 0; i < 9; ++i)
    for (index_t j = i + 1; j < 9; ++j) bias.data()[i * 9 + j] = gates.data()[i * 9 + j] = NAN;
  CHECK(testing::values(forward(be, mix, {}, q, q, q, bias, gates).cview()) == testing::values(y.cview()));
  auto const again = gradients(be, mix, {}, q, q, q, bias, gates, dy);
  CHECK(testing::values(again.x.q.cview()) == testing::values(g.x.q.cview()));
  CHECK(testing::values(again.x.k.cview()) == testing::values(g.x.k.cview()));
  CHECK(testing::values(again.x.bias.cview()) == testing::values(g.x.bias.cview()));
  CHECK(testing::values(again.x.gates.cview()) == testing::values(g.x.gates.cview()));
}

TEST_CASE("a NaN in a masked key and value reaches no gradient") {
  using M = attention<double, boolean_mask, modified_scores>;
  cpu be(1);
  auto const q = random_normal<double>(be, {1, 2, 9, 4}, 1), dy = random_normal<double>(be, {1, 2, 9, 4}, 2);
  auto k = random_normal<double>(be, {1, 2, 9, 4}, 3);
  bool const seen[] = {true, true, true, false, true, true, true, true, true};  // a hole in what rows see
  M const mix{.mask = {{seen, extents<4>{1, 1, 1, 9}}},
              .scores = {.softcap = 2, .relative = {8, 20, true}, .sink = true, .heads = 2, .dropout = 0.2}};
  auto const w = initialize(be, mix, 1);
  auto const g = gradients(be, mix, w, q, k, k, dy);
  for (index_t h = 0; h < 2; ++h) testing::fill(slice(slice(k.view(), 1, h, 1), 2, 3, 1), double(NAN));
  auto const again = gradients(be, mix, w, q, k, k, dy);
  CHECK(testing::values(again.x.q.cview()) == testing::values(g.x.q.cview()));
  CHECK(testing::values(again.x.k.cview()) == testing::values(g.x.k.cview()));
  CHECK(testing::values(again.x.v.cview()) == testing::values(g.x.v.cview()));
  CHECK(testing::values(again.w.read().table) == testing::values(g.w.read().table));
  CHECK(testing::values(again.w.read().sink) == testing::values(g.w.read().sink));
}

TEST_CASE("rows that see nothing give 0, the sink or -inf as lse, and no gradient") {
  using M = attention<double, causal_mask, modified_scores>;
  reference_backend be;
  auto const q = random_normal<double>(be, {1, 2, 70, 4}, 1);
  for (bool sink : {false, true}) {
    M const m{.mask = {-66}, .scores = {.softcap = 3, .sink = sink, .heads = 2}};  // a slab of rows, and 2
    auto w = initialize(be, m, 1);
    if (sink) w.write().sink(0) = 0.5, w.write().sink(1) = -2;
    auto const part = partial_attention(be, m, w, q, q, q);
    inputs_in<M, reference_backend> const x{q, q, q, {}, {}};
    parameters<M, reference_backend> dw(be, m);
    tensor<double, 4> dq(q.extents()), dk(q.extents()), dv(q.extents()), y(q.extents());
    testing::fill(dq.view(), NAN);
    auto frame = be.scope();
    auto const tape = m.make_tape(be, x);
    m.forward(be, w, x, tape, y.view());
    m.backward(be, w, x, tape, q, dw.write(), {dq.view(), dk.view(), dv.view(), {}, {}});
    for (index_t h = 0; h < 2; ++h)
      for (index_t i = 0; i < 66; ++i) {
        CHECK(part.lse(0, h, i, 0) == (sink ? w.read().sink(h) : -std::numeric_limits<double>::infinity()));
        for (index_t d = 0; d < 4; ++d) {
          CHECK(part.y(0, h, i, d) == 0);
          CHECK(dq(0, h, i, d) == 0);
        }
      }
    CHECK(part.y(0, 0, 69, 0) != 0);
    CHECK(dq(0, 0, 69, 0) != 0);
  }
}

TEST_CASE("what all batch entries share has one gradient, whatever the threads") {
  using M = attention<double, full_mask, modified_scores>;
  in<cpu, double, 4> const none;
  cpu one(1), four(4);
  auto const q = random_normal<double>(one, {8, 2, 96, 4}, 1),
             dy = random_normal<double>(one, {8, 2, 96, 4}, 2);
  tensor<double, 4> shared({1, 1, 96, 96});
  testing::fill(shared.view(), 0.75);
  auto const gates = [&](cpu& be) { return gradients(be, M{}, {}, q, q, q, none, shared, dy); };
  auto const bias = [&](cpu& be) { return gradients(be, M{}, {}, q, q, q, shared, none, dy); };
  CHECK(testing::values(gates(four).x.gates.cview()) == testing::values(gates(one).x.gates.cview()));
  CHECK(testing::values(bias(four).x.bias.cview()) == testing::values(bias(one).x.bias.cview()));
}

TEST_CASE("a NaN in a query and its gradient reaches no key that the query does not see") {
  using M = attention<double, causal_mask, modified_scores>;
  reference_backend be;
  auto q = random_normal<double>(be, {1, 1, 9, 4}, 1), dy = random_normal<double>(be, {1, 1, 9, 4}, 2);
  auto const k = random_normal<double>(be, {1, 1, 9, 4}, 3);
  testing::fill(slice(q.view(), 2, 3, 1), double(NAN));
  testing::fill(slice(dy.view(), 2, 3, 1), double(NAN));
  auto const g = gradients(be, M{.scores = {.softcap = 2}}, {}, q, k, k, dy);
  for (index_t j = 0; j < 9; ++j) {
    CHECK(std::isnan(g.x.k(0, 0, j, 0)) == (j <= 3));
    CHECK(std::isnan(g.x.v(0, 0, j, 0)) == (j <= 3));
  }
}

TEST_CASE("slopes for any number of heads") {
  for (index_t h = 0; h < 8; ++h) CHECK(alibi_slope(h, 8, 8) == std::exp2(-1.0 - double(h)));
  double const twelve[] = {
      0.5,       0.25,       0.125,         0.0625,          0.03125,           0.015625,
      0.0078125, 0.00390625, std::sqrt(.5), std::sqrt(.125), std::sqrt(.03125), std::sqrt(.0078125)};
  for (index_t h = 0; h < 12; ++h) CHECK(alibi_slope(h, 12, 8) == test::Approx(twelve[h]).epsilon(1e-15));
  CHECK(alibi_slope(0, 1, 8) == std::exp2(-8.0));
  CHECK(alibi_slope(2, 3, 8) == std::exp2(-2.0));  // of 4 heads: 2^-2, 2^-4, ...
}

TEST_CASE("buckets of relative positions") {
  relative_buckets const both{32, 128, true}, back{32, 128, false};
  // the first distance of each bucket, in one direction
  index_t const starts16[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91};
  for (index_t d = 0; d <= 300; ++d) {
    index_t want = 0;
    for (index_t b = 0; b < 16; ++b)
      if (d >= starts16[b]) want = b;
    CAPTURE(d);
    CHECK(both(-d) == want);
    if (d > 0) CHECK(both(d) == 16 + want);
    if (d > 0) CHECK(back(d) == 0);
  }
  index_t const some[][2] = {{0, 0},   {15, 15},  {16, 16},  {18, 16},
                             {19, 17}, {113, 31}, {128, 31}, {5000, 31}};
  for (auto const& [distance, bucket] : some) CHECK(back(-distance) == bucket);
}

TEST_CASE("score modifiers that do not fit are refused") {
  using M = attention<float, full_mask, modified_scores>;
  cpu be(1);
  auto const q = random_normal<float>(be, {2, 4, 6, 4}, 1), k = random_normal<float>(be, {2, 2, 7, 4}, 2);
  auto const run = [&](modified_scores const& how, auto const& bias) {
    M const m{.scores = how};
    auto const w = initialize(be, m, 1);
    forward(be, m, w, q, k, k, bias);
  };
  in<cpu, float, 4> const none;
  CHECK_THROWS_WITH(run({.softcap = -1}, none), test::contains("attention: softcap: expected at least 0"));
  CHECK_THROWS_WITH(run({.softcap = NAN}, none), test::contains("attention: softcap: expected at least 0"));
  CHECK_THROWS_WITH(run({.dropout = 1}, none),
                    test::contains("attention: dropout: expected 0 up to below 1"));
  CHECK_THROWS_WITH(run({.dropout = -0.1}, none),
                    test::contains("attention: dropout: expected 0 up to below 1"));
  CHECK_THROWS_WITH(run({.dropout = NAN}, none),
                    test::contains("attention: dropout: expected 0 up to below 1"));
  CHECK_THROWS_WITH(run({.sink = true}, none), test::contains("scores.heads: expected at least 1"));
  CHECK_THROWS_WITH(run({.sink = true, .heads = 2}, none),
                    test::contains("as many heads as scores.heads; heads, got 4"));
  CHECK_THROWS_WITH(run({.relative = {3, 128, true}, .heads = 4}, none),
                    test::contains("relative buckets: expected at least 2 in each direction, got 3"));
  CHECK_THROWS_WITH(run({.relative = {32, 8, true}, .heads = 4}, none),
                    test::contains("max_distance of the relative buckets"));
  CHECK_THROWS_WITH(run({.sink = true, .heads = 6}, none), test::contains("heads, got 4"));
  CHECK_THROWS_WITH(run({.relative = {1, 128, false}, .heads = 4}, none),
                    test::contains("relative buckets: expected at least 2 in each direction, got 1"));
  CHECK_THROWS_WITH(run({.relative = {32, 16, false}, .heads = 4}, none),
                    test::contains("max_distance of the relative buckets"));
  for (extents<4> const& e : {extents<4>{3, 4, 6, 7}, {2, 2, 6, 7}, {2, 4, 5, 7}, {2, 4, 6, 6}}) {
    tensor<float, 4> const wrong(e);
    CHECK_THROWS_WITH(run({}, wrong),
                      test::contains("attention: bias: expected 1 or the extent of the scores"));
    CHECK_THROWS_WITH(forward(be, M{}, {}, q, k, k, none, wrong),
                      test::contains("attention: gates: expected 1 or the extent of the scores"));
  }
}

TEST_CASE("gradients of score modifiers that do not fit are refused, and nothing is written") {
  using M = attention<double, full_mask, modified_scores>;
  reference_backend be;
  using B = reference_backend;
  M const m{.scores = {.relative = {4, 9, true}, .sink = true, .heads = 2}};
  auto const w = initialize(be, m, 1);
  auto const q = random_normal<double>(be, {1, 2, 3, 4}, 1), k = random_normal<double>(be, {1, 1, 5, 4}, 2);
  tensor<double, 4> gates({1, 1, 3, 5}), y(q.extents());
  testing::fill(gates.view(), 0.5);
  inputs_in<M, B> const x{q, k, k, gates, gates};
  tensor<double, 4> dq(q.extents()), dk(k.extents()), dv(k.extents()), dbias(gates.extents()),
      dgates(gates.extents()), small({1, 1, 3, 4});
  tensor<double, 2> dtable({4, 2}), low({3, 2});
  tensor<double, 1> dsink({2}), one({1});
  auto frame = be.scope();
  auto const tape = m.make_tape(be, x);
  m.forward(be, w, x, tape, y.view());
  auto const back = [&](auto& table, auto& sink, auto& bias, auto& gate) {
    m.backward(be, w, x, tape, y.cview(), {table.view(), sink.view()},
               {dq.view(), dk.view(), dv.view(), bias.view(), gate.view()});
  };
  CHECK_THROWS_WITH(back(low, dsink, dbias, dgates),
                    test::contains("attention: dtable: expected extents (4, 2)"));
  CHECK_THROWS_WITH(back(dtable, one, dbias, dgates),
                    test::contains("attention: dsink: expected extents (2)"));
  CHECK_THROWS_WITH(back(dtable, dsink, small, dgates), test::contains("attention: dbias: expected extents"));
  CHECK_THROWS_WITH(back(dtable, dsink, dbias, small), test::contains("attention: dgates: expected extents"));
  for (auto* array : {&dq, &dk, &dv, &dbias, &dgates})
    for (double entry : testing::values(array->cview())) CHECK(entry == 0);
  for (double entry : testing::values(dtable.cview())) CHECK(entry == 0);
  back(dtable, dsink, dbias, dgates);
  CHECK(testing::values(dbias.cview()) != testing::numbers(15));
}
