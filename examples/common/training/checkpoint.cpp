// SPDX-License-Identifier: Apache-2.0
#include <examples/common/training/checkpoint.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <set>
#include <string_view>

#include <signal.h>
#include <unistd.h>

namespace smx_examples {

namespace {

constexpr char format[] = "smx.checkpoint", version[] = "1";
constexpr std::string_view of_run = "state.", of_optimizer = "optimizer.";

std::string quoted(std::string const& name) { return "'" + name + "'"; }

/// Removes the files that saves of processes which are gone have left beside `path`. Saves that run, of this
/// machine's processes, keep theirs.
void remove_leftovers(std::string const& path) {
  namespace fs = std::filesystem;
  std::error_code code;
  fs::path const target = fs::weakly_canonical(path, code);  // the writer follows links too
  if (code) return;
  std::string const stem = target.filename().string() + ".part-";
  std::vector<fs::path> gone;
  for (fs::directory_iterator it(target.parent_path(), code), end; !code && it != end; it.increment(code)) {
    std::string const name = it->path().filename().string();
    if (!name.starts_with(stem)) continue;
    long process = 0;
    char const *const first = name.data() + stem.size(), *const last = name.data() + name.size();
    auto const [at, error] = std::from_chars(first, last, process);
    if (error != std::errc() || at == last || *at != '-' || process < 1) continue;
    if (::kill(static_cast<::pid_t>(process), 0) != 0 && errno == ESRCH) gone.push_back(it->path());
  }
  for (auto const& one : gone) fs::remove(one, code);
}

/// Leaves of a JSON value by dotted name; arrays are leaves.
void flatten(nlohmann::json const& from, std::string const& name, std::map<std::string, nlohmann::json>& to) {
  if (!from.is_object() || from.empty()) {
    if (!name.empty()) to[name] = from;
    return;
  }
  for (auto const& [key, value] : from.items()) flatten(value, name.empty() ? key : name + "." + key, to);
}

}  // namespace

checkpoint_writer::checkpoint_writer(run_state const& run) {
  smx::expects(run.config.is_object(), "checkpoint: config: expected a JSON object");
  file_.set_metadata("format", format);
  file_.set_metadata("version", version);
  file_.set_metadata("config", run.config.dump());
  for (auto const& [name, count] : run.counters) file_.add(std::string(of_run) + name, count);
}

void checkpoint_writer::write(std::string const& path) const {
  remove_leftovers(path);  // before: they may hold the room that this one needs
  file_.write(path);
}

bool tensor_reader::is_checkpoint() const {
  auto const it = file_.metadata().find("format");
  return it != file_.metadata().end() && it->second == format;
}

run_state tensor_reader::run() const {
  if (!is_checkpoint())
    throw smx::file_error(file_.path(), std::string("expected a checkpoint (metadata 'format': '") + format +
                                            "'), got another safetensors file");
  auto const text = [&](char const* key) {
    auto const it = file_.metadata().find(key);
    return it == file_.metadata().end() ? std::string() : it->second;
  };
  if (text("version") != version)
    throw smx::file_error(file_.path(), "metadata 'version': expected '" + std::string(version) + "', got '" +
                                            text("version") + "'");
  run_state run;
  run.config = nlohmann::json::parse(text("config"), nullptr, false);
  if (!run.config.is_object())
    throw smx::file_error(file_.path(), "metadata 'config': expected a JSON object");
  for (auto const& name : file_.names()) {
    if (!name.starts_with(of_run)) continue;
    auto const& entry = file_.at(name);
    if (entry.dtype != smx::stored_dtype::i64 || !entry.shape.empty())
      throw smx::file_error(file_.path(), "tensor " + quoted(name) + ": expected a scalar of type I64, got " +
                                              smx::name_of(entry.dtype) + " of extents " +
                                              smx::detail::print_shape(entry.shape));
    run.counters[name.substr(of_run.size())] = file_.read<std::int64_t>(name).front();
  }
  return run;
}

std::string tensor_reader::problem(wanted const& w, bool convert) const {
  auto const* const found = file_.find(w.name);
  if (found == nullptr)
    return quoted(w.name) + ": missing (" + smx::name_of(w.dtype) + " of extents " +
           smx::detail::print_shape(w.shape) + ")";
  if (found->shape != w.shape)
    return quoted(w.name) + ": expected extents " + smx::detail::print_shape(w.shape) + ", got " +
           smx::detail::print_shape(found->shape);
  bool const converts = convert && w.dtype != smx::stored_dtype::i64 &&
                        smx::detail::element_reader<double>(found->dtype) != nullptr;
  if (found->dtype != w.dtype && !converts)
    return quoted(w.name) + ": expected type " + smx::name_of(w.dtype) + ", got " +
           smx::name_of(found->dtype);
  return {};
}

std::vector<std::string> tensor_reader::unknown() const {
  std::set<std::string> known;
  bool optimizer = false;
  for (auto const& w : wanted_) {
    known.insert(w.name);
    optimizer = optimizer || w.name.starts_with(of_optimizer);
  }
  bool const ours = is_checkpoint();
  std::vector<std::string> names;
  for (auto const& name : file_.names()) {
    if (known.contains(name) || (ours && name.starts_with(of_run))) continue;
    if (ours && !optimizer && name.starts_with(of_optimizer)) continue;
    names.push_back(name);
  }
  return names;
}

std::vector<std::string> tensor_reader::read(load_options const& how) const {
  std::vector<std::string> problems;
  for (auto const& w : wanted_)
    if (auto text = problem(w, how.convert); !text.empty()) problems.push_back(std::move(text));
  auto names = unknown();
  if (how.unknown_is_error)
    for (auto const& name : names) {
      auto const& entry = file_.at(name);
      problems.push_back(quoted(name) + ": unknown (" + smx::name_of(entry.dtype) + " of extents " +
                         smx::detail::print_shape(entry.shape) + ")");
    }
  if (!problems.empty()) {
    std::string text = std::to_string(problems.size()) +
                       (problems.size() == 1 ? " tensor does not fit:" : " tensors do not fit:");
    for (auto const& one : problems) text += "\n  " + one;
    throw smx::file_error(file_.path(), text);
  }
  for (auto const& w : wanted_) w.read();
  return names;
}

std::vector<std::string> config_differences(nlohmann::json const& stored, nlohmann::json const& now,
                                            std::vector<std::string> const& except) {
  std::map<std::string, nlohmann::json> before, after;
  flatten(stored, "", before);
  flatten(now, "", after);
  std::set<std::string> names;
  for (auto const& [name, value] : before) names.insert(name);
  for (auto const& [name, value] : after) names.insert(name);
  std::vector<std::string> lines;
  for (auto const& name : names) {
    if (std::ranges::find(except, name) != except.end()) continue;
    auto const a = before.find(name), b = after.find(name);
    auto const text = [](auto it, auto const& in) {
      return it == in.end() ? "not there" : it->second.dump();
    };
    if (a != before.end() && b != after.end() && a->second == b->second) continue;
    lines.push_back(name + ": " + text(a, before) + " in the checkpoint, " + text(b, after) + " now");
  }
  return lines;
}

}  // namespace smx_examples
