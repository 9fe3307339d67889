// SPDX-License-Identifier: Apache-2.0
/// \file  m2_bert: M2-BERT with its masked-LM head, or pooler and classifier, in every layout of its
/// checkpoints. The attention mask has no effect. Labels up to 0 do not count.
#include <tests/goldens/m2_run.hpp>

namespace goldens {
namespace {

struct m2_bert_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    c.allow_single(2e-4, 2e-4);
    smx::checkpoint_reader from(g.file(), smx::bert_prefixes("w."));
    smx::bert_config const config = smx::deduce_bert(from, options_of(g));
    for_block<T>(config,
                 [&]<class Block>(Block const&) { bert_run<T, B, Block>(be, g, c, config).compute(0); });
  }
};

}  // namespace

family family_m2_bert() { return make_family<m2_bert_family>("m2_bert"); }

}  // namespace goldens
