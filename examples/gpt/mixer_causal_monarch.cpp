// SPDX-License-Identifier: Apache-2.0
#include <examples/gpt/mixers.hpp>
#include <examples/gpt/runner.hpp>
#include <smx/mixers/causal_monarch.hpp>
#include <smx/nn/gated_mixer.hpp>

namespace smx_examples {

namespace {
struct make_causal_monarch {
  static auto make(model_config const& c) {
    smx::gated_mixer<smx::causal_monarch<float>> mixer;
    mixer.mixer.channels = c.channels, mixer.mixer.length = c.max_length;
    return smx::make_gpt(mixer, sizes_of(c));
  }
};
}  // namespace

mixer_program causal_monarch_program() {
  return program_of<make_causal_monarch>("causal-monarch", "gates around a causal Monarch matrix");
}

}  // namespace smx_examples
