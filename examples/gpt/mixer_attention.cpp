// SPDX-License-Identifier: Apache-2.0
#include <examples/gpt/mixers.hpp>
#include <examples/gpt/runner.hpp>
#include <smx/nn/self_attention.hpp>

namespace smx_examples {

namespace {
struct make_attention {
  static auto make(model_config const& c) {
    smx::self_attention<float, smx::causal_mask> mixer;
    mixer.channels = c.channels, mixer.heads = c.heads;
    smx::gpt_sizes s = sizes_of(c);
    s.positions = c.positions ? c.max_length : 0;
    return smx::make_gpt(mixer, s);
  }
};
}  // namespace

mixer_program attention_program() {
  return program_of<make_attention>("attention", "causal softmax attention, as in GPT-2");
}

}  // namespace smx_examples
