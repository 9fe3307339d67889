// SPDX-License-Identifier: Apache-2.0
/// \file  The log of a training run: JSON lines, one a record, in ascending order of the step.
///
///   {"step":20,"loss":5.1,"rate":0.0006,"gradient_norm":1.2,"tokens_per_second":8100,"seconds":12.5}
///
/// and "held_out" where it was measured. Numbers that are not finite are null. Each record is written with
/// one call of the system, so that a run that is killed loses at most its last line; a machine that fails may
/// lose what the system had not yet put on the disk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace smx_examples {

struct log_record {
  std::int64_t step = 0;  ///< steps done
  double loss = 0;        ///< nats a token
  double rate = 0;
  double gradient_norm = 0;  ///< before it was clipped
  double tokens_per_second = 0;
  double seconds = 0;                   ///< since the run began, all its parts together
  std::optional<double> held_out = {};  ///< loss on text that is not trained on
};

/// The record as one line, without its end.
std::string print_record(log_record const& r);

/// All whole records of a log; a last line that was cut is left out. Throws smx::file_error, with the number
/// of the line, for a line that is no record or does not come after the one before it.
std::vector<log_record> read_log(std::string const& path);

/// A log that is being written.
class training_log {
 public:
  /// A new log. Throws smx::file_error where there is one with records: resume it or take it away.
  explicit training_log(std::string const& path);
  /// The log of a run that goes on after `step`: later records and a cut line are removed. Without a file it
  /// is a new one.
  static training_log resumed(std::string const& path, std::int64_t step);

  training_log(training_log&& other) noexcept;
  training_log& operator=(training_log&&) = delete;
  ~training_log();

  /// Appends a record; its step must be after the last one's (precondition_error). Throws smx::file_error.
  void add(log_record const& r);
  /// What is in the file.
  std::vector<log_record> const& records() const { return records_; }
  std::string const& path() const { return path_; }

 private:
  training_log(std::string path, std::int64_t last_step, bool fresh);
  std::string path_;
  std::vector<log_record> records_;
  int file_ = -1;
};

}  // namespace smx_examples
