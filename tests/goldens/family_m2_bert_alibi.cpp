// SPDX-License-Identifier: Apache-2.0
/// \file  m2_bert_alibi: the attention baseline of M2-BERT's code: symmetric ALiBi, block-diagonal GLU, no
/// positions, rows of padding left out.
#include <tests/goldens/bert_run.hpp>

namespace goldens {
namespace {

struct m2_bert_alibi_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    smx::checkpoint_reader from(g.file(), smx::bert_prefixes("w."));
    smx::bert_config const config = smx::deduce_bert(from, options_of(g));
    if (config.gated)
      bert_run<T, B, smx::softmax_block<T, smx::glu<T, smx::block_diagonal<T>>, smx::modified_scores>>(
          be, g, c, config)
          .compute(0);
    else
      bert_run<T, B, smx::softmax_block<T, smx::mlp<T, smx::block_diagonal<T>>, smx::modified_scores>>(
          be, g, c, config)
          .compute(0);
  }
};

}  // namespace

family family_m2_bert_alibi() { return make_family<m2_bert_alibi_family>("m2_bert_alibi"); }

}  // namespace goldens
