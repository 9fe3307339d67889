// SPDX-License-Identifier: Apache-2.0
/// \file  Every law of the suite fails on a mixer that breaks it, and none fails on the mixer that is whole.
#include <map>

#include "tests/catch.hpp"
#include "tests/conformance/backends.hpp"
#include "tests/conformance/cross_toy.hpp"
#include "tests/conformance/toy.hpp"

using smx::testing::verdict;
using test::flaw;
using test::toy;

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool with_address_sanitizer = true;
#elif defined(__has_feature)
constexpr bool with_address_sanitizer = __has_feature(address_sanitizer);
#else
constexpr bool with_address_sanitizer = false;
#endif

/// The laws that the toy with this flaw breaks, with what they say.
std::map<std::string, std::string> broken_laws(flaw f) {
  std::map<std::string, std::string> found;
  auto const reference = smx::testing::backend{
      "reference", [](test::Workspace auto... ws) { return smx::reference_backend(std::move(ws)...); }};
  auto const cpu = smx::testing::backend{"cpu", [](int threads = 2) { return smx::cpu(threads); }};
  smx::testing::maker<toy> const makers[] = {smx::testing::maker<toy>(reference),
                                             smx::testing::maker<toy>(cpu)};
  for (auto e : smx::testing::cases<toy>::examples()) {
    e.mixer.broken = f;
    for (auto const& make : makers)
      smx::testing::check_laws(smx::testing::problem<toy>(e), make, test::allocations,
                               [&](char const* law, verdict const& said) {
                                 if (said) found.emplace(law, *said);
                               });
  }
  return found;
}

}  // namespace

TEST_CASE("no law fails on a mixer that is whole") {
  for (auto const& [law, said] : broken_laws(flaw::none)) FAIL_CHECK(law << ": " << said);
  CHECK_FALSE(smx::testing::laws::flops_grow_as_advertised<toy>());
}

TEST_CASE("every law fails on a mixer that breaks it") {
  struct expectation {
    flaw broken;
    char const* law;
    char const* says;
  };
  auto const& [broken, law, says] = GENERATE(values<expectation>({
      {flaw::leaks, "forward equals the oracle", "y: entry"},
      {flaw::leaks, "rows depend on what they see", "a position that the row does not see"},
      {flaw::leaks, "the future is unread", "in every later position"},
      {flaw::leaks, "prefixes agree", "of the first"},
      {flaw::touches_the_future, "the future is unread", "with nan in every later position"},
      {flaw::forgets, "rows depend on what they see", "does not reach the row"},
      {flaw::wrong_input_gradient, "backward is the adjoint", "<gradient of x, u>"},
      {flaw::wrong_weight_gradient, "backward is the adjoint", "<gradient of w, u>"},
      {flaw::overwrites_weight_gradient, "weight gradients accumulate", "dw after a second backward"},
      {flaw::adds_to_input_gradient, "backward is the adjoint", "nan"},
      {flaw::changes_input, "weight gradients accumulate", "an argument that is only read: x"},
      {flaw::depends_on_tape, "a tape changes nothing", "y with a tape"},
      {flaw::differs_each_run, "runs repeat bit for bit", "y of the second run"},
      {flaw::differs_by_threads, "threads agree bit for bit", "2 threads against one: y"},
      {flaw::allocates, "allocates nothing", "forward allocated"},
      {flaw::takes_more_than_planned, "the workspace is planned", "bytes of workspace, the plan says"},
      {flaw::takes_more_than_planned, "stays in its memory", "workspace: expected a block large enough"},
      {flaw::reads_scratch_unwritten, "stays in its memory", "y between marked cells"},
      {flaw::reads_outside, "stays in its memory", "y between marked cells"},
      {flaw::writes_outside, "stays in its memory", "y: memory outside it was written"},
      {flaw::ignores_strides, "layouts agree", "gaps between rows: y"},
      {flaw::swallows_nan, "NaN propagates", "a NaN there does not reach row"},
      {flaw::checks_no_weight, "bad extents throw", "forward: w with extent"},
      {flaw::checks_no_output, "bad extents throw", "x with extent"},
      {flaw::names_no_argument, "bad extents throw", "the message does not name x"},
      {flaw::writes_before_it_checks, "bad extents throw", "outputs after a throw"},
      {flaw::checks_no_gradient, "bad extents throw", "dw with extent"},
      {flaw::writes_gradient_too_early, "bad extents throw", "backward: x: outputs after a throw"},
      {flaw::checks_no_overlap, "overlaps throw", "in the memory of"},
      {flaw::checks_no_tape, "an empty tape throws", "without a tape"},
      {flaw::mixes_batch, "batch and heads are independent", "y of batch entry 1 alone"},
      {flaw::mixes_heads, "batch and heads are independent", "y of head 1 alone"},
      {flaw::knows_the_length, "prefixes agree", "of the first"},
      {flaw::loses_state, "streaming equals forward", "steps"},
      {flaw::no_capacity, "streaming equals forward", "beyond the capacity did not throw"},
      {flaw::grows_before_it_throws, "streaming equals forward", "room for the tokens"},
      {flaw::grows_before_it_throws, "refusals leave the state", "the state after prefill of tokens beyond"},
      {flaw::no_capacity, "refusals leave the state", "prefill of tokens beyond the capacity did not throw"},
      {flaw::takes_any_batch, "refusals leave the state", "prefill of a smaller batch did not throw"},
      {flaw::mixes_batch, "rows move as they are", "row 1: y"},
      {flaw::truncates_too_little, "truncate forgets", "truncate: 1 tokens"},
      {flaw::truncates_anything, "truncate forgets", "truncate below 0 did not throw"},
      {flaw::evicts_nothing, "evicted tokens are gone", "room for the tokens"},
      {flaw::evicts_anything, "evicted tokens are gone", "evict_front below 0 did not throw"},
  }));
  if (with_address_sanitizer && (broken == flaw::reads_outside || broken == flaw::writes_outside)) {
    SUCCEED("the program would end at the access itself");
    return;
  }
  auto const found = broken_laws(broken);
  CAPTURE(static_cast<int>(broken), law);
  REQUIRE(found.contains(law));
  CHECK_THAT(found.at(law), test::contains(says));
}

TEST_CASE("traits that are not kept are noticed") {
  auto const grows = smx::testing::laws::flops_grow_as_advertised<test::toy_with<2, false>>();
  REQUIRE(grows);
  CHECK_THAT(*grows, test::contains("flops grow as L^1.000, the traits say L^2.000"));

  using M = test::toy_with<1, true>;
  auto const rows = smx::testing::laws::normalised_rows(
      smx::testing::on_reference<M>(), smx::testing::problem<M>(smx::testing::cases<M>::examples()[0]));
  REQUIRE(rows);
  CHECK_THAT(*rows, test::contains("y of constant values"));
}

TEST_CASE("verbs of a state that are not kept are noticed") {
  auto const said = [](auto m, auto const& law) {
    using M = decltype(m);
    return smx::testing::judged([&] {
             return law(smx::testing::on_reference<M>(),
                        smx::testing::problem<M>(smx::testing::cases<M>::examples()[0]));
           })
        .value_or("");
  };
  auto const peek = [](auto const& be, auto const& p) {
    return smx::testing::laws::peek_leaves_the_state(be, p);
  };
  auto const rows = [](auto const& be, auto const& p) {
    return smx::testing::laws::rows_move_as_they_are(be, p);
  };
  CHECK(said(toy(), peek) == "");
  CHECK(said(toy(), rows) == "");
  CHECK_THAT(said(test::toy_that_keeps_peeks(), peek), test::contains("the state after a peek"));
  CHECK_THAT(said(test::toy_that_commits_nothing(), peek), test::contains("the state after a commit"));
  CHECK_THAT(said(test::toy_that_hides_its_array(), rows), test::contains("expected extents (0, 0"));
}

TEST_CASE("cross patterns that are not kept are noticed") {
  using test::cross_flaw;
  auto const said = []<cross_flaw Broken>(std::integral_constant<cross_flaw, Broken>, auto const& law) {
    using M = test::cross_toy<Broken>;
    return law(smx::testing::on_reference<M>(),
               smx::testing::problem<M>(smx::testing::cases<M>::examples()[0]))
        .value_or("");
  };
  auto const length = [](auto const& be, auto const& p) {
    return smx::testing::laws::source_has_its_own_length(be, p);
  };
  auto const rows = [](auto const& be, auto const& p) {
    return smx::testing::laws::rows_are_separable(be, p);
  };
  std::integral_constant<cross_flaw, cross_flaw::none> const whole;
  CHECK(said(whole, length) == "");
  CHECK(said(whole, rows) == "");
  CHECK_THAT(said(std::integral_constant<cross_flaw, cross_flaw::pools_queries>{}, rows),
             test::contains("of the first queries alone"));
  CHECK_THAT(said(std::integral_constant<cross_flaw, cross_flaw::reads_later_queries>{}, rows),
             test::contains("with nan in every later query"));
  CHECK_THAT(said(std::integral_constant<cross_flaw, cross_flaw::one_length>{}, length),
             test::contains("queries and a source of"));
}

TEST_CASE("a kernel that disagrees with its recipe is noticed") {
  // what a tuned kernel and a recipe are compared by: the oracle's tolerance
  smx::testing::numbers const want{1, 2}, tolerance{1e-6, 1e-6};
  CHECK_FALSE(smx::testing::within("y", {1, 2 + 1e-7}, want, tolerance));
  CHECK(smx::testing::within("y", {1, 2 + 1e-5}, want, tolerance));
  CHECK(smx::testing::within("y", {1, NAN}, want, tolerance));
  CHECK(smx::testing::within("y", {1}, want, tolerance));
  CHECK(smx::testing::identical("y", {0.0}, {-0.0}));
}
