// SPDX-License-Identifier: Apache-2.0
#include <examples/gpt/mixers.hpp>
#include <examples/gpt/runner.hpp>
#include <smx/nn/m2_sequence_mixer.hpp>

namespace smx_examples {

namespace {
struct make_m2 {
  static auto make(model_config const& c) {
    smx::m2_sequence_mixer<float> mixer;
    mixer.channels = c.channels, mixer.max_length = c.max_length, mixer.residual = c.residual;
    return smx::make_gpt(mixer, sizes_of(c));
  }
};
}  // namespace

mixer_program m2_program() {
  return program_of<make_m2>("m2", "gates around a long convolution (Monarch Mixer)");
}

}  // namespace smx_examples
