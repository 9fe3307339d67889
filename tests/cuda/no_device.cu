// SPDX-License-Identifier: Apache-2.0
/// \file  Where no GPU can be seen the constructor says so. ctest runs this with every GPU hidden.
#include <cstdio>
#include <cstring>

#include <smx/backend/cuda.cuh>

int main() {
  try {
    smx::cuda be;
  } catch (smx::backend_error const& e) {
    std::printf("%s\n", e.what());
    return std::strstr(e.what(), "no usable device") != nullptr ? 0 : 1;
  }
  std::printf("a backend was made, though no GPU should be seen\n");
  return 1;
}
