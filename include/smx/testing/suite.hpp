// SPDX-License-Identifier: Apache-2.0
/// \file  All laws over all examples of a mixer and all backends of a list, without a test framework.
///
/// A mixer joins by a specialisation of cases (see cases.hpp), a backend by a line in a list:
///
/// ```cpp
/// auto const backends = std::tuple{
///     smx::testing::backend{"reference", [] { return smx::reference_backend(); }},
///     smx::testing::backend{"cpu", [](int threads = 2) { return smx::cpu(threads); }},
/// };
/// smx::testing::check_mixer<my_mixer>(backends, nullptr, [](std::string const& what, auto const& failure) {
///   if (failure) std::printf("%s\n  %s\n", what.c_str(), failure->c_str());
/// });
/// ```
///
/// What `make` may take besides nothing: see backend in maker.hpp. With Catch2: conformance.hpp.
#pragma once

#include <tuple>

#include <smx/testing/laws/causality.hpp>
#include <smx/testing/laws/errors.hpp>
#include <smx/testing/laws/forward.hpp>
#include <smx/testing/laws/gradients.hpp>
#include <smx/testing/laws/invariance.hpp>
#include <smx/testing/laws/patterns.hpp>
#include <smx/testing/laws/resources.hpp>
#include <smx/testing/laws/states.hpp>
#include <smx/testing/laws/streaming.hpp>
#include <smx/testing/maker.hpp>

namespace smx::testing {

/// "monarch f32 of (2, 1, 7, 3)"
template <class M> std::string described(problem<M> const& p) {
  std::string line = text("%.*s %s of", static_cast<int>(M::about.name.size()), M::about.name.data(),
                          dtype_name<typename M::scalar>());
  for (extents<4> const& e : p.ext) {
    char size[128];
    smx::detail::print_extents(size, sizeof size, e.n, 4, false);
    line += std::string(" ") + size;
  }
  return line;
}

/// Every law for one problem on one backend: report(name of the law, verdict). `allocations` counts the
/// allocations of the process so far; null leaves out the law that needs it.
template <HasCases M, class Report>
void check_laws(problem<M> const& p, maker<M> const& make, long (*allocations)(), Report const& report) {
  runner<M> const be = make();
  auto const law = [&](char const* name, auto const& f) { report(name, judged(f)); };
  law("forward equals the oracle", [&] { return laws::forward_equals_oracle(be, p); });
  law("gradients equal those of the reference", [&] { return laws::gradients_equal_reference(be, p); });
  law("runs repeat bit for bit", [&] { return laws::repeats(be, p); });
  law("a tape changes nothing", [&] { return laws::tape_changes_nothing(be, p); });
  law("the workspace is planned", [&] { return laws::workspace_is_planned(make, p); });
  law("stays in its memory", [&] { return laws::stays_in_its_memory(make, p); });
  law("threads agree bit for bit", [&] { return laws::threads_agree(make, p); });
  if (allocations != nullptr && !make.may_allocate())
    law("allocates nothing", [&] { return laws::allocates_nothing(be, p, allocations); });
  if (!p.small || make.like_another()) return;
  law("backward is the adjoint", [&] { return laws::backward_is_adjoint(be, p); });
  law("weight gradients accumulate", [&] { return laws::gradients_accumulate(be, p); });
  law("batch and heads are independent",
      [&] { return laws::batch_and_heads_are_independent(be, p, !make.shape_changes_bits()); });
  law("layouts agree", [&] { return laws::layouts_agree(be, p); });
  law("rows depend on what they see", [&] { return laws::rows_depend_on_what_they_see(be, p); });
  law("the future is unread", [&] { return laws::future_is_unread(be, p); });
  law("prefixes agree", [&] { return laws::prefixes_agree(be, p, !make.shape_changes_bits()); });
  law("the source has a length of its own", [&] { return laws::source_has_its_own_length(be, p); });
  law("rows are separable in the queries", [&] { return laws::rows_are_separable(be, p); });
  law("streaming equals forward", [&] { return laws::streaming_equals_forward(be, p); });
  if constexpr (M::about.streaming) {
    law("peek leaves the state", [&] { return laws::peek_leaves_the_state(be, p); });
    law("rows move as they are", [&] { return laws::rows_move_as_they_are(be, p); });
    law("truncate forgets", [&] { return laws::truncate_forgets(be, p); });
    law("evicted tokens are gone", [&] { return laws::evicted_tokens_are_gone(be, p); });
    law("refusals leave the state", [&] { return laws::refusals_leave_the_state(be, p); });
  }
  law("rows are normalised", [&] { return laws::normalised_rows(be, p); });
  law("NaN propagates", [&] { return laws::nan_propagates(be, p); });
  law("bad extents throw", [&] { return laws::bad_extents_throw(be, p); });
  law("overlaps throw", [&] { return laws::overlaps_throw(be, p); });
  law("an empty tape throws", [&] { return laws::empty_tape_throws(be, p); });
}

/// Every law, every example of M, every backend of the list: report(what was run, verdict).
template <HasCases M, class... Make, class Report>
void check_mixer(std::tuple<backend<Make>...> const& backends, long (*allocations)(), Report const& report) {
  std::vector<maker<M>> const makers =
      std::apply([](auto const&... line) { return std::vector<maker<M>>{maker<M>(line)...}; }, backends);
  report(std::string(M::about.name) + ": flops grow as advertised",
         judged([] { return laws::flops_grow_as_advertised<M>(); }));
  for (example<M> const& e : cases<M>::examples()) {
    problem<M> const p(e);
    std::string const what = described(p);
    for (maker<M> const& make : makers)
      check_laws(p, make, allocations, [&](char const* law, verdict const& found) {
        report(what + " on " + make.name() + ": " + law, found);
      });
  }
}

}  // namespace smx::testing
