// SPDX-License-Identifier: Apache-2.0
#include <examples/bert/loaded.hpp>

#include <algorithm>

namespace smx_examples {
namespace {

template <class Block>
loaded_bert<Block> read_weights(smx::cpu& be, smx::bert_config const& config, smx::checkpoint_reader& from) {
  auto const model = smx::make_bert<Block>(config);
  loaded_bert<Block> loaded{model, smx::parameters<smx::bert<Block>, smx::cpu>(be, model)};
  smx::read_bert(model, config.mixing, from, loaded.weights.write());
  return loaded;
}

}  // namespace

index_t longest_sequence(smx::bert_config const& config) {
  if (config.mixing != smx::bert_mixing::m2) return config.positions;
  return config.positions == 0 ? config.max_length : std::min(config.max_length, config.positions);
}

smx::bert_config read_bert_config(bert_folder const& folder) {
  smx::safetensors_file const file(folder.weights_file);
  smx::checkpoint_reader from(file, smx::bert_prefixes());
  return smx::deduce_bert(from, folder.options);
}

any_bert load_bert(smx::cpu& be, std::string const& path, bool refuse_unknown) {
  bert_folder folder = read_bert_folder(path);
  smx::safetensors_file const file(folder.weights_file);
  smx::checkpoint_reader from(file, smx::bert_prefixes());
  smx::bert_config const config = smx::deduce_bert(from, folder.options);
  if (config.mixing == smx::bert_mixing::alibi)
    throw smx::file_error(folder.weights_file,
                          "attention with ALiBi: models of this program have a table of "
                          "positions, or the M2 mixer");
  if (config.mixing == smx::bert_mixing::m2 && !(config.gated && config.bidirectional))
    throw smx::file_error(folder.weights_file,
                          "expected an M2 model with a GLU and bidirectional convolutions");
  if (config.mixing == smx::bert_mixing::m2) {
    auto loaded = read_weights<monarch_block>(be, config, from);
    auto unknown = from.finish(refuse_unknown);
    return {std::move(folder), config, std::move(unknown), std::move(loaded)};
  }
  auto loaded = read_weights<attention_block>(be, config, from);
  auto unknown = from.finish(refuse_unknown);
  return {std::move(folder), config, std::move(unknown), std::move(loaded)};
}

}  // namespace smx_examples
