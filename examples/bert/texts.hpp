// SPDX-License-Identifier: Apache-2.0
/// \file  Texts from files or standard input, one a line, and progress of long work.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace smx_examples {

/// The lines of the files, one after the other; of standard input where there are none. With json each line
/// is an object whose member "text" counts. Throws file_error, with file and line, for what is missing, a
/// directory, not UTF-8 or not JSON, and where there is no line at all.
std::vector<std::string> read_lines(std::vector<std::string> const& files, bool json);

/// Says on standard error how far work is, every few seconds; nothing where it is done before.
class progress {
 public:
  progress(char const* unit, std::size_t all, bool quiet);
  progress(progress const&) = delete;
  progress& operator=(progress const&) = delete;
  ~progress();
  void done(std::size_t count);

 private:
  using clock = std::chrono::steady_clock;
  char const* unit_;
  std::size_t all_, done_ = 0;
  bool quiet_, terminal_, said_ = false;
  clock::time_point begin_ = clock::now(), last_ = begin_;
};

}  // namespace smx_examples
