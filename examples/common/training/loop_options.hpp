// SPDX-License-Identifier: Apache-2.0
/// \file  What a training run is told, what it will cost, and what it says while it goes on.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <smx/backend/plan.hpp>
#include <smx/core/extents.hpp>
#include <smx/nn/schedule.hpp>

namespace smx_examples {

struct training_options {
  smx::index_t steps = 0;  ///< of the whole run; 0: as many as `minutes` allow
  double minutes = 0;      ///< used where steps is 0; the steps are fixed at the end of the warm-up
  double rate = 1e-3;      ///< of learning, at its peak
  smx::index_t warmup = 20;
  smx::decay_law law = smx::decay_law::cosine;
  double final_fraction = 0.05;  ///< of the rate, at the end
  double clip = 1;               ///< longest gradient; 0: any
  double decay = 0.1;            ///< of weights, decoupled
  double beta1 = 0.9, beta2 = 0.99;
  std::uint64_t seed = 1;

  std::string checkpoint;           ///< empty: none is written
  smx::index_t save_every = 200;    ///< steps; 0: at the end only
  bool resume = false;              ///< go on from the checkpoint
  bool overwrite = false;           ///< of a checkpoint and a log that are there
  std::string log, page;            ///< empty: none is written
  smx::index_t log_every = 10;      ///< steps
  smx::index_t evaluate_every = 0;  ///< steps between held-out losses; 0: at the end only
  bool quiet = false;               ///< says nothing on stderr

  std::string title = "training";
  std::string unit = "tokens";  ///< of task.units()
  /// What else shapes the run: the model's sizes, the data. A resumed run must have the same.
  nlohmann::json config = nlohmann::json::object();
};

/// As smx::expects_value, for numbers that are not whole: `name: expected <expected>, got <got>`.
void expects_number(bool ok, std::string const& name, char const* expected, double got);

/// Throws precondition_error, which names the option, for options that make no sense.
void check_training_options(training_options const& o);

/// Throws file_error unless checkpoint and page can be written: asked before the work that they are to keep.
void expects_places(training_options const& o);

/// config and the options that shape the weights: what a checkpoint keeps and a resumed run is held to.
nlohmann::json training_config(training_options const& o);

/// A run that cannot go on; what() says at which step and why.
struct training_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What a run needs. Sizes in bytes.
struct training_plan {
  smx::index_t parameters = 0;
  std::size_t weights = 0;
  smx::cost step;             ///< one step of the task and of the optimizer
  std::size_t held_out = 0;   ///< workspace that the held-out loss takes
  double seconds_a_step = 0;  ///< estimated

  /// Gradients and both moments are as large as the weights; a checkpoint is put together in memory.
  std::size_t memory(bool saves) const {
    return (saves ? 7 : 4) * weights + (step.workspace > held_out ? step.workspace : held_out);
  }
};

/// Products (flops/s) and passes over memory (bytes/s) of a machine.
struct machine_speed {
  double flops = 0, bytes = 0;
};

/// The plan as lines of text: memory, a step, the run.
std::string print_plan(training_plan const& p, training_options const& o, std::string const& model,
                       int threads);

/// "0:35", "2:05:10".
std::string print_seconds(double seconds);

}  // namespace smx_examples
