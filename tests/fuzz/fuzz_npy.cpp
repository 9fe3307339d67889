// SPDX-License-Identifier: Apache-2.0
/// \file  Fuzz target: bytes that are taken for a .npy file. Either file_error, or all elements can be read
/// and are no more than the input has.
#include <cstdint>
#include <cstdlib>
#include <span>

#include <smx/io/npy.hpp>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  try {
    smx::npy_file const file(std::as_bytes(std::span(data, size)), "input");
    smx::index_t elements = 1;
    for (smx::index_t const n : file.shape()) elements *= n;
    if (elements != file.size()) std::abort();
    if (static_cast<std::size_t>(elements) * smx::size_of(file.dtype()) > size) std::abort();
    if (file.read<double>().size() != static_cast<std::size_t>(elements)) std::abort();
  } catch (smx::file_error const&) {}
  return 0;
}

#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION  // defined by clang for libFuzzer
#include <tests/fuzz/replay.hpp>
int main(int count, char** arguments) { return test::replay_main(count, arguments); }
#endif
