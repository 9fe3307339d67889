// SPDX-License-Identifier: Apache-2.0
/// \file  The training loop on a model of a few numbers: y = W x is to become y = A x.
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include <signal.h>

#include <examples/common/training/loop.hpp>
#include <smx/backend/cpu.hpp>
#include <smx/nn/linear.hpp>
#include <tests/catch.hpp>
#include <tests/io/temporary_folder.hpp>

namespace {

using smx::index_t;
using smx_examples::training_options;
using model = smx::linear<float>;
constexpr index_t wide = 24, rows = 8;
model const net{wide};

/// Half the mean square of (W - A) x over a batch that is a function of the step.
struct regression {
  index_t poison = -1;  ///< the step whose loss is not a number
  index_t signal = -1;  ///< the step in which SIGINT arrives
  index_t asked = 0;    ///< steps that were computed

  template <class B, class W, class D>
  double loss_and_gradients(B& be, W const& w, index_t step, D const& dw) {
    ++asked;
    if (step == signal) ::raise(SIGINT);
    auto frame = be.scope();
    auto const y = be.template scratch<float>(smx::extents<4>{1, 1, rows, wide}),
               dx = be.template scratch<float>(y.ext), x = be.template scratch<float>(y.ext);
    be.generate(
        smx::detail::random_entries<4>{
            {7, static_cast<std::uint64_t>(step)}, x.ext, {smx::initializer::law::normal, 1}},
        x);
    net.forward(be, w, {smx::as_input(x)}, {}, y);
    double loss = 0;
    for (index_t r = 0; r < rows; ++r)
      for (index_t c = 0; c < wide; ++c) {
        float const target = static_cast<float>(c % 3) * x(0, 0, r, (c + 1) % wide);
        float const error = y(0, 0, r, c) - target;
        loss += 0.5 * error * error / (rows * wide);
        y(0, 0, r, c) = error / (rows * wide);
      }
    net.backward(be, w, {smx::as_input(x)}, {}, smx::as_input(y), dw, {dx});
    return step == poison ? std::numeric_limits<double>::quiet_NaN() : loss;
  }
  template <class P, class W, class D> void plan(P& be, W const& w, D const& dw) const {
    auto const x = be.template scratch<float>(smx::extents<4>{1, 1, rows, wide});
    net.forward(be, w, {smx::as_input(x)}, {}, x);
    static_cast<void>(dw);
  }
  index_t units() const { return rows; }
  template <class B, class W> std::string first_non_finite(B&, W const&, index_t) const { return "the toy"; }
};

training_options options() {
  training_options o;
  o.steps = 60, o.warmup = 5, o.rate = 0.03, o.save_every = 20, o.quiet = true, o.decay = 0.01;
  return o;
}
auto train(regression& task, training_options const& o, int threads = 1) {
  smx::cpu be(threads);
  return smx_examples::train(be, net, task, o, [&](auto& w) { w = smx::initialize(be, net, o.seed); });
}
bool same_bits(smx_examples::host_parameters<model>& a, smx_examples::host_parameters<model>& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.all().ptr, b.all().ptr, a.bytes()) == 0;
}
std::string error_of(regression task, training_options const& o) {
  try {
    train(task, o);
  } catch (std::exception const& e) { return e.what(); }
  return "none";
}

}  // namespace

TEST_CASE("training lowers the loss, and the number of threads changes no bit") {
  regression task;
  auto one = train(task, options(), 1);
  CHECK(one.step == 60);
  // Before training: 5/6, half the mean of c^2 over the channels, and 1/6 from W x.
  CHECK(one.loss < 0.4);
  for (int threads : {2, 3}) {
    regression again;
    auto more = train(again, options(), threads);
    CHECK(more.loss == one.loss);
    CHECK(same_bits(one.weights, more.weights));
  }
}

TEST_CASE("an interrupted run is saved, and goes on bit for bit") {
  test::temporary_folder folder;
  auto o = options();
  regression whole;
  auto expected = train(whole, o);
  o.checkpoint = folder / "run.safetensors", o.log = folder / "log.jsonl", o.log_every = 7;
  regression first{.signal = 33};
  auto part = train(first, o);
  CHECK(part.interrupted == "SIGINT");
  CHECK(part.step == 33);
  o.resume = true;
  regression second;
  auto rest = train(second, o, 2);
  CHECK(rest.interrupted.empty());
  CHECK(rest.step == 60);
  CHECK(second.asked == 60 - 33 + 1);
  CHECK(rest.loss == expected.loss);
  CHECK(same_bits(rest.weights, expected.weights));
  auto const log = smx_examples::read_log(o.log);
  REQUIRE(log.size() == 9);  // steps 7, 14, ..., 56 and 60
  CHECK(log.back().step == 60);
}

TEST_CASE("a loss that is not finite ends the run; the last good checkpoint stays") {
  test::temporary_folder folder;
  auto o = options();
  o.checkpoint = folder / "run.safetensors";
  regression task{.poison = 47};
  CHECK(error_of(task, o) == "step 47: the loss is not a finite number; it first appeared in the toy; " +
                                 o.checkpoint + " holds step 40");
  CHECK(smx_examples::tensor_reader(o.checkpoint).run().counters.at("step") == 40);
  CHECK(error_of({.poison = 0}, options()) ==
        "step 0: the loss is not a finite number; it first appeared in the toy");
}

TEST_CASE("weights that are not finite are named") {
  regression task;
  auto o = options();
  smx::cpu be(1);
  try {
    smx_examples::train(be, net, task, o, [&](auto& w) {
      w = smx::initialize(be, net, 1);
      w.write().bias(3) = std::numeric_limits<float>::infinity();
    });
    FAIL("expected an error");
  } catch (smx_examples::training_error const& e) {
    CHECK(std::string(e.what()) ==
          "step 0: the loss is not a finite number; it first appeared in weight bias");
  }
}

TEST_CASE("a run measured in minutes fixes its steps and resumes with them") {
  test::temporary_folder folder;
  auto o = options();
  o.steps = 0, o.minutes = 0.0002, o.checkpoint = folder / "run.safetensors";
  regression task;
  auto const timed = train(task, o);
  CHECK(timed.step == timed.steps);
  CHECK(timed.steps > o.warmup);
  auto same = options();
  same.steps = timed.steps;
  regression again;
  CHECK(train(again, same).loss == timed.loss);
}

namespace {
/// Evaluates on a thousand times what a step takes.
struct evaluated_regression : regression {
  template <class B, class W> double held_out(B&, W const&) const { return 0; }
  template <class P, class W> void plan_held_out(P&, W const&) const {}
  index_t held_out_units() const { return 1000 * rows; }
};
}  // namespace

TEST_CASE("a run measured in minutes leaves time for its held-out losses") {
  auto o = options();
  o.steps = 0, o.minutes = 0.003, o.evaluate_every = 1;
  regression plain;
  evaluated_regression evaluated;
  smx::cpu be(1);
  auto const init = [&](auto& w) { w = smx::initialize(be, net, o.seed); };
  auto const all = smx_examples::train(be, net, plain, o, init).steps - o.warmup,
             rest = smx_examples::train(be, net, evaluated, o, init).steps - o.warmup;
  CHECK(rest < all / 10);  // about a 330th
}

TEST_CASE("what a run refuses") {
  test::temporary_folder folder;
  auto const path = folder / "run.safetensors";
  auto o = options();
  o.checkpoint = path;
  regression task;
  train(task, o);
  CHECK_THAT(error_of({}, o), test::contains("is there: resume its run"));
  o.resume = true, o.rate = 0.01;
  CHECK_THAT(error_of({}, o), test::contains("training.rate: 0.03 in the checkpoint, 0.01 now"));
  o.checkpoint = folder / "none.safetensors";
  CHECK_THAT(error_of({}, o), test::contains("none.safetensors"));
  o.checkpoint.clear();
  CHECK_THAT(error_of({}, o), test::contains("training: resume"));
  o = options();
  o.steps = 0;
  CHECK_THAT(error_of({}, o), test::contains("training: steps, minutes"));
  o.minutes = 1, o.warmup = 2;
  CHECK_THAT(error_of({}, o), test::contains("training: warmup: expected at least 5 steps"));
  o.minutes = -0.5;
  CHECK_THAT(error_of({}, o), test::contains("a positive number of minutes; minutes, got -0.5"));
}

TEST_CASE("a file that cannot be written is refused before anything is computed") {
  test::temporary_folder folder;
  regression task;
  auto o = options();
  o.checkpoint = folder / "none/run.safetensors";
  CHECK_THROWS_WITH(train(task, o), test::contains("none/run.safetensors: cannot create a file"));
  o.checkpoint = folder / ".", o.overwrite = true;
  CHECK_THROWS_WITH(train(task, o), test::contains("it is a directory"));
  o.checkpoint.clear(), o.page = folder / "none/page.html";
  CHECK_THROWS_WITH(train(task, o), test::contains("none/page.html: cannot create a file"));
  CHECK(task.asked == 0);
}

TEST_CASE("a plan that the machine has no room for is refused before anything is allocated") {
  regression task;
  smx::cpu be(1);
  auto plan = smx_examples::plan_training(be, net, task);
  CHECK(plan.parameters == wide * wide + wide);
  CHECK(plan.seconds_a_step > 0);
  plan.weights = std::size_t{1} << 50;
  bool made = false;
  CHECK_THROWS_AS(smx_examples::train(be, net, task, options(), plan, [&](auto&) { made = true; }),
                  smx_examples::memory_error);
  CHECK(!made);
  CHECK(task.asked == 0);
}
