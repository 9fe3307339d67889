// SPDX-License-Identifier: Apache-2.0
/// \file  Checkpoints: everything that a training run needs to go on, in one safetensors file.
///
/// Tensors: the weights under their own names, so that the file is a model file too; the moments of AdamW as
/// `optimizer.first.NAME` and `optimizer.second.NAME`, its count as `optimizer.steps`; counters (step, data
/// position, random counters) as `state.NAME`, scalars of type I64. Metadata: format "smx.checkpoint",
/// version "1", and the run's config as JSON.
///
/// The target is always a whole checkpoint: the bytes go to a file beside it, which is forced to the disk and
/// renamed. What a save that was killed has left beside it, the next save removes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <smx/io/safetensors.hpp>
#include <smx/io/safetensors_writer.hpp>
#include <smx/nn/adamw.hpp>

namespace smx_examples {

/// Where a run is, beside its weights.
struct run_state {
  nlohmann::json config = nlohmann::json::object();  ///< all options that shape the run
  std::map<std::string, std::int64_t> counters;      ///< "step", "data.position", "random.seed", ...
};

/// What a model of type M keeps on the host.
template <class M> using host_parameters = smx::parameters_in<M, smx::host_space>;
template <class M> using host_adamw_state = smx::adamw_state_in<M, smx::host_space>;

/// Collects a checkpoint, and writes it.
class checkpoint_writer {
 public:
  /// Throws precondition_error unless the config is a JSON object.
  explicit checkpoint_writer(run_state const& run);

  /// The weights of m, each under `prefix` and its name.
  template <class M> void add(std::string const& prefix, M const& m, host_parameters<M> const& w) {
    m.for_each_weight([&](auto const& info, auto const& one) { file_.add(prefix + info.name, one); },
                      w.read());
  }
  template <class M> void add_optimizer(M const& m, host_adamw_state<M> const& s) {
    add("optimizer.first.", m, s.first);
    add("optimizer.second.", m, s.second);
    file_.add("optimizer.steps", static_cast<std::int64_t>(s.steps));
  }
  /// Throws file_error, with the path and the system's text; the target is then as it was.
  void write(std::string const& path) const;

 private:
  smx::safetensors_writer file_;
};

/// Writes a checkpoint of weights, optimizer and run to `path`.
template <class M>
void save_checkpoint(std::string const& path, run_state const& run, M const& m, host_parameters<M> const& w,
                     host_adamw_state<M> const& s) {
  checkpoint_writer file(run);
  file.add("", m, w);
  file.add_optimizer(m, s);
  file.write(path);
}

struct load_options {
  bool unknown_is_error = false;  ///< whether tensors that nobody asked for are refused
  bool convert = false;           ///< whether other real types are converted; else the type must be the same
};

/// Reads a checkpoint, or weights from any safetensors file. Tensors are asked for with want(); read() then
/// checks all of them before it writes the first one.
class tensor_reader {
 public:
  /// Throws file_error for a file that is missing or damaged.
  explicit tensor_reader(std::string const& path) : file_(path) {}

  smx::safetensors_file const& file() const { return file_; }
  bool is_checkpoint() const;
  /// The config and the counters of a checkpoint; throws file_error for another file.
  run_state run() const;

  template <class T, int R> void want(std::string name, smx::view<T, R, smx::host_space> to) {
    std::function<void()> read = [this, name, to] { file_.read(name, to); };
    wanted_.push_back(
        {std::move(name), smx::stored_dtype_of<T>(), {to.ext.n, to.ext.n + R}, std::move(read)});
  }
  /// All weights of m, each under `prefix` and its name.
  template <class M> void want(std::string const& prefix, M const& m, host_parameters<M>& w) {
    m.for_each_weight([&](auto const& info, auto const& one) { want(prefix + info.name, one); }, w.write());
  }
  template <class M> void want_optimizer(M const& m, host_adamw_state<M>& s) {
    want("optimizer.first.", m, s.first);
    want("optimizer.second.", m, s.second);
    want("optimizer.steps", smx::view<std::int64_t, 1, smx::host_space>(&s.steps, {1}));
    wanted_.back().shape.clear();
    wanted_.back().read = [this, &s] { s.steps = file_.read<std::int64_t>("optimizer.steps").front(); };
  }

  /// Fills what was asked for, and returns the names of the tensors that nobody asked for; those of a
  /// checkpoint's run, and of its optimizer where none was asked for, are not among them. Throws file_error,
  /// which lists every tensor that is missing, of another type or other extents (expected, actual) or, where
  /// the options say so, unknown; nothing was written then.
  std::vector<std::string> read(load_options const& how = {}) const;

 private:
  struct wanted {
    std::string name;
    smx::stored_dtype dtype;
    std::vector<smx::index_t> shape;
    std::function<void()> read;
  };
  std::string problem(wanted const& w, bool convert) const;
  std::vector<std::string> unknown() const;

  smx::safetensors_file file_;
  std::vector<wanted> wanted_;
};

/// One line for each option that differs, `model.layers: 4 in the checkpoint, 6 now`; nested objects are
/// compared entry by entry. Options in `except`, by their whole dotted name, may differ.
std::vector<std::string> config_differences(nlohmann::json const& stored, nlohmann::json const& now,
                                            std::vector<std::string> const& except = {});

/// Fills weights and optimizer from the checkpoint of a run with this config (but for `except`), and returns
/// where the run was. Throws file_error, which lists what differs; nothing was written then.
template <class M>
run_state resume_checkpoint(std::string const& path, nlohmann::json const& config,
                            std::vector<std::string> const& except, M const& m, host_parameters<M>& w,
                            host_adamw_state<M>& s) {
  tensor_reader file(path);
  run_state run = file.run();
  std::string differences;
  for (auto const& line : config_differences(run.config, config, except)) differences += "\n  " + line;
  if (!differences.empty()) throw smx::file_error(path, "the checkpoint is of another config:" + differences);
  file.want("", m, w);
  file.want_optimizer(m, s);
  file.read({.unknown_is_error = true});
  return run;
}

}  // namespace smx_examples
