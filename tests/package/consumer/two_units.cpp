// SPDX-License-Identifier: Apache-2.0
// The same mixer in two translation units: one program, one answer.
#include <smx/backend/cpu.hpp>
#include <smx/smx.hpp>

smx::tensor<float, 4> mix_in_the_other_unit(smx::tensor<float, 4> const& x);

int main() {
  smx::cpu_backend<smx::serial_pool> be;
  smx::monarch<float> const mixer{.length = 12, .order = 2};
  auto const x = smx::random_normal<float>(be, {2, 1, 12, 3}, 2);
  auto const y = smx::forward(be, mixer, smx::initialize(be, mixer, 1), x);
  auto const other = mix_in_the_other_unit(x);
  for (smx::index_t i = 0; i < y.size(); ++i)
    if (y.data()[i] != other.data()[i]) return 1;
  return y.size() == 72 ? 0 : 1;
}
