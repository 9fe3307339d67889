// SPDX-License-Identifier: Apache-2.0
/// \file  Whether a plan fits into this machine, asked before anything is allocated.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

namespace smx_examples {

/// Bytes that the machine has, and that a program can still take without swapping.
struct machine_memory {
  std::size_t total = 0, available = 0;
};

/// MemTotal and MemAvailable as Linux says them. A container's limit is not seen. Throws smx::file_error
/// where the file does not have them.
machine_memory read_memory(std::string const& meminfo = "/proc/meminfo");

/// A plan that this machine has no room for.
struct memory_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Throws memory_error, which says what `what` needs and what there is, unless it fits.
void expects_memory(std::string const& what, std::size_t needed,
                    machine_memory const& machine = read_memory());

/// "3.2 GB", "17 MB", "512 bytes"; powers of ten.
std::string print_bytes(std::size_t bytes);

}  // namespace smx_examples
