// SPDX-License-Identifier: Apache-2.0
/// \file  Where the families run: the reference and the CPU, in double and single precision.
#pragma once

#include <cstring>
#include <string>

#include <smx/backend/cpu.hpp>
#include <smx/backend/reference.hpp>

namespace goldens {

/// f(name, a function that makes a backend) for each backend.
template <class F> void for_each_backend(F const& f) {
  f("reference", [] { return smx::reference_backend(); });
  f("cpu", [] { return smx::cpu(); });
}

/// Why there is none; empty where there are.
inline std::string missing_backend() { return {}; }

/// Memory for what the host writes and masks read, wherever they are asked.
inline smx::memory<smx::host_space> shared_memory() { return smx::host_memory(); }

/// Copies from the host to memory of a backend, and back; done when they return.
template <class Space> struct transfer {
  static void in(void* there, void const* here, std::size_t bytes) { std::memcpy(there, here, bytes); }
  static void out(void* here, void const* there, std::size_t bytes) { std::memcpy(here, there, bytes); }
};

}  // namespace goldens
