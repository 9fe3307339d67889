// SPDX-License-Identifier: Apache-2.0
#include <examples/vit/runner.hpp>

namespace smx_examples {

mixer_program m2_program() { return program_of<smx::vit_m2_block<float, smx::block_diagonal<float>>>("m2"); }

}  // namespace smx_examples
