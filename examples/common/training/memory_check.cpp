// SPDX-License-Identifier: Apache-2.0
#include <examples/common/training/memory_check.hpp>

#include <cstdio>
#include <fstream>
#include <sstream>

#include <smx/io/file_error.hpp>

namespace smx_examples {

machine_memory read_memory(std::string const& meminfo) {
  std::ifstream file(meminfo);
  if (!file) smx::detail::fail_system(meminfo, "cannot open for reading", errno);
  machine_memory found;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name, unit;
    std::size_t number = 0;
    if (!(words >> name >> number >> unit) || unit != "kB") continue;  // kB: 1024 bytes
    if (name == "MemTotal:") found.total = number * 1024;
    if (name == "MemAvailable:") found.available = number * 1024;
  }
  if (found.total == 0 || found.available == 0)
    throw smx::file_error(meminfo, "expected lines 'MemTotal: N kB' and 'MemAvailable: N kB'");
  return found;
}

void expects_memory(std::string const& what, std::size_t needed, machine_memory const& machine) {
  if (needed <= machine.available) return;
  throw memory_error(what + ": needs " + print_bytes(needed) + " of memory, but " +
                     print_bytes(machine.available) + " of this machine's " + print_bytes(machine.total) +
                     " are available");
}

std::string print_bytes(std::size_t bytes) {
  char text[32];
  double const n = static_cast<double>(bytes);
  if (bytes < 1000)
    std::snprintf(text, sizeof text, "%zu bytes", bytes);
  else if (n < 999.5e3)
    std::snprintf(text, sizeof text, "%.3g kB", n * 1e-3);
  else if (n < 999.5e6)
    std::snprintf(text, sizeof text, "%.3g MB", n * 1e-6);
  else if (n < 999.5e9)
    std::snprintf(text, sizeof text, "%.3g GB", n * 1e-9);
  else
    std::snprintf(text, sizeof text, "%.4g TB", n * 1e-12);
  return text;
}

}  // namespace smx_examples
