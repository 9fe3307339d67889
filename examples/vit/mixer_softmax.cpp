// SPDX-License-Identifier: Apache-2.0
#include <examples/vit/runner.hpp>

namespace smx_examples {

mixer_program softmax_program() { return program_of<smx::vit_softmax_block<float>>("softmax"); }

}  // namespace smx_examples
