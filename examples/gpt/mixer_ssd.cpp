// SPDX-License-Identifier: Apache-2.0
#include <examples/gpt/mixers.hpp>
#include <examples/gpt/runner.hpp>
#include <smx/nn/ssd_layer.hpp>

namespace smx_examples {

namespace {
struct make_ssd {
  static auto make(model_config const& c) {
    smx::ssd_layer<float> mixer;
    mixer.channels = c.channels, mixer.heads = c.heads, mixer.state_size = c.state;
    return smx::make_gpt(mixer, sizes_of(c));
  }
};
}  // namespace

mixer_program ssd_program() { return program_of<make_ssd>("ssd", "state space duality, as in Mamba-2"); }

}  // namespace smx_examples
