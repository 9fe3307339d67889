// SPDX-License-Identifier: Apache-2.0
/// \file  hf_bert: BERT of Hugging Face transformers with its pooler or its masked-LM head, forward and
/// gradients. Labels of -100 do not count.
#include <tests/goldens/bert_run.hpp>

namespace goldens {
namespace {

struct hf_bert_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    smx::checkpoint_reader from(g.file(), smx::bert_prefixes("w."));
    smx::bert_config const config = smx::deduce_bert(from, options_of(g));
    bert_run<T, B, smx::softmax_block<T>>(be, g, c, config).compute(-100);
  }
};

}  // namespace

family family_hf_bert() { return make_family<hf_bert_family>("hf_bert"); }

}  // namespace goldens
