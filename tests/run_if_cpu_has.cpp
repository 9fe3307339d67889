// SPDX-License-Identifier: Apache-2.0
/// \file  run_if_cpu_has FEATURE[,FEATURE...] PROGRAM [ARG...]: runs the program where the CPU has the
/// features.
///
/// Elsewhere it says what is missing and exits with 77, which ctest counts as skipped. The check stands
/// outside of the program because a program built for an instruction set may use it before main.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

bool cpu_has(std::string_view feature) {
#if defined(__x86_64__)
  // __builtin_cpu_supports takes literals only.
  if (feature == "fma") return __builtin_cpu_supports("fma") != 0;
  if (feature == "avx2") return __builtin_cpu_supports("avx2") != 0;
  if (feature == "avx512f") return __builtin_cpu_supports("avx512f") != 0;
  if (feature == "avx512dq") return __builtin_cpu_supports("avx512dq") != 0;
  if (feature == "avx512bw") return __builtin_cpu_supports("avx512bw") != 0;
  if (feature == "avx512vl") return __builtin_cpu_supports("avx512vl") != 0;
#endif
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: run_if_cpu_has FEATURE[,FEATURE...] PROGRAM [ARG...]\n");
    return 2;
  }
  for (std::string_view left = argv[1]; !left.empty();) {
    std::string_view const feature = left.substr(0, left.find(','));
    left.remove_prefix(feature.size() < left.size() ? feature.size() + 1 : left.size());
    if (!cpu_has(feature)) {
      std::printf("skipped: this CPU lacks %.*s\n", static_cast<int>(feature.size()), feature.data());
      return 77;
    }
  }
  execv(argv[2], argv + 2);
  std::perror(argv[2]);
  return 2;
}
