// SPDX-License-Identifier: Apache-2.0
/// \file  Laws of what a mixer takes: the planned workspace, no heap, flops that grow as advertised.
#pragma once

#include <cmath>

#include <smx/mixers/planning.hpp>
#include <smx/testing/guarded.hpp>
#include <smx/testing/maker.hpp>
#include <smx/testing/problem.hpp>

namespace smx::testing {

/// A block for a borrowed workspace, every byte 0xFF (a NaN in every float), with marked bytes around it.
class poisoned_block {
 public:
  explicit poisoned_block(std::size_t bytes)
      : bytes_(bytes), cells_(bytes + memory_alignment + 2 * zone, std::byte{0xA5}) {
    auto const start = reinterpret_cast<std::uintptr_t>(cells_.data()) + zone;
    first_ = zone + (memory_alignment - start % memory_alignment) % memory_alignment;
    std::fill_n(cells_.begin() + static_cast<std::ptrdiff_t>(first_), bytes, std::byte{0xFF});
  }
  void* block() { return cells_.data() + first_; }
  std::size_t bytes() const { return bytes_; }
  verdict intact() const {
    for (std::size_t i = 0; i < cells_.size(); ++i)
      if ((i < first_ || i >= first_ + bytes_) && cells_[i] != std::byte{0xA5})
        return text("byte %lld of a workspace of %zu bytes was written",
                    static_cast<long long>(i) - static_cast<long long>(first_), bytes_);
    return holds;
  }

 private:
  static constexpr std::size_t zone = 1024;
  std::size_t bytes_, first_ = 0;
  std::vector<std::byte> cells_;
};

}  // namespace smx::testing

namespace smx::testing::laws {

/// A fresh backend uses exactly the workspace that the plan says: forward, and training. `make()` gives one.
template <HasCases M> verdict workspace_is_planned(maker<M> const& make, problem<M> const& p) {
  auto const compare = [](char const* pass, std::size_t used, std::size_t plan) -> verdict {
    if (used == plan) return holds;
    return text("%s used %zu bytes of workspace, the plan says %zu", pass, used, plan);
  };
  {
    auto be = make();
    forward_values(be, p.mixer, p.w(), p.x());
    if (auto bad = compare("forward", be.workspace_bytes(), be.planned(p.mixer, p.all_ext).forward.workspace))
      return bad;
  }
  auto be = make();
  train(be, p);
  return compare("training", be.workspace_bytes(), be.planned(p.mixer, p.all_ext).training.workspace);
}

/// In a caller's block of exactly the planned size, filled with NaN, the results have the bits of any other
/// run; nothing is written or read outside the block or outside an argument; a block one grain smaller
/// throws. Backends that
/// take no workspace run in their own.
template <HasCases M> verdict stays_in_its_memory(maker<M> const& make, problem<M> const& p) {
  auto plain = make();
  plan_report const plan = plain.planned(p.mixer, p.all_ext);
  training_values const want = train(plain, p);
  numbers const y = forward_values(plain, p.mixer, p.w(), p.x());

  auto const check = [&](runner<M> const& be, poisoned_block const& block) -> verdict {
    guarded_run<M> run(p, layout::contiguous);
    be.forward(p.mixer, run.w, run.x, run.y.write());
    if (auto bad = block.intact()) return bad;
    if (auto bad = run.intact(p.mixer)) return bad;
    return identical("y between marked cells", values(run.y.read()), y);
  };
  auto const check_training = [&](runner<M> const& be, poisoned_block const& block) -> verdict {
    guarded_run<M> run(p, layout::contiguous);
    be.train(p.mixer, run.w, run.x, run.dy.read(), run.y.write(), run.dw, run.dx);
    if (auto bad = block.intact()) return bad;
    if (auto bad = run.intact(p.mixer)) return bad;
    verdict bad;
    std::size_t i = 0, j = 0;
    p.mixer.for_each_weight(
        [&](auto const& info, auto const& dw) {
          if (!bad) bad = identical(info.name, values(dw), want.g.dw[i]);
          ++i;
        },
        run.dw);
    M::for_each_input(
        [&](char const* name, auto const& dx) {
          if (dx.size() == 0) return;
          if (!bad) bad = identical(name, values(dx), want.g.dx[j]);
          ++j;
        },
        run.dx);
    return in_context("gradient, between marked cells", bad);
  };
  if (!make.takes_workspace()) {
    poisoned_block const none(0);
    if (auto bad = check(plain, none)) return bad;
    return check_training(plain, none);
  } else {
    poisoned_block forward_block(plan.forward.workspace), training_block(plan.training.workspace);
    auto const in = [&](poisoned_block& b) { return make.inside(b.block(), b.bytes()); };
    if (auto bad = check(in(forward_block), forward_block)) return bad;
    if (auto bad = check_training(in(training_block), training_block)) return bad;
    if (plan.training.workspace < memory_alignment) return holds;
    poisoned_block small(plan.training.workspace - memory_alignment);
    try {
      train(in(small), p);
    } catch (precondition_error const&) { return small.intact(); }
    return text("a workspace %zu bytes smaller than planned did not throw", memory_alignment);
  }
}

/// After a first call, forward, training, and what moves a state allocate nothing. `allocations()` counts the
/// allocations of the process so far.
template <HasCases M>
verdict allocates_nothing(runner<M> const& be, problem<M> const& p, long (*allocations)()) {
  using T = typename M::scalar;
  tensor<T, 4> y(p.output);
  gradient_memory<M> g(p.mixer, p.x());
  auto const counted = [&](char const* pass, auto const& run) -> verdict {
    long const before = allocations();
    run();
    long const made = allocations() - before;
    if (made == 0) return holds;
    return text("%s allocated %lld times after its first call", pass, static_cast<long long>(made));
  };
  auto const training = [&] { be.train(p.mixer, p.w(), p.x(), p.dy(), y.view(), g.dw.write(), g.dx); };
  auto const x = p.x();
  auto const forward = [&] { be.forward(p.mixer, p.w(), x, y.view()); };
  forward();
  training();
  if (auto bad = counted("forward", forward)) return bad;
  if (auto bad = counted("training", training)) return bad;
  if constexpr (M::about.streaming) {
    if (!streams(p.mixer)) return holds;
    for (extents<4> const& e : p.ext)
      if (e[2] != p.output[2]) return holds;
    auto const token = [&](index_t at) {
      auto one = x;
      M::for_each_input(
          [&](char const*, auto& v) {
            if (v.size() > 0) v = slice(v, 2, at, 1);
          },
          one);
      return one;
    };
    // every step but the first of a state: some of them do more than others
    auto state = be.make_state(p.mixer, p.w(), x, p.output[2]);
    auto const run = [&](index_t from, index_t to) {
      for (index_t at = from; at < to; ++at) {
        be.step(p.mixer, p.w(), token(at), state, slice(y.view(), 2, at, 1));
      }
    };
    run(0, p.output[2]);  // the workspace grows to what the longest step takes
    state = be.make_state(p.mixer, p.w(), x, p.output[2]);
    run(0, 1);
    if (auto bad = counted("step", [&] { run(1, p.output[2]); })) return bad;

    if (p.output[2] < 2) return holds;
    std::vector<index_t> from(static_cast<std::size_t>(p.output[0]), 0);
    auto const one = slice(y.view(), 2, 1, 1);
    auto const verbs = [&] {
      be.peek(p.mixer, p.w(), token(1), state, one);
      be.reorder(state, from);
      be.commit(p.mixer, p.w(), token(1), state);
    };
    state = be.make_state(p.mixer, p.w(), x, p.output[2]);
    run(0, 1);
    verbs();
    state = be.make_state(p.mixer, p.w(), x, p.output[2]);
    run(0, 1);
    return counted("peek, reorder, commit", verbs);
  }
  return holds;
}

/// The planned flops of the recipe grow as L^e with the exponent that the traits give. Between 2^14 and 2^18
/// a factor log L counts as 0.09 of an exponent, log(L / 32) as 0.133; of such factors cases<M>::logarithms
/// are allowed, else one.
template <HasCases M> verdict flops_grow_as_advertised() {
  double const small = 0x1p14, large = 0x1p18;
  auto const flops = [](double length) {
    example<M> const e = cases<M>::sized(static_cast<index_t>(length));
    return detail::planned(0, e.mixer, e.inputs).forward.flops;
  };
  double const exponent = std::log(flops(large) / flops(small)) / std::log(large / small);
  double const logarithms = [] {
    if constexpr (requires { cases<M>::logarithms; })
      return static_cast<double>(cases<M>::logarithms);
    else
      return 1.0;
  }();
  if (std::fabs(exponent - M::about.flops_exponent) <= 0.01 + 0.133 * logarithms) return holds;
  return text("flops grow as L^%.3f, the traits say L^%.3f", exponent, M::about.flops_exponent);
}

}  // namespace smx::testing::laws
