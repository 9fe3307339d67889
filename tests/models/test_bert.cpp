// SPDX-License-Identifier: Apache-2.0
/// \file  BERT with both mixers: gradients by central differences, padding, prepared kernels, plans, threads
/// and what is refused. Results against the references: tests/goldens.
#include <cmath>
#include <limits>

#include <smx/models/bert_plan.hpp>

#include "tests/catch.hpp"
#include "tests/models/bert_cases.hpp"
#include "tests/nn/backends.hpp"

using namespace test;
using smx::extents;

namespace {

template <class B> struct batch {
  smx::tensor<index_t, 2> ids, types;
  smx::tensor<index_t, 1> places, targets;
  index_t lengths[2];

  explicit batch(index_t length)
      : ids(ids_below(24, extents<2>{2, length}, 3)),
        types(ids_below(2, extents<2>{2, length}, 4)),
        places({3}),
        targets(ids_below(24, extents<1>{3}, 5)),
        lengths{length, length - 2} {
    places(0) = 1, places(1) = length - 1, places(2) = length + 2;
  }
  smx::bert_tokens<B> tokens() const { return {ids.cview(), types.cview()}; }
  smx::masked_tokens<B> masked() const { return {places.cview(), targets.cview()}; }
};

template <class B, class M, class W> double loss_of(B& be, M const& m, W const& w, batch<B> const& x) {
  typename M::scalar loss = 0;
  m.loss(be, w, x.tokens(), x.masked(), smx::out<B, typename M::scalar, 1>(&loss, {1}));
  be.synchronize();
  return static_cast<double>(loss);
}

}  // namespace

TEST_CASE("BERT: the gradients of the loss are its central differences", "[models][bert]") {
  for_each_bert<double>([&](auto const& plain, auto) {
    using M = std::remove_cvref_t<decltype(plain)>;
    smx::reference_backend be;
    using B = smx::reference_backend;
    batch<B> const x(9);
    auto const m = plain.with_lengths(x.lengths, 2);
    auto w = busy_weights(be, m, 7);
    smx::parameters<M, B> dw(be, m);
    double loss = 0;
    m.loss_and_gradients(be, w.read(), x.tokens(), x.masked(), 1, dw.write(),
                         smx::out<B, double, 1>(&loss, {1}));
    CHECK(loss == test::Approx(loss_of(be, m, w.read(), x)).epsilon(1e-14));
    // one direction in each weight that is trained
    m.for_each_weight(
        [&](auto const& info, auto const& to, auto const& gradient) {
          if (!info.trained) return;
          smx::random_stream const random{11, 0};
          auto const shift = [&](double by) {
            for (index_t i = 0; i < to.size(); ++i)
              to.ptr[i] += by * random.normal(static_cast<std::uint64_t>(i));
          };
          double slope = 0;
          for (index_t i = 0; i < to.size(); ++i)
            slope += gradient.ptr[i] * random.normal(static_cast<std::uint64_t>(i));
          auto const difference = [&](double h) {
            shift(h);
            double const above = loss_of(be, m, w.read(), x);
            shift(-2 * h);
            double const below = loss_of(be, m, w.read(), x);
            shift(h);
            return (above - below) / (2 * h);
          };
          double const h = 4e-6;  // the loss bends within 1e-3: what remains is (h / 1e-3)^4 and 1e-16 / h
          double const expected = (4 * difference(h / 2) - difference(h)) / 3;
          INFO(info.name);
          CHECK(std::abs(slope - expected) <= 1e-8 * (1 + std::abs(expected)));
        },
        w.write(), dw.write());
  });
}

TEST_CASE("BERT: every backend and number of threads gives what the reference gives", "[models][bert]") {
  for_each_bert<double>([&](auto const& plain, auto) {
    batch<smx::cpu> const x(12);
    auto const m = plain.with_lengths(x.lengths, 2);
    std::vector<double> expected, bits;
    on_host_backends([&](auto& be) {
      using B = std::remove_cvref_t<decltype(be)>;
      auto const w = busy_weights(be, m, 5);
      smx::parameters<std::remove_cvref_t<decltype(m)>, B> dw(be, m);
      double loss = 0;
      batch<B> const mine(12);
      m.loss_and_gradients(be, w.read(), mine.tokens(), mine.masked(), 1, dw.write(),
                           smx::out<B, double, 1>(&loss, {1}));
      be.synchronize();
      std::vector<double> got(dw.all().ptr, dw.all().ptr + dw.size());
      got.push_back(loss);
      if (expected.empty()) expected = got;
      double error = 0;
      for (std::size_t i = 0; i < got.size(); ++i) error = std::max(error, std::abs(got[i] - expected[i]));
      CHECK(error <= 1e-11);
      if constexpr (std::is_same_v<B, smx::cpu>) {
        if (bits.empty()) bits = got;
        CHECK(got == bits);
      }
    });
  });
}

TEST_CASE("BERT: prepared kernels give what kernels of the call give, often", "[models][bert]") {
  for_each_bert<double>([&](auto const& plain, auto) {
    smx::cpu be(2);
    batch<smx::cpu> const x(10);
    auto const m = plain.with_lengths(x.lengths, 2);
    auto const w = busy_weights(be, m, 8);
    smx::tensor<double, 4> a({2, 1, 10, 8}), b({2, 1, 10, 8});
    m.encode(be, w.read(), x.tokens(), {}, a.view());
    auto const kernels = m.prepare(be, w.read(), 10);
    for (int again = 0; again < 2; ++again) {
      m.encode(be, w.read(), kernels, x.tokens(), b.view());
      be.synchronize();
      CHECK(values(a) == values(b));
    }
    CHECK_THROWS_WITH(m.encode(be, w.read(), m.prepare(be, w.read(), 9), x.tokens(), b.view()),
                      contains("prepared"));
  });
}

TEST_CASE("BERT: attention does not see padding, and M2 convolves over it", "[models][bert]") {
  for_each_bert<double>([&](auto const& plain, smx::bert_mixing mixing) {
    smx::cpu be(1);
    batch<smx::cpu> x(10);
    auto const m = plain.with_lengths(x.lengths, 2);
    auto const w = busy_weights(be, m, 8);
    smx::tensor<double, 4> a({2, 1, 10, 8}), b({2, 1, 10, 8});
    m.encode(be, w.read(), x.tokens(), {}, a.view());
    x.ids(1, 8) = (x.ids(1, 8) + 1) % 24, x.ids(1, 9) = (x.ids(1, 9) + 5) % 24;
    m.encode(be, w.read(), x.tokens(), {}, b.view());
    be.synchronize();
    bool same = true;
    for (index_t l = 0; l < 8; ++l)
      for (index_t d = 0; d < 8; ++d) same = same && a(1, 0, l, d) == b(1, 0, l, d);
    CHECK(same == (mixing == smx::bert_mixing::softmax));
  });
}

TEST_CASE("BERT: types that are left out are of type 0", "[models][bert]") {
  for_each_bert<double>([&](auto const& plain, auto) {
    smx::cpu be(1);
    batch<smx::cpu> x(10);
    auto const m = plain.with_lengths(x.lengths, 2);
    auto const w = busy_weights(be, m, 8);
    for (index_t i = 0; i < x.types.size(); ++i) x.types.data()[i] = 0;
    smx::tensor<double, 4> a({2, 1, 10, 8}), b({2, 1, 10, 8});
    m.encode(be, w.read(), x.tokens(), {}, a.view());
    m.encode(be, w.read(), smx::bert_tokens<smx::cpu>{x.ids.cview(), {}}, {}, b.view());
    be.synchronize();
    CHECK(values(a) == values(b));
  });
}

TEST_CASE("BERT: a plan is the workspace that runs take, byte for byte", "[models][bert]") {
  for_each_bert<float>([&](auto const& plain, auto) {
    using M = std::remove_cvref_t<decltype(plain)>;
    for (int threads : {1, 2}) {
      batch<smx::cpu> const x(12);
      index_t const full[] = {12, 12};
      auto const m = plain.with_lengths(full, 2);
      auto const used = [&](auto const& run) {
        smx::cpu setup(1), be(threads);
        auto const w = busy_weights(setup, m, 8);
        auto const kernels = m.prepare(setup, w.read(), 12);
        smx::tensor<float, 4> h({2, 1, 12, 8});
        run(be, w, kernels, h);
        be.synchronize();
        return be.workspace_bytes();
      };
      smx::bert_tokens<smx::cpu> const tokens{x.ids.cview(), {}};
      auto const plan = smx::plan_bert<smx::cpu::planner>(smx::cpu(threads).how(), plain, 2, 12, 3);
      CHECK(plan.encode.workspace == used([&](auto& be, auto const& w, auto const&, auto& h) {
              m.encode(be, w.read(), tokens, {}, h.view());
            }));
      CHECK(plan.encode_prepared.workspace ==
            used([&](auto& be, auto const& w, auto const& kernels, auto& h) {
              m.encode(be, w.read(), kernels, tokens, h.view());
            }));
      CHECK(plan.prepare.workspace ==
            used([&](auto& be, auto const& w, auto const&, auto&) { m.prepare(be, w.read(), 12); }));
      CHECK(plan.training.workspace == used([&](auto& be, auto const& w, auto const&, auto&) {
              smx::parameters<M, smx::cpu> dw(be, m);
              float loss = 0;
              m.loss_and_gradients(be, w.read(), tokens, x.masked(), 1, dw.write(),
                                   smx::out<smx::cpu, float, 1>(&loss, {1}));
            }));
      CHECK(plan.weights == [&] {
        std::size_t all = 0;
        m.for_each_weight(
            [&](auto const& info) { all += 4 * static_cast<std::size_t>(smx::checked_size(info.ext)); });
        return all;
      }());
    }
  });
}

TEST_CASE("BERT: lengths, ids and parts that are not there are refused", "[models][bert]") {
  for_each_bert<float>([&](auto const& plain, smx::bert_mixing mixing) {
    using M = std::remove_cvref_t<decltype(plain)>;
    smx::cpu be(1);
    batch<smx::cpu> x(12);
    auto m = plain.with_lengths(x.lengths, 2);
    auto const run = [&](M const& model, index_t length) {
      auto const w = busy_weights(be, model, 8);
      auto const ids = ids_below(24, extents<2>{2, length}, 3);
      smx::tensor<float, 4> h({2, 1, length, 8});
      model.encode(be, w.read(), smx::bert_tokens<smx::cpu>{ids.cview(), {}}, {}, h.view());
    };
    CHECK_NOTHROW(run(m, 12));
    CHECK_THROWS_WITH(run(m, 13), contains("table of positions"));
    if (mixing == smx::bert_mixing::m2) {
      m.positions = 20;
      CHECK_THROWS_WITH(run(m, 13), contains("max_length"));
      CHECK_THROWS_WITH(m.prepare(be, busy_weights(be, m, 8).read(), 13), contains("max_length"));
      m.positions = 12;
    }
    auto const w = busy_weights(be, m, 8);
    smx::tensor<float, 4> h({2, 1, 12, 8});
    x.ids(1, 3) = 24;
    CHECK_THROWS_WITH(m.encode(be, w.read(), x.tokens(), {}, h.view()), contains("got 24"));
    M bare = m;
    bare.head = false, bare.pooler = false, bare.classes = 0;
    auto const few = busy_weights(be, bare, 8);
    smx::tensor<float, 4> scores({1, 1, 24, 24}), pooled({2, 1, 1, 8});
    CHECK_THROWS_WITH(bare.template logits<smx::cpu>(be, few.read(), h.cview(), {}, scores.view()),
                      contains("masked-LM head"));
    CHECK_THROWS_WITH(bare.template pool<smx::cpu>(be, few.read(), smx::pooling::first, x.lengths, h.cview(),
                                                   {}, pooled.view()),
                      contains("pooler"));
  });
}
