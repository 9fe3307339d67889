// SPDX-License-Identifier: Apache-2.0
/// \file  The command line of the training programs: the options of the loop, and how a program ends.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <exception>
#include <string>

#include <CLI/CLI.hpp>

#include <examples/common/training/loop_options.hpp>
#include <smx/core/check.hpp>

namespace smx_examples {

/// For whole numbers from `least` on. (CLI11's own checks print the largest double as the other bound.)
inline CLI::Validator at_least(long long least) {
  return CLI::Validator(
      [least](std::string& text) {
        long long n = 0;
        char const* const end = text.data() + text.size();
        if (std::from_chars(text.data(), end, n).ptr == end && n >= least) return std::string();
        return "expected a whole number of at least " + std::to_string(least) + ", got " + text;
      },
      "");
}

inline CLI::Option* add_threads(CLI::App& app, int& threads, char const* about = "Threads; 0: all cores") {
  return app.add_option("--threads", threads, about)->check(at_least(0))->capture_default_str();
}

/// Adds --steps, --rate, --checkpoint, ... and --plan; `seed_of` says what the seed is of.
inline void add_training_options(CLI::App& app, training_options& t, bool& plan, char const* seed_of) {
  app.add_option("--steps", t.steps, "Steps of the run; 0: as many as --minutes allow")
      ->capture_default_str();
  app.add_option("--minutes", t.minutes, "Length of the run where --steps is 0")->capture_default_str();
  app.add_option("--rate", t.rate, "Learning rate at its peak")->capture_default_str();
  app.add_option("--warmup", t.warmup,
                 "Steps before the peak (default: " + std::to_string(t.warmup) +
                     ", or a tenth of the steps where that is less)");
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

/// The usual warm-up is for long runs: shortens it unless it was asked for.
inline void settle_warmup(CLI::App const& app, training_options& t) {
  if (t.steps > 0 && app.count("--warmup") == 0) t.warmup = std::min(t.warmup, t.steps / 10);
}

/// What an error says to somebody who uses the program: without the place in the source that it begins with.
inline std::string print_error(std::exception const& e) {
  std::string const text = e.what();
  if (dynamic_cast<smx::precondition_error const*>(&e) == nullptr) return text;
  auto const line = text.find(": "), function = line == text.npos ? line : text.find(": ", line + 1);
  return function == text.npos ? text : text.substr(function + 2);
}

/// Parses the command line and runs `command`. What was wrong is said last, behind the options where they
/// help. Returns the exit status: 0; 1: something failed; 2: wrong use.
template <class F> int run_program(CLI::App& app, int argc, char** argv, F const& command) {
  try {
    app.parse(argc, argv);
  } catch (CLI::ParseError const& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help
    auto const used = app.get_subcommands();
    std::string const what =
        used.empty() && argc > 1 ? std::string("expected a command, got ") + argv[1] : e.what();
    std::fprintf(stderr, "%s\n%s: %s\n", (used.empty() ? app : *used.front()).help().c_str(),
                 app.get_name().c_str(), what.c_str());
    return 2;
  }
  try {
    command();
  } catch (std::exception const& e) {
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), print_error(e).c_str());
    return 1;
  }
  return 0;
}

}  // namespace smx_examples
