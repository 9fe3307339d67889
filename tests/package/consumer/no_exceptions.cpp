// SPDX-License-Identifier: Apache-2.0
// Without exceptions the library compiles; a failed precondition prints its message and aborts.
#include <smx/smx.hpp>

#if defined(__cpp_exceptions)
#error "this unit is built with -fno-exceptions"
#endif

int main() {
  smx::reference_backend be;
  smx::dense<float> const mixer{.length = 4};
  auto const x = smx::random_normal<float>(be, {1, 1, 4, 2}, 2);
  return smx::forward(be, mixer, smx::initialize(be, mixer, 1), x).size() == 8 ? 0 : 1;
}
