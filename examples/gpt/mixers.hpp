// SPDX-License-Identifier: Apache-2.0
/// \file  The mixers of smx-gpt, each in its file.
#pragma once

namespace smx_examples {

struct mixer_program;

mixer_program m2_program();
mixer_program attention_program();
mixer_program ssd_program();
mixer_program causal_monarch_program();

}  // namespace smx_examples
