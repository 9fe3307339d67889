// SPDX-License-Identifier: Apache-2.0
/// \file  A trace as a file for Perfetto (ui.perfetto.dev) or chrome://tracing, and as a table.
///
/// Format: the "JSON Array/Object Format" of Chrome's Trace Event Format, complete events ("ph": "X"), times
/// in us with three decimals.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <span>

#include <smx/backend/trace.hpp>
#include <smx/core/check.hpp>

namespace smx {

namespace detail {

/// A JSON string. Control characters are escaped; bytes outside ASCII become '?', so that the file is valid
/// whatever a kernel is called.
inline void append_quoted(std::string& to, std::string_view text) {
  to += '"';
  for (char const c : text) {
    auto const code = static_cast<unsigned char>(c);
    char escape[8];
    if (c == '"' || c == '\\') {
      to += '\\';
      to += c;
    } else if (code < 0x20) {
      std::snprintf(escape, sizeof escape, "\\u%04x", code);
      to += escape;
    } else {
      to += code < 0x7f ? c : '?';
    }
  }
  to += '"';
}

/// ns as us: "1234.567". (No floating-point format: it follows the locale.)
inline void append_us(std::string& to, std::int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%lld.%03lld", static_cast<long long>(ns / 1000),
                static_cast<long long>(ns % 1000));
  to += text;
}

inline void append_whole(std::string& to, double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%lld", static_cast<long long>(number));
  to += text;
}

[[noreturn]] inline void fail_file(std::string const& path, char const* what) {
  raise<backend_error>(path + ": " + what + ": " + std::strerror(errno));
}

/// Writes beside the file and renames: readers see the old content or the whole of the new one.
inline void replace_file(std::string const& path, std::string_view content) {
  std::string const beside = path + ".partial";
  std::FILE* const file = std::fopen(beside.c_str(), "wb");
  if (file == nullptr) fail_file(beside, "cannot be made");
  bool const written = std::fwrite(content.data(), 1, content.size(), file) == content.size();
  bool const closed = std::fclose(file) == 0;  // the last bytes may fail only here
  if (!written || !closed || std::rename(beside.c_str(), path.c_str()) != 0) {
    int const code = errno;
    std::remove(beside.c_str());
    errno = code;
    fail_file(path, "cannot be written");
  }
}

}  // namespace detail

/// The text of a Chrome trace; `process` names the backend.
inline std::string chrome_trace(std::span<trace_event const> events, std::string_view process) {
  std::string text =
      "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
      "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"tid\":0,\"args\":{\"name\":";
  detail::append_quoted(text, process);
  text += "}}";
  int named = -1;
  for (trace_event const& e : events) {
    std::string const thread = std::to_string(e.thread);
    if (e.thread > named) {
      text += ",\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":" + thread +
              ",\"args\":{\"name\":\"thread " + thread + "\"}}";
      named = e.thread;
    }
    text += ",\n{\"name\":";
    detail::append_quoted(text, e.name);
    text += e.kind == trace_kind::work ? ",\"cat\":\"work\"" : ",\"cat\":\"span\"";
    text += ",\"ph\":\"X\",\"pid\":1,\"tid\":" + thread + ",\"ts\":";
    detail::append_us(text, e.start);
    text += ",\"dur\":";
    detail::append_us(text, e.duration);
    text += ",\"args\":{\"shapes\":";
    detail::append_quoted(text, e.shapes);
    text += ",\"flops\":";
    detail::append_whole(text, e.flops);
    text += ",\"bytes\":";
    detail::append_whole(text, e.bytes);
    text += "}}";
  }
  return text + "\n]}\n";
}

/// A table by primitive, the most expensive first: calls, milliseconds (of all threads together), GFLOP/s and
/// GB/s of one thread. Spans are left out: they enclose the rest.
inline std::string trace_summary(std::span<trace_event const> events) {
  struct sum {
    index_t calls = 0;
    double ns = 0, flops = 0, bytes = 0;
  };
  std::map<std::string_view, sum> sums;
  sum total;
  for (trace_event const& e : events) {
    if (e.kind == trace_kind::span) continue;
    for (sum* const s : {&sums[e.name], &total}) {
      ++s->calls;
      s->ns += static_cast<double>(e.duration);
      s->flops += e.flops;
      s->bytes += e.bytes;
    }
  }
  std::vector<std::pair<std::string_view, sum>> rows(sums.begin(), sums.end());
  std::stable_sort(rows.begin(), rows.end(),
                   [](auto const& a, auto const& b) { return a.second.ns > b.second.ns; });
  rows.emplace_back("total", total);
  char line[192];
  std::snprintf(line, sizeof line, "%-24s %10s %12s %10s %10s\n", "primitive", "calls", "ms", "GFLOP/s",
                "GB/s");
  std::string text = line;
  for (auto const& [name, s] : rows) {
    double const ns = s.ns > 0 ? s.ns : 1;  // flops a ns = GFLOP/s
    std::snprintf(line, sizeof line, "%-24.*s %10lld %12.3f %10.2f %10.2f\n", static_cast<int>(name.size()),
                  name.data(), static_cast<long long>(s.calls), s.ns * 1e-6, s.flops / ns, s.bytes / ns);
    text += line;
  }
  return text;
}

}  // namespace smx
