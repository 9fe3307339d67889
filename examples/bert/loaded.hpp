// SPDX-License-Identifier: Apache-2.0
/// \file  A model of a folder with its weights, and running its encoder: softmax attention or the M2 mixer.
#pragma once

#include <utility>
#include <variant>

#include <examples/bert/folder.hpp>
#include <smx/backend/cpu.hpp>
#include <smx/models/bert_plan.hpp>

namespace smx_examples {

using smx::index_t;
using attention_block = smx::softmax_block<float>;
using monarch_block = smx::m2_block<float>;

/// A model, its weights, and the kernels of the last length where they take no more than `most_prepared`
/// bytes.
template <class Block> struct loaded_bert {
  using block = Block;
  smx::bert<Block> model;
  smx::parameters<smx::bert<Block>, smx::cpu> weights;
  typename smx::bert<Block>::template prepared<smx::owns<smx::cpu>> kernels = {};
  std::size_t most_prepared = std::size_t{1536} << 20;

  smx::bert_plan plan(smx::tiling const& how, index_t batch, index_t length) const {
    return smx::plan_bert<smx::cpu::planner>(how, model, batch, length, 0);
  }
  /// h (B,1,L,D) of ids (B,L), of which lengths[b] are there.
  void encode(smx::cpu& be, smx::view<index_t const, 2, smx::host_space> ids,
              std::vector<index_t> const& lengths, smx::view<float, 4, smx::host_space> h) {
    auto const m = model.with_lengths(lengths.data(), ids.ext[0]);
    index_t const length = ids.ext[1];
    smx::bert_tokens<smx::cpu> const tokens{ids, {}};
    if (smx::nn::prepares<Block> && kernels.length != length) {
      kernels = {};
      if (plan(be.how(), 1, length).prepared <= most_prepared)
        kernels = m.prepare(be, weights.read(), length);
    }
    if (smx::nn::prepares<Block> && kernels.length == length)
      m.encode(be, weights.read(), kernels, tokens, h);
    else
      m.encode(be, weights.read(), tokens, {}, h);
    be.synchronize();
  }
};

/// The longest sequence that a model takes.
index_t longest_sequence(smx::bert_config const& config);

struct any_bert {
  bert_folder folder;
  smx::bert_config config;
  std::vector<std::string> unknown;  ///< tensors that nobody asked for
  std::variant<loaded_bert<attention_block>, loaded_bert<monarch_block>> model;

  bool monarch() const { return std::holds_alternative<loaded_bert<monarch_block>>(model); }
};

/// What the tensors of a folder say without reading them.
smx::bert_config read_bert_config(bert_folder const& folder);

/// Throws file_error with all that is missing or wrong; with refuse_unknown also for tensors that no part of
/// the model is.
any_bert load_bert(smx::cpu& be, std::string const& folder, bool refuse_unknown);

}  // namespace smx_examples
