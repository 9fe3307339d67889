// SPDX-License-Identifier: Apache-2.0
/// \file  A disk that is full, for one test.
#pragma once

#include <csignal>

#include <sys/resource.h>

namespace test {

/// Limits the size of the files that this process writes: from there on the disk is full.
class file_size_limit {
 public:
  explicit file_size_limit(::rlim_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    ::rlimit limit = old_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  file_size_limit(file_size_limit const&) = delete;
  file_size_limit& operator=(file_size_limit const&) = delete;
  ~file_size_limit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  ::rlimit old_{};
  void (*handler_)(int);
};

}  // namespace test
