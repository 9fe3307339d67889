// SPDX-License-Identifier: Apache-2.0
// Without exceptions the library compiles; a failed precondition prints its message and aborts.
#include <smx/core/tensor.hpp>

#if defined(__cpp_exceptions)
#error "this unit is built with -fno-exceptions"
#endif

int main() {
  smx::tensor<float, 2> x(smx::extents{2, 3});
  x(1, 2) = 1;
  return x(1, 2) == 1 ? 0 : 1;
}
