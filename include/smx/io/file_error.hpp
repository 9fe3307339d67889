// SPDX-License-Identifier: Apache-2.0
/// \file  The error of everything that reads or writes files.
#pragma once

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

#include <smx/core/check.hpp>

namespace smx {

/// A file that is missing, unreadable, not writable or damaged. what() begins with its path.
struct file_error : std::runtime_error {
  file_error(std::string const& path, std::string const& what) : std::runtime_error(path + ": " + what) {}
};

namespace detail {

/// Throws file_error with the system's text for the error number `code`.
[[noreturn, gnu::cold]] inline void fail_system(std::string const& path, char const* action, int code) {
  raise<file_error>(path, std::string(action) + ": " + std::strerror(code));
}

}  // namespace detail
}  // namespace smx
