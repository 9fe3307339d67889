// SPDX-License-Identifier: Apache-2.0
// Attention under the masks that the conformance suite does not run, and under masks that differ from batch
// entry to batch entry: forward equals the dense oracle, gradients those of the reference.
#include <atomic>

#include <smx/backend/cpu.hpp>
#include <smx/mixers/planning.hpp>
#include <smx/testing/laws/forward.hpp>
#include <smx/testing/laws/gradients.hpp>

#include "tests/catch.hpp"
#include "tests/conformance/cases/masks.hpp"

namespace {

using namespace smx;
using T = float;

template <class MaskType> void check(testing::example<attention<T, MaskType>> const& e) {
  using M = attention<T, MaskType>;
  testing::problem<M> const p(e);
  auto const passes = [&](char const* name, testing::runner<M> const& be) {
    INFO(name);
    for (auto const& said :
         {testing::laws::forward_equals_oracle(be, p), testing::laws::gradients_equal_reference(be, p)})
      CHECK(said.value_or("") == "");
  };
  passes("reference", testing::on_reference<M>());
  passes("cpu", testing::runner<M>::on([] { return cpu(2); }));
}
/// A mask that counts the questions that are none: entries outside the scores, tiles without entries.
struct strict_mask {
  static constexpr bool causal = false;
  index_t queries = 0, keys_ = 0;
  std::atomic<int>* wrong = nullptr;
  bool operator==(strict_mask const&) const = default;

  bool allow(index_t b, index_t h, index_t i, index_t j) const {
    return valid(b, h, {i, i + 1}, {j, j + 1}), sees(i, j);
  }
  tile_class tile(index_t b, index_t h, index_range rows, index_range keys) const {
    valid(b, h, rows, keys);
    index_t seen = 0;
    for (index_t i = rows.first; i < rows.last; ++i)
      for (index_t j = keys.first; j < keys.last; ++j) seen += sees(i, j) ? 1 : 0;
    if (seen == 0) return tile_class::empty;
    return seen == (rows.last - rows.first) * (keys.last - keys.first) ? tile_class::full
                                                                       : tile_class::partial;
  }
  index_range keys(index_t b, index_t h, index_range rows, index_t count) const {
    valid(b, h, rows, {0, count});
    index_range hull{count, 0};
    for (index_t i = rows.first; i < rows.last; ++i)
      for (index_t j = 0; j < count; ++j)
        if (sees(i, j)) hull = {std::min(hull.first, j), std::max(hull.last, j + 1)};
    return hull.first < hull.last ? hull : index_range{0, 0};
  }

 private:
  static bool sees(index_t i, index_t j) {  // many rows see nothing; holes of many tiles
    return i % 130 < 60 && (j / 200) % 2 == (i / 130) % 2 && (i + j) % 3 != 0;
  }
  void valid(index_t b, index_t h, index_range rows, index_range keys) const {
    bool const fine = 0 <= b && b < 2 && 0 <= h && h < 2 && 0 <= rows.first && rows.first < rows.last &&
                      rows.last <= queries && 0 <= keys.first && keys.first < keys.last && keys.last <= keys_;
    if (!fine) ++*wrong;
  }
};

template <class MaskType> void check_examples() {
  for (auto const& e : testing::cases<attention<T, MaskType>>::examples()) check<MaskType>(e);
}

}  // namespace

TEMPLATE_TEST_CASE("attention under a mask equals the dense formula", "", band_mask, partial_causal_mask,
                   causal_then_full_mask, padding_mask, lookahead_mask, (and_mask<dilated_mask, band_mask>),
                   (or_mask<packed_mask, prefix_mask>)) {
  check_examples<TestType>();
}

TEST_CASE("a plan counts what the mask shows") {
  cpu be(1);
  auto const costs = [&](auto const& mixer, index_t length) {
    extents<4> const e{1, 1, length, 64};
    plan_report const p = plan(be, mixer, e, e, e);
    return std::pair{p.forward.flops, p.training.flops};
  };
  auto const [forward, training] = costs(attention<T>{}, 16384);
  auto const [window, window_training] = costs(attention<T, window_mask>{.mask = {512}}, 16384);
  // 512 of 16384 keys, and at most a panel of rows more
  CHECK(forward / window > 16384. / (512 + 48));
  CHECK(training / window_training > 16384. / (512 + 48));

  index_t const starts[] = {0, 1000, 5000, 16384};
  auto const packed = costs(attention<T, packed_mask>{.mask = {starts, 3}}, 16384);
  double sum = 0, training_sum = 0;
  for (int s = 0; s < 3; ++s) {
    auto const one = costs(attention<T>{}, starts[s + 1] - starts[s]);
    sum += one.first, training_sum += one.second;
  }
  CHECK(packed.first == test::Approx(sum).epsilon(0.02));
  CHECK(packed.second == test::Approx(training_sum).epsilon(0.02));
}

TEST_CASE("a dilated sequence is a batch of strands") {
  cpu be(1);
  index_t const length = 36, step = 4;
  auto const q = random_normal<T>(be, {2, 3, length, 8}, 1), k = random_normal<T>(be, {2, 3, length, 8}, 2);
  auto const masked = forward(be, attention<T, dilated_mask>{.mask = {step}}, {}, q, k, k);
  for (index_t b = 0; b < 2; ++b) {
    auto const strands = [&](auto const& v) {  // (step,H,length / step,D)
      return swap_axes(swap_axes(split_axis(fix_axis(v, 0, b), 1, length / step, step), 0, 2), 1, 2);
    };
    auto const y =
        forward(be, attention<T>{}, {}, strands(q.cview()), strands(k.cview()), strands(k.cview()));
    auto const got = testing::values(y.cview()), want = testing::values(strands(masked.cview()));
    // a mean of 9 values below 5, scores of 8 terms: some 30 roundings of 6e-8 each
    for (std::size_t n = 0; n < want.size(); ++n) CHECK(got[n] == test::Approx(want[n]).margin(1e-5));
  }
}

TEST_CASE("masks are asked about entries of the scores, and about no empty tile") {
  struct shape {
    index_t queries, keys;
  };
  for (shape n : {shape{300, 500}, shape{1, 7}, shape{70, 1}, shape{500, 130}}) {
    std::atomic<int> wrong = 0;
    std::vector<extents<4>> const ext{{2, 2, n.queries, 4}, {2, 1, n.keys, 4}, {2, 1, n.keys, 3}};
    check<strict_mask>({{.mask = {n.queries, n.keys, &wrong}}, ext});
    CHECK(wrong == 0);
  }
}

TEST_CASE("masks that differ from batch entry to batch entry") {
  std::vector<extents<4>> const ext{{3, 2, 100, 8}, {3, 1, 130, 8}, {3, 1, 130, 5}};
  index_t const lengths[] = {130, 0, 41};
  check<padding_mask>({{.mask = {lengths, 3}}, ext});
  check<prefix_mask>({{.mask = {lengths, 3, -60}}, ext});
  std::vector<index_t> ahead;
  for (index_t n = 0; n < 300; ++n) ahead.push_back(n * 31 % 50 - 10);
  check<lookahead_mask>(
      {{.mask = {view<index_t const, 2, host_space>(ahead.data(), extents<2>{3, 100})}}, ext});
}

TEST_CASE("a boolean mask that differs from head to head") {
  std::vector<extents<4>> const ext{{2, 4, 60, 8}, {2, 2, 100, 8}, {2, 2, 100, 5}};
  auto const t = std::make_unique<bool[]>(2 * 4 * 60 * 100);
  for (index_t n = 0; n < 2 * 4 * 60 * 100; ++n)
    t[static_cast<std::size_t>(n)] = n / 100 * 13 % 7 + n % 100 > 60;
  check<boolean_mask>({{.mask = {view<bool const, 4, host_space>(t.get(), extents<4>{2, 4, 60, 100})}}, ext});
}

TEST_CASE("a mask that contradicts the lengths is refused and nothing is written") {
  cpu be(1);
  auto const q = random_normal<T>(be, {2, 1, 6, 4}, 1), k = random_normal<T>(be, {2, 1, 7, 4}, 2);
  index_t const lengths[] = {3, 8};
  attention<T, padding_mask> const mix{.mask = {lengths, 2}};
  tensor<T, 4> y(extents<4>{2, 1, 6, 4}), dq(q.extents()), dk(k.extents()), dv(k.extents());
  for (auto* one : {&y, &dq, &dk, &dv}) testing::fill(one->view(), T(7));
  inputs_in<attention<T, padding_mask>, cpu> const x{q.cview(), k.cview(), k.cview()};
  auto frame = be.scope();
  auto const tape = mix.make_tape(be, x);
  CHECK_THROWS_WITH(mix.forward(be, {}, x, tape, y.view()),
                    test::contains("mask: padded length: expected 0 to the number of keys, got 8"));
  CHECK_THROWS_WITH(mix.backward(be, {}, x, tape, y.cview(), {}, {dq.view(), dk.view(), dv.view()}),
                    test::contains("mask: padded length: expected 0 to the number of keys, got 8"));
  for (auto* one : {&y, &dq, &dk, &dv})
    for (double entry : testing::values(one->cview())) CHECK(entry == 7);
}
