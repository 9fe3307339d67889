// SPDX-License-Identifier: Apache-2.0
/// \file  Encoders of whole models with random weights, batch 1, f32: M2-BERT-80M with prepared kernels, and
/// BERT-base; and the embedding of a sentence by an encoder of the shape of MiniLM-L6.
#include <bench/rows.hpp>

#include <cmath>
#include <memory>
#include <numeric>
#include <span>

#include <smx/backend/cpu.hpp>
#include <smx/mixers/run.hpp>
#include <smx/models/bert_checkpoint.hpp>
#include <smx/models/bert_plan.hpp>

namespace {

using bench::index_t;
using bench::row;

smx::bert_config base_config(smx::bert_mixing mixing, index_t length) {
  smx::bert_config c;
  c.mixing = mixing;
  c.vocabulary = 30528, c.channels = 768, c.positions = length, c.types = 2, c.depth = 12,
  c.intermediate = 3072;
  c.heads = 12;
  if (mixing != smx::bert_mixing::m2) return c;
  c.blocks = 4, c.max_length = length, c.width = 128, c.features = 5, c.hidden = 2;
  c.gated = c.bidirectional = c.residual = c.input_norm = true;
  return c;
}

/// all-MiniLM-L6.
smx::bert_config minilm_config() {
  smx::bert_config c;
  c.vocabulary = 30522, c.channels = 384, c.positions = 512, c.types = 2, c.depth = 6;
  c.intermediate = 1536;
  c.heads = 12;
  return c;
}
/// Tokens of a sentence of 20 words: a full stop, what stands at both ends, and one word of two pieces.
constexpr index_t sentence = 24;

template <class Block> struct encoder {
  smx::cpu be;
  index_t length;
  smx::bert<Block> model;
  smx::parameters<smx::bert<Block>, smx::cpu> weights;
  smx::tensor<index_t, 2> ids;
  smx::tensor<float, 4> h;
  typename smx::bert<Block>::template prepared<smx::owns<smx::cpu>> kernels;

  encoder(smx::bert<Block> const& m, index_t l, int threads)
      : be(threads),
        length(l),
        model(m.with_lengths(&length, 1)),
        weights(smx::initialize(be, model, 1)),
        ids({1, l}),
        h(model.rows_extents({1, l})) {
    model.fill_tables(be, weights.write());
    for (index_t i = 0; i < l; ++i) ids(0, i) = i * 7919 % model.vocabulary;
    kernels = model.prepare(be, weights.read(), l);
  }
  encoder(encoder const&) = delete;
  encoder& operator=(encoder const&) = delete;

  void run() {
    model.encode(be, weights.read(), kernels, smx::bert_tokens<smx::cpu>{ids.cview(), {}}, h.view());
    be.synchronize();
  }
};

/// The mean of the encoder's rows, to length 1.
struct embedder : encoder<smx::softmax_block<float>> {
  smx::tensor<float, 4> embedding{{1, 1, 1, model.channels}};
  using encoder::encoder;

  void run() {
    encoder::run();
    model.pool_rows<smx::cpu>(be, smx::pooling::mean, &length, h.cview(), embedding.view());
    be.synchronize();
    std::span<float> const e(embedding.data(), static_cast<std::size_t>(model.channels));
    float const norm = std::sqrt(std::inner_product(e.begin(), e.end(), e.begin(), 0.0f));
    for (float& x : e) x /= norm;
  }
};

/// A row of `Work` (encoder or embedder). The costs are those of the encoder.
template <class Work, class Block>
void add_row(std::vector<row>& rows, std::string const& name, smx::bert<Block> const& model, index_t length,
             int threads) {
  rows.push_back({name, length, model.channels,
                  [=] {
                    auto const p = smx::plan_bert<smx::cpu::planner>({threads, smx::cpu::cache_bytes}, model,
                                                                     1, length, 0);
                    auto const& c = p.encode_prepared;
                    return bench::costs{c.flops, c.bytes, static_cast<double>(c.workspace),
                                        static_cast<double>(p.weights + p.prepared + p.output),
                                        static_cast<double>(c.launches)};
                  },
                  [=] {
                    auto const work = std::make_shared<Work>(model, length, threads);
                    return [work] { work->run(); };
                  }});
}

template <class Block>
void add_encoder(std::vector<row>& rows, char const* name, smx::bert_mixing mixing, int threads) {
  for (int t : bench::thread_counts(threads))
    for (index_t length : {128, 512, 1024, 2048, 4096, 8192}) {
      auto const model = smx::make_bert<Block>(base_config(mixing, length));
      add_row<encoder<Block>>(rows, bench::row_name(name, "encode", "forward", t, length), model, length, t);
    }
}

void add_embedder(std::vector<row>& rows, int threads) {
  auto const model = smx::make_bert<smx::softmax_block<float>>(minilm_config());
  for (int t : bench::thread_counts(threads))
    add_row<embedder>(rows, bench::row_name("minilm", "embed", "forward", t, sentence), model, sentence, t);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_rows(argc, argv, [](int threads) {
    std::vector<row> rows;
    add_encoder<smx::m2_block<float>>(rows, "m2_bert_80m", smx::bert_mixing::m2, threads);
    add_encoder<smx::softmax_block<float>>(rows, "bert_base", smx::bert_mixing::softmax, threads);
    add_embedder(rows, threads);
    return rows;
  });
}
