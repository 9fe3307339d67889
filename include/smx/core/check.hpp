// SPDX-License-Identifier: Apache-2.0
/// \file  Errors. Preconditions are always on and run at API boundaries only: O(rank) work.
///
/// Every message names the argument, what was expected and what came:
/// `monarch.hpp:93: forward: x: expected extents (2, 1, 4096, 768), got (2, 1, 4095, 768)`.
/// With -fno-exceptions the message goes to stderr and the program aborts.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <new>
#include <stdexcept>

#include <smx/core/extents.hpp>

namespace smx {

/// Where a check stands. (std::source_location is missing with clang 14 and libstdc++ 12; the builtins are
/// not.)
struct location {
  char const* file;
  int line;
  char const* function;
  static constexpr location here(char const* file = __builtin_FILE(), int line = __builtin_LINE(),
                                 char const* function = __builtin_FUNCTION()) {
    return {file, line, function};
  }
};

/// A shape, size or option that the callee does not accept.
struct precondition_error : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// A failure of the system below a backend (a device, a library, a file).
struct backend_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Memory that could not be had; what() says how many bytes were asked for.
class out_of_memory : public std::bad_alloc {
 public:
  explicit out_of_memory(std::size_t bytes, char const* where = "host memory") : bytes_(bytes) {
    std::snprintf(text_, sizeof text_, "out of memory: %zu bytes of %s asked for", bytes, where);
  }
  char const* what() const noexcept override { return text_; }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::size_t bytes_;
  char text_[160];
};

namespace detail {

template <class Error, class... A> [[noreturn]] inline void raise(A const&... a) {
#if defined(__cpp_exceptions)
  throw Error(a...);
#else
  std::fprintf(stderr, "%s\n", Error(a...).what());
  std::abort();
#endif
}

inline char const* base_name(char const* path) {
  char const* name = path;
  for (char const* c = path; *c != '\0'; ++c)
    if (*c == '/') name = c + 1;
  return name;
}

[[noreturn, gnu::cold, gnu::noinline]] inline void fail(char const* what, location at) {
  char text[512];  // templates have long names: they must not push out what went wrong
  std::snprintf(text, sizeof text, "%s:%d: %.96s: %s", base_name(at.file), at.line, at.function, what);
  raise<precondition_error>(text);
}

/// "(2, 1, *, 768)"; a negative entry is a wildcard when `wildcards` is set.
inline void print_extents(char* out, std::size_t size, index_t const* n, int rank, bool wildcards) {
  std::size_t used = 0;
  for (int r = 0; r < rank && used < size; ++r) {
    char const* const lead = r == 0 ? "(" : ", ";
    int const wrote = wildcards && n[r] < 0 ? std::snprintf(out + used, size - used, "%s*", lead)
                                            : std::snprintf(out + used, size - used, "%s%lld", lead,
                                                            static_cast<long long>(n[r]));
    if (wrote > 0) used += static_cast<std::size_t>(wrote);
  }
  if (used < size) std::snprintf(out + used, size - used, ")");
}

[[noreturn, gnu::cold, gnu::noinline]] inline void fail_extents(char const* argument, index_t const* expected,
                                                                index_t const* actual, int rank,
                                                                location at) {
  char want[128], got[128], text[384];
  print_extents(want, sizeof want, expected, rank, true);
  print_extents(got, sizeof got, actual, rank, false);
  std::snprintf(text, sizeof text, "%s: expected extents %s, got %s", argument, want, got);
  fail(text, at);
}

[[noreturn, gnu::cold, gnu::noinline]] inline void fail_value(char const* argument, char const* expected,
                                                              long long actual, location at) {
  char text[256];
  std::snprintf(text, sizeof text, "%s: expected %s, got %lld", argument, expected, actual);
  fail(text, at);
}

}  // namespace detail

/// Throws precondition_error with `what` unless `ok`. `what` names the argument.
constexpr void expects(bool ok, char const* what, location at = location::here()) {
  if (!ok) [[unlikely]]
    detail::fail(what, at);
}

/// As expects, for one number: `argument: expected <expected>, got <actual>`.
constexpr void expects_value(bool ok, char const* argument, char const* expected, index_t actual,
                             location at = location::here()) {
  if (!ok) [[unlikely]]
    detail::fail_value(argument, expected, actual, at);
}

/// Throws unless `actual` equals `expected` entry by entry; an expected entry of -1 accepts any size >= 1.
template <int R>
constexpr void expects_extents(char const* argument, extents<R> const& actual, extents<R> const& expected,
                               location at = location::here()) {
  for (int r = 0; r < R; ++r)
    if (expected[r] < 0 ? actual[r] < 1 : actual[r] != expected[r]) [[unlikely]]
      detail::fail_extents(argument, expected.n, actual.n, R, at);
}

/// The product of the extents. Throws when one is not positive or the product overflows.
template <int R>
constexpr index_t checked_size(extents<R> const& e, char const* argument = "extents",
                               location at = location::here()) {
  index_t size = 1;
  for (int r = 0; r < R; ++r) {
    if (e[r] < 1) detail::fail_value(argument, "every extent to be at least 1", e[r], at);
    if (__builtin_mul_overflow(size, e[r], &size))
      detail::fail_value(argument, "a product of extents below 2^63; extent that overflows it", e[r], at);
  }
  return size;
}

/// checked_size times the size of T, in bytes.
template <class T, int R>
constexpr std::size_t checked_bytes(extents<R> const& e, char const* argument = "extents",
                                    location at = location::here()) {
  index_t bytes = checked_size(e, argument, at);
  if (__builtin_mul_overflow(bytes, static_cast<index_t>(sizeof(T)), &bytes))
    detail::fail_value(argument, "a size in bytes below 2^63; elements", checked_size(e), at);
  return static_cast<std::size_t>(bytes);
}

}  // namespace smx
