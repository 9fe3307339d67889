// SPDX-License-Identifier: Apache-2.0
/// \file  GPT-2 from a folder as Hugging Face stores it: config.json, model.safetensors, tokenizer.json.
#pragma once

#include <string>

#include <examples/gpt/options.hpp>
#include <examples/gpt/text_data.hpp>
#include <smx/models/gpt2.hpp>

namespace smx_examples {

/// Throws smx::file_error for what is missing, or not supported.
smx::gpt2_sizes read_gpt2_config(std::string const& file);

/// Sets o.model, and o.tokenizer to the folder's unless one is given. o.checkpoint is the folder.
smx::gpt2_sizes take_gpt2(program_options& o);

void generate_gpt2(program_options const& o, smx::gpt2_sizes const& s, codec const& c);
void eval_gpt2(program_options const& o, smx::gpt2_sizes const& s, text_data const& data);

}  // namespace smx_examples
