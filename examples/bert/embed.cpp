// SPDX-License-Identifier: Apache-2.0
#include <examples/bert/embed.hpp>

#include <algorithm>
#include <cmath>

#include <examples/bert/texts.hpp>
#include <examples/common/text/batches.hpp>
#include <examples/common/training/memory_check.hpp>

namespace smx_examples {
namespace {

constexpr std::size_t window = 4096;  // texts that are batched together

/// Rows of one length that is given.
std::vector<token_batch> rows_of_length(std::span<std::vector<token_id> const> texts, index_t length,
                                        index_t most_tokens, token_id padding) {
  std::vector<token_batch> batches;
  auto const rows = static_cast<std::size_t>(std::max<index_t>(1, most_tokens / length));
  for (std::size_t t = 0; t < texts.size(); ++t) {
    if (t % rows == 0) batches.push_back({{}, {}, length, {}});
    token_batch& b = batches.back();
    b.texts.push_back(t);
    b.lengths.push_back(static_cast<token_id>(texts[t].size()));
    b.ids.insert(b.ids.end(), texts[t].begin(), texts[t].end());
    b.ids.resize(b.rows() * static_cast<std::size_t>(length), padding);
  }
  return batches;
}

void normalise(std::span<float> v) {
  double sum = 0;
  for (float const x : v) sum += static_cast<double>(x) * static_cast<double>(x);
  double const factor = sum > 0 ? 1 / std::sqrt(sum) : 0;
  for (float& x : v) x = static_cast<float>(x * factor);
}

class embedder {
 public:
  embedder(smx::cpu& be, any_bert& bert, embed_options const& options) : be_(be), bert_(bert), o_(options) {
    bool const pooler = bert.config.pooler;
    pooling_ = o_.pooling.value_or(bert.monarch() && pooler ? text_pooling::pooler : text_pooling::mean);
    normalise_ = o_.normalise.value_or(pooling_ != text_pooling::pooler);
    smx::expects(pooling_ != text_pooling::pooler || pooler, "pooling: this model has no pooler");
    index_t const longest = longest_sequence(bert.config);
    most_ = o_.most_tokens;
    if (most_ == 0 && bert.monarch())
      most_ = o_.length > 0 ? std::min(longest, o_.length) : longest;
    else if (most_ == 0)
      most_ = std::min(longest, bert.folder.most_tokens.value_or(256));
    std::string const positions = std::to_string(longest) + " positions of the model";
    smx::expects_value(most_ >= 1 && most_ <= longest, "max-tokens", ("1 to the " + positions).c_str(),
                       most_);
    smx::expects_value(o_.batch_tokens >= 1, "batch-tokens", "at least 1", o_.batch_tokens);
    smx::expects_value(o_.length == 0 || bert.monarch(), "length", "none: this model masks its padding",
                       o_.length);
    length_ = o_.length == 0 ? most_ : o_.length;
    smx::expects_value(length_ >= most_ && length_ <= longest, "length",
                       (std::to_string(most_) + " (max-tokens) to the " + positions).c_str(), length_);
  }
  index_t most_tokens() const { return most_; }
  /// Throws memory_error unless the machine has room for the largest batch beside the weights.
  void expects_room() const {
    index_t const length = bert_.monarch() ? length_ : most_,
                  rows = std::max<index_t>(1, o_.batch_tokens / length);
    std::visit(
        [&](auto const& loaded) {
          smx::bert_plan const plan = loaded.plan(be_.how(), rows, length);
          expects_memory("smx-bert embed",
                         plan.inference_bytes(plan.prepared <= loaded.most_prepared) - plan.weights);
        },
        bert_.model);
  }

  /// (texts, channels)
  std::vector<float> run(std::span<std::vector<token_id> const> ids, token_id padding, progress& said) {
    auto const channels = static_cast<std::size_t>(bert_.config.channels);
    std::vector<float> all(ids.size() * channels);
    auto const batches = bert_.monarch() ? rows_of_length(ids, length_, o_.batch_tokens, padding)
                                         : make_batches(ids, std::max(o_.batch_tokens, most_), padding);
    for (token_batch const& batch : batches) {
      std::visit([&](auto& loaded) { encode(loaded, batch, all); }, bert_.model);
      said.done(batch.rows());
    }
    if (normalise_)
      for (std::size_t t = 0; t < ids.size(); ++t) normalise({all.data() + t * channels, channels});
    return all;
  }

 private:
  template <class Block>
  void encode(loaded_bert<Block>& loaded, token_batch const& batch, std::vector<float>& all) {
    auto const rows = static_cast<index_t>(batch.rows()), channels = loaded.model.channels;
    smx::extents<4> const e = loaded.model.rows_extents({rows, batch.length});
    if (memory_.size() < smx::checked_size(e)) memory_ = smx::tensor<float, 1>({smx::checked_size(e)});
    smx::view<float, 4, smx::host_space> const h(memory_.data(), e);
    loaded.encode(be_, {batch.ids.data(), {rows, batch.length}}, batch.lengths, h);
    smx::tensor<float, 4> pooled({rows, 1, 1, channels});
    auto frame = be_.scope();
    if (pooling_ == text_pooling::pooler)
      loaded.model.template pool<smx::cpu>(be_, loaded.weights.read(), smx::pooling::first,
                                           batch.lengths.data(), h, {}, pooled.view());
    else
      loaded.model.template pool_rows<smx::cpu>(
          be_, pooling_ == text_pooling::mean ? smx::pooling::mean : smx::pooling::first,
          batch.lengths.data(), h, pooled.view());
    be_.synchronize();
    auto const width = static_cast<std::size_t>(channels);
    for (std::size_t r = 0; r < batch.rows(); ++r)
      std::copy_n(pooled.data() + r * width, width, all.data() + batch.texts[r] * width);
  }

  smx::cpu& be_;
  any_bert& bert_;
  embed_options const& o_;
  text_pooling pooling_ = text_pooling::mean;
  bool normalise_ = true;
  index_t most_ = 0, length_ = 0;
  smx::tensor<float, 1> memory_;
};

}  // namespace

void embed_texts(smx::cpu& be, any_bert& bert, wordpiece_tokenizer const& tokens,
                 std::vector<std::string> const& texts, embed_options const& options,
                 embedding_sink const& sink) {
  embedder run(be, bert, options);
  run.expects_room();
  smx::expects_value(tokens.vocabulary_size() <= bert.config.vocabulary, "tokenizer",
                     "no more tokens than the table of words has rows; tokens", tokens.vocabulary_size());
  auto const channels = static_cast<std::size_t>(bert.config.channels);
  progress said("texts", texts.size(), options.quiet);
  for (std::size_t first = 0; first < texts.size(); first += window) {
    std::vector<std::vector<token_id>> ids;
    for (std::size_t t = first; t < std::min(first + window, texts.size()); ++t)
      ids.push_back(tokens.encode(texts[t], run.most_tokens()));
    std::vector<float> const all = run.run(ids, tokens.padding().value_or(0), said);
    for (std::size_t t = 0; t < ids.size(); ++t)
      sink(first + t, ids[t], {all.data() + t * channels, channels});
  }
}

}  // namespace smx_examples
