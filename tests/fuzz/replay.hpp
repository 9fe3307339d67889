// SPDX-License-Identifier: Apache-2.0
/// \file  A main for fuzz targets when libFuzzer is not there: replays the files of a folder and, of each,
/// all cuts and a fixed
///        set of mutations. The same inputs in every run.
///
/// Usage: TARGET FOLDER [mutations per file, 2000]
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

namespace test {

inline void replay(std::vector<std::uint8_t> const& bytes) {
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

/// splitmix64: enough to choose places and values.
inline std::uint64_t next_random(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

inline void replay_mutations(std::vector<std::uint8_t> const& bytes, std::uint64_t seed, long count) {
  static constexpr char tokens[] = "{}[]\",:\\0123456789-.eu \xFF";
  for (long n = 0; n < count; ++n) {
    std::vector<std::uint8_t> changed = bytes;
    for (std::uint64_t edits = 1 + next_random(seed) % 4; edits > 0 && !changed.empty(); --edits) {
      auto const at = static_cast<std::ptrdiff_t>(next_random(seed) % changed.size());
      auto const token = static_cast<std::uint8_t>(tokens[next_random(seed) % (sizeof tokens - 1)]);
      switch (next_random(seed) % 4) {
        case 0:
          changed[static_cast<std::size_t>(at)] = token;
          break;
        case 1:
          changed[static_cast<std::size_t>(at)] ^= static_cast<std::uint8_t>(1u << (next_random(seed) % 8));
          break;
        case 2:
          changed.insert(changed.begin() + at, token);
          break;
        default:
          changed.erase(changed.begin() + at);
          break;
      }
    }
    replay(changed);
  }
}

inline int replay_main(int count, char** arguments) {
  if (count < 2 || count > 3 || !std::filesystem::is_directory(arguments[1])) {
    std::fprintf(stderr, "usage: %s FOLDER [MUTATIONS]\n", arguments[0]);
    return 2;
  }
  long const mutations = count == 3 ? std::strtol(arguments[2], nullptr, 10) : 2000;
  std::set<std::filesystem::path> files;
  for (auto const& entry : std::filesystem::directory_iterator(arguments[1]))
    if (entry.is_regular_file()) files.insert(entry.path());
  if (files.empty()) {
    std::fprintf(stderr, "%s: %s holds no files\n", arguments[0], arguments[1]);
    return 2;
  }
  std::uint64_t seed = 1;
  for (auto const& path : files) {
    std::ifstream in(path, std::ios::binary);
    std::vector<std::uint8_t> const bytes{std::istreambuf_iterator<char>(in), {}};
    replay(bytes);
    for (std::size_t n = 0; n < bytes.size() && n < 2048; ++n)
      replay({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)});
    replay_mutations(bytes, seed++, mutations);
  }
  std::printf("%zu files replayed\n", files.size());
  return 0;
}

}  // namespace test
