// SPDX-License-Identifier: Apache-2.0
// A user of smx::smx, who has the standard library and nothing else.
#include <smx/smx.hpp>

#if __has_include(<Eigen/Core>)
#error "Eigen is on the include path of smx::smx"
#endif

int main() {
  smx::reference_backend be;
  smx::monarch<float> const mixer{.length = 12, .order = 2};
  auto const x = smx::random_normal<float>(be, {1, 1, 12, 2}, 2);
  return smx::forward(be, mixer, smx::initialize(be, mixer, 1), x).size() == 24 ? 0 : 1;
}
