// SPDX-License-Identifier: Apache-2.0
// A user of smx::smx, who has the standard library and nothing else.
#include <smx/core/tensor.hpp>
#include <smx/version.hpp>

int main() {
#if __has_include(<Eigen/Core>)
#error "Eigen is on the include path of smx::smx"
#endif
  return smx::version_major == 0 && smx::checked_size(smx::extents{2, 3}) == 6 ? 0 : 1;
}
