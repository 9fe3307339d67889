// SPDX-License-Identifier: Apache-2.0
#include <examples/bert/texts.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>

#include <unistd.h>

#include <examples/common/text/unicode.hpp>
#include <nlohmann/json.hpp>
#include <smx/io/file_error.hpp>

namespace smx_examples {
namespace {

void append(std::istream& from, std::string const& name, bool json, std::vector<std::string>& to) {
  std::string line;
  for (std::size_t number = 1; std::getline(from, line); ++number) {
    auto const fail = [&](std::string const& what) {
      throw smx::file_error(name, "line " + std::to_string(number) + ": " + what);
    };
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (find_invalid_utf8(line) != std::string::npos) fail("expected UTF-8");
    if (json) {
      auto const object = nlohmann::json::parse(line, nullptr, false);
      if (!object.is_object() || !object.contains("text") || !object["text"].is_string())
        fail("expected a JSON object with a member \"text\"");
      line = object["text"].get<std::string>();
    }
    to.push_back(line);
  }
  if (from.bad()) throw smx::file_error(name, "cannot be read");
}

}  // namespace

std::vector<std::string> read_lines(std::vector<std::string> const& files, bool json) {
  std::vector<std::string> texts;
  for (std::string const& file : files) {
    std::error_code code;
    if (std::filesystem::is_directory(file, code))
      throw smx::file_error(file, "expected a file, got a directory");
    std::ifstream from(file, std::ios::binary);
    if (!from) throw smx::file_error(file, "no such file, or no right to read it");
    append(from, file, json, texts);
  }
  if (files.empty()) append(std::cin, "standard input", json, texts);
  if (texts.empty())
    throw smx::file_error(files.empty() ? "standard input" : files.front(),
                          "expected texts, one a line; it is empty");
  return texts;
}

progress::progress(char const* unit, std::size_t all, bool quiet)
    : unit_(unit), all_(all), quiet_(quiet), terminal_(::isatty(2) != 0) {}

void progress::done(std::size_t count) {
  done_ += count;
  auto const now = clock::now();
  if (quiet_ || now - last_ < std::chrono::seconds(terminal_ ? 1 : 10)) return;
  last_ = now;
  said_ = true;
  double const seconds = std::chrono::duration<double>(now - begin_).count(),
               rate = static_cast<double>(done_) / seconds;
  std::fprintf(stderr, "%s%zu of %zu %s, %.3g a second, %.0f s left%s", terminal_ ? "\r" : "", done_, all_,
               unit_, rate, static_cast<double>(all_ - done_) / rate, terminal_ ? "   " : "\n");
}
progress::~progress() {
  if (said_ && terminal_) std::fputc('\n', stderr);
}

}  // namespace smx_examples
