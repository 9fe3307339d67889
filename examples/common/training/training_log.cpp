// SPDX-License-Identifier: Apache-2.0
#include <examples/common/training/training_log.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <smx/io/file_error.hpp>

namespace smx_examples {

namespace {

double number(nlohmann::json const& line, char const* key) {
  auto const& value = line.at(key);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

std::optional<log_record> parse_record(std::string_view line) {
  auto const json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  try {
    if (!json.at("step").is_number_integer()) return std::nullopt;
    log_record r{json.at("step").get<std::int64_t>(),
                 number(json, "loss"),
                 number(json, "rate"),
                 number(json, "gradient_norm"),
                 number(json, "tokens_per_second"),
                 number(json, "seconds"),
                 {}};
    if (json.contains("held_out")) r.held_out = number(json, "held_out");
    return r;
  } catch (nlohmann::json::exception const&) { return std::nullopt; }
}

struct read_result {
  std::vector<log_record> records;
  std::size_t bytes = 0;  ///< of the records
};

/// A pipe or a device would be waited for, or read without end.
void expect_regular(std::string const& path) {
  std::error_code code;
  if (auto const what = std::filesystem::status(path, code);
      what.type() == std::filesystem::file_type::directory)
    throw smx::file_error(path, "expected a file, got a directory");
  else if (std::filesystem::exists(what) && !std::filesystem::is_regular_file(what))
    throw smx::file_error(path, "expected a regular file");
}

/// The records up to `last_step`.
read_result read_records(std::string const& path, std::int64_t last_step) {
  expect_regular(path);
  std::ifstream file(path, std::ios::binary);
  if (!file) smx::detail::fail_system(path, "cannot open for reading", errno);
  std::string const text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) throw smx::file_error(path, "cannot read");
  read_result read;
  std::size_t number_of_line = 0;
  for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    ++number_of_line;
    auto const record = parse_record(std::string_view(text).substr(at, end - at));
    if (!record)
      throw smx::file_error(
          path, "line " + std::to_string(number_of_line) + ": expected a record of a training log");
    if (!read.records.empty() && record->step <= read.records.back().step)
      throw smx::file_error(path, "line " + std::to_string(number_of_line) + ": expected a step after " +
                                      std::to_string(read.records.back().step) + ", got " +
                                      std::to_string(record->step));
    if (record->step > last_step) break;
    read.records.push_back(*record);
    read.bytes = end + 1;
  }
  return read;
}

}  // namespace

std::string print_record(log_record const& r) {
  nlohmann::ordered_json line{{"step", r.step},
                              {"loss", r.loss},
                              {"rate", r.rate},
                              {"gradient_norm", r.gradient_norm},
                              {"tokens_per_second", r.tokens_per_second},
                              {"seconds", r.seconds}};
  if (r.held_out) line["held_out"] = *r.held_out;
  return line.dump();  // writes null for what is not finite
}

std::vector<log_record> read_log(std::string const& path) {
  return read_records(path, std::numeric_limits<std::int64_t>::max()).records;
}

training_log::training_log(std::string path, std::int64_t last_step, bool fresh) : path_(std::move(path)) {
  expect_regular(path_);
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) smx::detail::fail_system(path_, "cannot open for writing", errno);
  try {
    auto read = read_records(path_, last_step);
    if (fresh && !read.records.empty())
      throw smx::file_error(path_, "is the log of another run; resume that run, or take the file away");
    records_ = std::move(read.records);
    if (::ftruncate(file_, static_cast<::off_t>(read.bytes)) != 0)
      smx::detail::fail_system(path_, "cannot cut", errno);
  } catch (...) {
    ::close(file_);
    throw;
  }
}

training_log::training_log(std::string const& path)
    : training_log(path, std::numeric_limits<std::int64_t>::max(), true) {}

training_log training_log::resumed(std::string const& path, std::int64_t step) {
  return training_log(path, step, false);
}

training_log::training_log(training_log&& other) noexcept
    : path_(std::move(other.path_)),
      records_(std::move(other.records_)),
      file_(std::exchange(other.file_, -1)) {}

training_log::~training_log() {
  if (file_ >= 0) ::close(file_);
}

void training_log::add(log_record const& r) {
  smx::expects_value(records_.empty() || r.step > records_.back().step, "training_log: step",
                     "one after the last record's", r.step);
  std::string const line = print_record(r) + '\n';
  ::off_t const before = ::lseek(file_, 0, SEEK_END);
  ::ssize_t wrote = -1;
  do wrote = ::write(file_, line.data(), line.size());
  while (wrote < 0 && errno == EINTR);
  if (wrote != static_cast<::ssize_t>(line.size())) {
    int const code = wrote < 0 ? errno : ENOSPC;
    // where a cut line stays, whoever reads leaves it out
    [[maybe_unused]] int const cut = wrote > 0 ? ::ftruncate(file_, before) : 0;
    smx::detail::fail_system(path_, "cannot write", code);
  }
  records_.push_back(r);
}

}  // namespace smx_examples
