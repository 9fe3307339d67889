// SPDX-License-Identifier: Apache-2.0
// Attention under the masks that the conformance suite does not run, and under masks that differ from batch
// entry to batch entry: forward equals the dense oracle, gradients those of the reference.
#include <smx/backend/cpu.hpp>
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
template <class MaskType> void check_examples() {
  for (auto const& e : testing::cases<attention<T, MaskType>>::examples()) check<MaskType>(e);
}

}  // namespace

TEMPLATE_TEST_CASE("attention under a mask equals the dense formula", "", band_mask, partial_causal_mask,
                   causal_then_full_mask, padding_mask, lookahead_mask, (and_mask<dilated_mask, band_mask>),
                   (or_mask<packed_mask, prefix_mask>)) {
  check_examples<TestType>();
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
