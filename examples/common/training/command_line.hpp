// SPDX-License-Identifier: Apache-2.0
/// \file  The options of the training loop on a command line: one list for all programs.
#pragma once

#include <CLI/CLI.hpp>

#include <examples/common/training/loop_options.hpp>

namespace smx_examples {

/// Adds --steps, --rate, --checkpoint, ... and --plan; `seed_of` says what the seed is of.
inline void add_training_options(CLI::App& app, training_options& t, bool& plan, char const* seed_of) {
  app.add_option("--steps", t.steps, "Steps of the run; 0: as many as --minutes allow")
      ->capture_default_str();
  app.add_option("--minutes", t.minutes, "Length of the run where --steps is 0")->capture_default_str();
  app.add_option("--rate", t.rate, "Learning rate at its peak")->capture_default_str();
  app.add_option("--warmup", t.warmup, "Steps before the peak")->capture_default_str();
  app.add_option("--decay", t.decay, "Weight decay")->capture_default_str();
  app.add_option("--clip", t.clip, "Longest gradient; 0: any")->capture_default_str();
  app.add_option("--seed", t.seed, seed_of)->capture_default_str();
  app.add_option("--checkpoint", t.checkpoint, "File that the run is saved to");
  app.add_option("--save-every", t.save_every, "Steps between saves; 0: at the end only")
      ->capture_default_str();
  app.add_flag("--resume", t.resume, "Go on from the checkpoint");
  app.add_flag("--overwrite", t.overwrite, "Begin again where there is a checkpoint");
  app.add_option("--log", t.log, "Log as JSON lines");
  app.add_option("--page", t.page, "HTML page with curves");
  app.add_option("--log-every", t.log_every, "Steps between records")->capture_default_str();
  app.add_option("--evaluate-every", t.evaluate_every, "Steps between held-out losses; 0: at the end only")
      ->capture_default_str();
  app.add_flag("--plan", plan, "Only print what memory and time the run would take");
  app.add_flag("--quiet", t.quiet, "No progress on stderr");
}

}  // namespace smx_examples
