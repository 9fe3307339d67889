// SPDX-License-Identifier: Apache-2.0
/// \file  GPT around each mixer: a stream equals the whole forward pass, gradients are those of central
/// differences, threads change nothing, and what is refused.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <smx/backend/cpu.hpp>
#include <smx/backend/plan.hpp>
#include <smx/backend/reference.hpp>
#include <smx/mixers/causal_monarch.hpp>
#include <smx/mixers/run.hpp>
#include <smx/mixers/state.hpp>
#include <smx/models/gpt.hpp>
#include <smx/nn/gated_mixer.hpp>
#include <smx/nn/m2_sequence_mixer.hpp>
#include <smx/nn/self_attention.hpp>
#include <smx/nn/ssd_layer.hpp>
#include <tests/catch.hpp>

namespace {

using smx::extents;
using smx::index_t;
constexpr index_t vocabulary = 11, channels = 12, most = 24;

template <class T> auto attention(bool positions) {
  smx::self_attention<T, smx::causal_mask> mixer;
  mixer.channels = channels, mixer.heads = 3;
  return smx::make_gpt(mixer, {vocabulary, channels, 2, positions ? most : 0, 20});
}
template <class T> auto m2(bool residual) {
  smx::m2_sequence_mixer<T> mixer;
  mixer.channels = channels, mixer.max_length = most, mixer.residual = residual, mixer.width = 8;
  mixer.frequency = 1;  // smooth enough for differences; the usual 10 bends kernels 10^3 times more
  return smx::make_gpt(mixer, {vocabulary, channels, 2, 0, 20});
}
template <class T> auto causal_monarch() {
  smx::gated_mixer<smx::causal_monarch<T>> mixer;
  mixer.mixer.channels = channels, mixer.mixer.length = most;
  return smx::make_gpt(mixer, {vocabulary, channels, 2, 0, 20});
}
template <class T> auto ssd(index_t groups) {
  smx::ssd_layer<T> mixer;
  mixer.channels = channels, mixer.heads = 4, mixer.groups = groups, mixer.state_size = 5,
  mixer.mix.chunk = 8;
  return smx::make_gpt(mixer, {vocabulary, channels, 2, 0, 20});
}
/// f(name, model) for all of them.
template <class T, class F> void each_model(F const& f) {
  f("attention", attention<T>(true));
  f("attention without positions", attention<T>(false));
  f("m2", m2<T>(false));
  f("m2 with a residual convolution", m2<T>(true));
  f("causal monarch", causal_monarch<T>());
  f("ssd", ssd<T>(1));
  f("ssd of two groups", ssd<T>(2));
}

template <class B, class M> auto weights_of(B& be, smx::gpt<M> const& m, double scale = 1) {
  auto w = smx::initialize(be, m, 3);
  m.fill_tables(be, w.write());
  // Wide tables: logits are then of order 1, and all places of the model matter.
  be.map(smx::scale_by<typename M::scalar>{static_cast<typename M::scalar>(20 * scale)},
         w.write().tokens.weight, smx::as_input(w.write().tokens.weight));
  return w;
}
smx::tensor<index_t, 2> some_ids(index_t batch, index_t length, std::uint64_t seed = 5) {
  smx::tensor<index_t, 2> ids({batch, length});
  smx::random_stream const from{seed, 0};
  for (index_t i = 0; i < batch * length; ++i)
    ids(i / length, i % length) =
        static_cast<index_t>(from.uniform(static_cast<std::uint64_t>(i)) * vocabulary);
  return ids;
}
template <class B, class M, class W>
auto all_logits(B& be, smx::gpt<M> const& m, W const& w, smx::tensor<index_t, 2> const& ids) {
  smx::tensor<typename M::scalar, 4> logits(m.logit_extents(ids.extents()));
  m.forward(be, w, ids.cview(), {}, logits.view());
  be.synchronize();
  return logits;
}
template <class V> double largest(V const& v) {
  double most_seen = 0;
  for (index_t i = 0; i < v.size(); ++i)
    most_seen = std::max(most_seen, std::abs(static_cast<double>(v.data()[i])));
  return most_seen;
}

}  // namespace

TEST_CASE("a stream gives the logits of the whole forward pass at every step", "[gpt]") {
  each_model<float>([](char const* name, auto const& m) {
    INFO(name);
    smx::cpu be(2);
    auto const w = weights_of(be, m);
    auto const ids = some_ids(2, most);
    auto const whole = all_logits(be, m, w.read(), ids);
    double const scale = largest(whole);
    CHECK(scale > 0.1);
    for (index_t prompt : {1, 7, 16}) {
      auto s = m.make_state(be, w, 2, most);
      smx::tensor<float, 4> first({2, 1, prompt, vocabulary}), last({2, 1, 1, vocabulary});
      double error = 0;
      auto const compare = [&](auto const& got, index_t t, index_t row) {
        for (index_t b = 0; b < 2; ++b)
          for (index_t v = 0; v < vocabulary; ++v)
            error = std::max(error, std::abs(static_cast<double>(got(b, 0, row, v)) -
                                             static_cast<double>(whole(b, 0, t, v))));
      };
      m.prefill(be, w, smx::slice(ids.cview(), 1, 0, prompt), s, first.view());
      for (index_t t = 0; t < prompt; ++t) compare(first, t, t);
      for (index_t t = prompt; t < most; ++t) {
        m.step(be, w, smx::slice(ids.cview(), 1, t, 1), s, last.view());
        compare(last, t, 0);
      }
      CHECK(error / scale < 1e-5);
      CHECK(s.tokens() == most);
      CHECK_THROWS_WITH(m.step(be, w, smx::slice(ids.cview(), 1, 0, 1), s, last.view()),
                        test::contains("gpt: state"));
      CHECK(s.tokens() == most);
    }
  });
}

TEST_CASE("the state of a model is cloned and goes on", "[gpt]") {
  each_model<double>([](char const* name, auto const& m) {
    INFO(name);
    smx::reference_backend be;
    auto const w = weights_of(be, m);
    auto const ids = some_ids(2, 9);
    auto s = m.make_state(be, w, 2, most);
    smx::tensor<double, 4> one({2, 1, 1, vocabulary}), other(one.extents());
    m.prefill(be, w, smx::slice(ids.cview(), 1, 0, 8), s, one.view());
    auto copy = smx::clone_state(be, s);
    m.step(be, w, smx::slice(ids.cview(), 1, 8, 1), s, one.view());
    m.step(be, w, smx::slice(ids.cview(), 1, 8, 1), copy, other.view());
    for (index_t i = 0; i < one.size(); ++i) CHECK(one.data()[i] == other.data()[i]);
    CHECK(copy.tokens() == 9);
  });
}

// Along one random direction of all weights at once, and along one of each weight by itself.
TEST_CASE("gradients are those of central differences", "[gpt]") {
  each_model<double>([](char const* name, auto const& m) {
    INFO(name);
    smx::cpu be(1);
    auto w = weights_of(be, m, 0.2);
    auto const ids = some_ids(2, 13), targets = some_ids(2, 13, 6);
    smx::parameters<std::remove_cvref_t<decltype(m)>, smx::cpu> dw(be, m);
    smx::tensor<double, 1> loss({1});
    m.loss_and_gradients(be, w, ids.cview(), targets.cview(), loss.view(), dw.write());
    smx::tensor<double, 1> losses({26});
    auto const loss_at = [&](auto const& view, auto const& saved, auto const& direction, double h) {
      for (index_t i = 0; i < view.size(); ++i)
        view.ptr[i] = saved[static_cast<std::size_t>(i)] + h * direction[static_cast<std::size_t>(i)];
      smx::tensor<double, 1> mean({1});
      m.loss(be, w, ids.cview(), targets.cview(), losses.view(), mean.view());
      return mean(0);
    };
    std::uint64_t stream = 0;
    m.for_each_weight(
        [&](auto const& info, auto const& value, auto const& gradient) {
          if (!info.trained) return;
          INFO(info.name);
          std::vector<double> const saved(value.ptr, value.ptr + value.size());
          std::vector<double> direction;
          smx::random_stream const from{9, ++stream};
          double expected = 0, size = 0;
          for (index_t i = 0; i < value.size(); ++i) {
            direction.push_back(from.normal(static_cast<std::uint64_t>(i)));
            expected += direction.back() * gradient.ptr[i];
            size += std::abs(gradient.ptr[i]);
          }
          // Differences of order 4: the error is h^4 times a fifth derivative, and eps / h.
          double const h = 1e-3 / std::sqrt(static_cast<double>(value.size()));
          auto const f = [&](double x) { return loss_at(value, saved, direction, x); };
          double const found = (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h);
          loss_at(value, saved, direction, 0);
          CHECK(std::abs(found - expected) < 1e-7 * (1 + size));
          CHECK(size > 0);
        },
        w.write(), dw.write());
  });
}

TEST_CASE("threads change no bit of a gradient", "[gpt]") {
  each_model<float>([](char const* name, auto const& m) {
    INFO(name);
    using model = std::remove_cvref_t<decltype(m)>;
    std::vector<float> first;
    for (int threads : {1, 2}) {
      smx::cpu be(threads);
      auto const w = weights_of(be, m);
      smx::parameters<model, smx::cpu> dw(be, m);
      smx::tensor<float, 1> loss({1});
      auto const ids = some_ids(3, most), targets = some_ids(3, most, 6);
      m.loss_and_gradients(be, w, ids.cview(), targets.cview(), loss.view(), dw.write());
      std::vector<float> const bits(dw.all().ptr, dw.all().ptr + dw.size());
      if (threads == 1) first = bits;
      CHECK((bits == first));
    }
  });
}

// Flops of the CPU, counted by its planner: an average token of the positions [n / 2, n).
TEST_CASE("the work of a token grows at most with log^2 of its position", "[gpt]") {
  constexpr index_t longest = 4096;
  auto const work = [&](auto const& m) {
    using planner = smx::cpu::planner;
    planner be(smx::cpu(1).how());
    smx::parameters<std::remove_cvref_t<decltype(m)>, planner> const w(be, m);
    auto s = m.make_state(be, w, 1, longest);
    smx::in<planner, index_t, 2> const id(nullptr, {1, 1});
    smx::out<planner, float, 4> const logits(nullptr, {1, 1, 1, vocabulary});
    std::vector<double> octaves;
    double before = be.result().flops;
    for (index_t t = 0, n = 512; t < longest; ++t) {
      m.step(be, w, id, s, logits);
      if (t + 1 == n / 2) before = be.result().flops;
      if (t + 1 == n) {
        octaves.push_back((be.result().flops - before) / static_cast<double>(n / 2));
        n *= 2, before = be.result().flops;
      }
    }
    return octaves;  // up to 512, 1024, 2048, 4096
  };
  smx::m2_sequence_mixer<float> mixer;
  mixer.channels = channels, mixer.max_length = longest;
  auto const m2_work = work(smx::make_gpt(mixer, {vocabulary, channels, 1}));
  REQUIRE(m2_work.size() == 4);
  for (std::size_t i = 1; i < 4; ++i) {
    double const growth = static_cast<double>(9 + i) / 9;
    CHECK(m2_work[i] <= 1.01 * growth * growth * m2_work[0]);
  }
  auto const ssd_work = work(ssd<float>(1));
  CHECK(ssd_work[3] == ssd_work[0]);
}

TEST_CASE("what a GPT refuses", "[gpt]") {
  smx::reference_backend be;
  auto const m = attention<double>(true);
  auto const w = weights_of(be, m);
  smx::tensor<double, 4> logits({1, 1, most + 1, vocabulary});
  CHECK_THROWS_WITH(m.forward(be, w, some_ids(1, most + 1).cview(), {}, logits.view()),
                    test::contains("no more positions than their table has rows, got 25"));
  CHECK_THROWS_WITH(m.make_state(be, w, 1, most + 1), test::contains("no more positions"));
  auto ids = some_ids(1, 3);
  ids(0, 1) = vocabulary;
  smx::tensor<double, 4> three({1, 1, 3, vocabulary});
  CHECK_THROWS_WITH(m.forward(be, w, ids.cview(), {}, three.view()), test::contains("embedding: ids(0, 1)"));
  auto const gated = m2<double>(false);
  auto const wm = weights_of(be, gated);
  CHECK_THROWS_WITH(gated.forward(be, wm, some_ids(1, most + 1).cview(), {}, logits.view()),
                    test::contains("max_length"));
}

TEST_CASE("the first place that is not finite is named", "[gpt]") {
  smx::reference_backend be;
  auto const m = ssd<double>(1);
  auto const ids = some_ids(1, 6);
  double const nan = std::numeric_limits<double>::quiet_NaN();
  auto const place = [&](auto const& break_it) {
    auto w = weights_of(be, m);
    break_it(w.write());
    return smx::first_non_finite(be, m, w.read(), ids.cview());
  };
  CHECK(place([](auto const&) {}) == "");
  CHECK(place([&](auto const& w) { w.tokens.weight(ids(0, 0), 1) = nan; }) == "tokens");
  CHECK(place([&](auto const& w) { w.blocks.layers[1].first.inner.out.weight(0, 0) = nan; }) ==
        "block 1: mixer");
  CHECK(place([&](auto const& w) { w.blocks.layers[0].second.inner.up.bias(2) = nan; }) == "block 0: mlp");
  CHECK(place([&](auto const& w) { w.norm.bias(2) = nan; }) == "norm");
}
