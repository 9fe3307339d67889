// SPDX-License-Identifier: Apache-2.0
// One program for both kinds of machine: without a GPU it finds the error that says so.
#include <smx/smx.hpp>

#include <cstdio>
#include <string>

#include <smx/backend/cuda.cuh>

int main() {
  try {
    smx::cuda be;
    smx::dense<float> const mix{.length = 3};
    auto const w = smx::initialize(be, mix, 1);
    auto const y = smx::forward(be, mix, w, smx::random_normal<float>(be, {1, 1, 3, 2}, 2));
    return y.size() == 6 ? 0 : 1;
  } catch (smx::backend_error const& e) {
    std::printf("%s\n", e.what());
    return std::string(e.what()).find("no usable device") != std::string::npos ? 0 : 1;
  }
}
