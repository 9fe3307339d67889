// SPDX-License-Identifier: Apache-2.0
/// \file  Small BERT models of both kinds for tests.
#pragma once

#include <smx/mixers/run.hpp>
#include <smx/models/bert_checkpoint.hpp>

namespace test {

using smx::index_t;

template <class T> using attention_bert = smx::bert<smx::softmax_block<T>>;
template <class T> using monarch_bert = smx::bert<smx::m2_block<T>>;

inline smx::bert_config small_config(smx::bert_mixing mixing) {
  smx::bert_config c;
  c.mixing = mixing;
  c.vocabulary = 24, c.channels = 8, c.positions = 12, c.types = 2, c.depth = 2, c.intermediate = 16,
  c.heads = 2;
  c.classes = 3, c.pooler = c.head = true;
  if (mixing == smx::bert_mixing::m2) {
    c.gated = c.bidirectional = c.residual = c.input_norm = true;
    c.blocks = 4, c.max_length = 12, c.width = 6, c.features = 5, c.hidden = 2;
  }
  return c;
}

/// f(model, its mixing) for both kinds.
template <class T, class F> void for_each_bert(F const& f) {
  using smx::bert_mixing;
  f(smx::make_bert<smx::softmax_block<T>>(small_config(bert_mixing::softmax)), bert_mixing::softmax);
  f(smx::make_bert<smx::m2_block<T>>(small_config(bert_mixing::m2)), bert_mixing::m2);
}

/// Weights in which every term matters.
template <class B, class M> smx::parameters<M, B> busy_weights(B& be, M const& m, std::uint64_t seed) {
  auto w = smx::initialize(be, m, seed);
  m.fill_tables(be, w.write());
  be.synchronize();
  std::uint64_t stream = 1000;
  m.for_each_weight(
      [&](auto const&, auto const& to) {
        smx::random_stream const more{seed, stream++};
        for (index_t i = 0; i < to.size(); ++i)
          to.ptr[i] += static_cast<typename M::scalar>(0.2 * more.normal(static_cast<std::uint64_t>(i)));
      },
      w.write());
  return w;
}

}  // namespace test
