// SPDX-License-Identifier: Apache-2.0
/// \file  What a law of the conformance suite says: nothing, or why it does not hold. No test framework here.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>

namespace smx::testing {

/// Empty: the law holds (or says nothing about this mixer). Otherwise what broke it, for a person to read.
using verdict = std::optional<std::string>;
inline constexpr std::nullopt_t holds = std::nullopt;

/// printf into a string.
[[gnu::format(printf, 1, 2)]] inline std::string text(char const* format, ...) {
  char line[600];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  return line;
}

/// What f() says; an exception that the law did not expect is a failure with its message.
template <class F> verdict judged(F const& f) {
  try {
    return f();
  } catch (std::exception const& e) { return text("threw: %s", e.what()); }
}

/// `found` with words before it that say where.
inline verdict in_context(std::string const& where, verdict found) {
  if (found) found = where + ": " + *found;
  return found;
}

}  // namespace smx::testing
