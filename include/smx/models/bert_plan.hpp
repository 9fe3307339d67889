// SPDX-License-Identifier: Apache-2.0
/// \file  What a BERT model costs at a length, before anything is allocated: its own program on a backend
/// that only counts.
#pragma once

#include <smx/backend/plan.hpp>
#include <smx/models/bert.hpp>

namespace smx {

/// Sizes in bytes. `prepare` runs once for each length; nothing where the blocks have no kernels.
struct bert_plan {
  std::size_t weights = 0, output = 0, prepared = 0;
  cost encode;           ///< kernels computed in every call
  cost encode_prepared;  ///< with prepared kernels
  cost prepare;
  cost training;  ///< loss and gradients with `masked` tokens

  std::size_t inference_bytes(bool with_prepared) const {
    std::size_t const kept = weights + output + (with_prepared ? prepared : 0);
    return kept + (with_prepared ? encode_prepared.workspace > prepare.workspace ? encode_prepared.workspace
                                                                                 : prepare.workspace
                                 : encode.workspace);
  }
};

/// `how`: be.how() of the backend that is to run it. masked: tokens of the batch that the loss is about; 0:
/// no plan of training.
template <class Plan, class Block>
bert_plan plan_bert(tiling const& how, bert<Block> const& model, index_t batch, index_t length,
                    index_t masked) {
  using T = typename Block::scalar;
  bert_plan report;
  typename bert<Block>::template weights<reads<Plan>> w;
  typename bert<Block>::template weights<writes<Plan>> dw;
  model.for_each_weight(
      [&](auto const& info, auto& read, auto& written) {
        read = {nullptr, info.ext}, written = {nullptr, info.ext};
        report.weights += checked_bytes<T>(info.ext, info.name);
      },
      w, dw);
  bert<Block> const m = model.with_lengths(&length, 1);
  bert_tokens<Plan> const tokens{{nullptr, extents<2>{batch, length}}, {}};
  out<Plan, T, 4> const h(nullptr, m.rows_extents({batch, length}));
  report.output = checked_bytes<T>(h.ext, "h");
  auto const run = [&](auto const& body) {
    Plan be(how);
    {
      auto frame = be.scope();
      body(be);
    }
    return be.result();
  };
  report.encode = run([&](Plan& be) { m.encode(be, w, tokens, {}, h); });
  typename bert<Block>::template prepared<owns<Plan>> kernels;
  report.prepare = run([&](Plan& be) { kernels = m.prepare(be, w, length); });
  for (auto const& one : kernels.blocks) report.prepared += one.bytes();
  report.encode_prepared = run([&](Plan& be) { m.encode(be, w, kernels, tokens, h); });
  if (masked > 0)
    report.training = run([&](Plan& be) {
      masked_tokens<Plan> const about{{nullptr, extents<1>{masked}}, {nullptr, extents<1>{masked}}};
      m.loss_and_gradients(be, w, tokens, about, 1, dw, out<Plan, T, 1>(nullptr, extents<1>{1}));
    });
  return report;
}

}  // namespace smx
