// SPDX-License-Identifier: Apache-2.0
#include <examples/gpt/mixers.hpp>

#include <examples/gpt/runner.hpp>

namespace smx_examples {

std::vector<mixer_program> all_mixers() {
  return {m2_program(), causal_monarch_program(), attention_program(), ssd_program()};
}

index_t position_limit(model_config const& c) {
  bool const any = c.mixer == "ssd" || (c.mixer == "attention" && !c.positions);
  return any ? 0 : c.max_length;
}

}  // namespace smx_examples
