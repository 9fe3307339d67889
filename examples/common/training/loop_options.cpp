// SPDX-License-Identifier: Apache-2.0
#include <examples/common/training/loop_options.hpp>

#include <cmath>
#include <cstdio>

#include <examples/common/training/memory_check.hpp>
#include <smx/core/check.hpp>
#include <smx/io/safetensors_writer.hpp>

namespace smx_examples {

namespace {

char const* name_of(smx::decay_law law) {
  switch (law) {
    case smx::decay_law::linear:
      return "linear";
    case smx::decay_law::cosine:
      return "cosine";
    case smx::decay_law::constant:
      break;
  }
  return "constant";
}

}  // namespace

void expects_number(bool ok, std::string const& name, char const* expected, double got) {
  char number[40];
  std::snprintf(number, sizeof number, "%g", got);
  smx::expects(ok, (name + ": expected " + expected + ", got " + number).c_str());
}

void check_training_options(training_options const& o) {
  using smx::expects_value;
  expects_value(o.steps >= 0, "training: steps", "0 (by time) or a positive number", o.steps);
  expects_number(o.steps > 0 || (o.minutes > 0 && std::isfinite(o.minutes)), "training: steps, minutes",
                 "a number of steps, or a positive number of minutes; minutes", o.minutes);
  expects_number(o.rate > 0 && std::isfinite(o.rate), "training: rate", "a positive number", o.rate);
  expects_value(o.warmup >= 0 && (o.steps == 0 || o.warmup <= o.steps), "training: warmup",
                "0 to the number of steps", o.warmup);
  expects_value(o.steps > 0 || o.warmup >= 5, "training: warmup",
                "at least 5 steps where the run is measured in minutes", o.warmup);
  expects_number(o.final_fraction >= 0 && o.final_fraction <= 1, "training: final_fraction",
                 "a number from 0 to 1", o.final_fraction);
  expects_number(o.clip >= 0, "training: clip", "0 (no clipping) or a positive number", o.clip);
  expects_number(o.decay >= 0, "training: decay", "a number that is not negative", o.decay);
  expects_value(o.save_every >= 0, "training: save_every", "at least 0", o.save_every);
  expects_value(o.log_every >= 1, "training: log_every", "at least 1", o.log_every);
  expects_value(o.evaluate_every >= 0, "training: evaluate_every", "at least 0", o.evaluate_every);
  smx::expects(!o.resume || !o.checkpoint.empty(),
               "training: resume: expected the path of a checkpoint, got none");
}

void expects_places(training_options const& o) {
  for (std::string const* path : {&o.checkpoint, &o.page})
    if (!path->empty()) smx::detail::replacement_file const may_be_written(*path);
}

nlohmann::json training_config(training_options const& o) {
  nlohmann::json all = o.config;
  nlohmann::json& t = all["training"];
  t["rate"] = o.rate;
  t["warmup"] = o.warmup;
  t["schedule"] = name_of(o.law);
  t["final_fraction"] = o.final_fraction;
  t["clip"] = o.clip;
  t["decay"] = o.decay;
  t["beta1"] = o.beta1;
  t["beta2"] = o.beta2;
  t["seed"] = o.seed;
  if (o.steps > 0)
    t["steps"] = o.steps;
  else
    t["minutes"] = o.minutes;
  return all;
}

std::string print_seconds(double seconds) {
  auto const n = static_cast<long>(seconds + 0.5);
  char text[48];
  if (n < 3600)
    std::snprintf(text, sizeof text, "%ld:%02ld", n / 60, n % 60);
  else
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", n / 3600, n / 60 % 60, n % 60);
  return text;
}

std::string print_plan(training_plan const& p, training_options const& o, std::string const& model,
                       int threads) {
  bool const saves = !o.checkpoint.empty();
  std::size_t const workspace = p.memory(false) - 4 * p.weights;
  std::string text = "plan of " + model + ": " + std::to_string(p.parameters) + " parameters\n";
  text += "  memory   " + print_bytes(p.memory(saves)) + ": weights " + print_bytes(p.weights) +
          ", gradients and moments " + print_bytes(3 * p.weights) + ", workspace " + print_bytes(workspace);
  if (saves) text += ", a save " + print_bytes(3 * p.weights);
  text += "; available " + print_bytes(read_memory().available) + "\n";
  char line[200];
  std::snprintf(line, sizeof line, "  a step   %.3g GFLOP, %.3g GB moved: about %.3g s on %d thread%s\n",
                p.step.flops * 1e-9, p.step.bytes * 1e-9, p.seconds_a_step, threads, threads == 1 ? "" : "s");
  text += line;
  if (o.steps > 0)
    text += "  the run  " + std::to_string(o.steps) + " steps: about " +
            print_seconds(static_cast<double>(o.steps) * p.seconds_a_step);
  else
    text += "  the run  " + print_seconds(60 * o.minutes) + ": about " +
            std::to_string(static_cast<long>(60 * o.minutes / p.seconds_a_step)) + " steps";
  return text + " (estimated from a product and a pass over memory, measured now)\n";
}

}  // namespace smx_examples
