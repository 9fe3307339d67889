// SPDX-License-Identifier: Apache-2.0
/// \file  Fuzz target: bytes that are taken for a safetensors file. Either file_error, or every tensor can be
/// read and
///        the tensors cover no more than the input.
#include <cstdint>
#include <cstdlib>
#include <span>

#include <smx/io/safetensors.hpp>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  try {
    smx::safetensors_file const file(std::as_bytes(std::span(data, size)), "input");
    std::size_t covered = 0;
    for (auto const& name : file.names()) {
      smx::safetensors_entry const& entry = file.at(name);
      smx::index_t elements = 1;
      for (smx::index_t const n : entry.shape) elements *= n;
      if (elements != entry.size()) std::abort();
      covered += entry.bytes.size();
      bool const real = smx::detail::element_reader<double>(entry.dtype) != nullptr;
      if (real && file.read<double>(name).size() != static_cast<std::size_t>(elements)) std::abort();
    }
    if (covered + 8 > size) std::abort();
  } catch (smx::file_error const&) {}
  return 0;
}

#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION  // defined by clang for libFuzzer
#include <tests/fuzz/replay.hpp>
int main(int count, char** arguments) { return test::replay_main(count, arguments); }
#endif
