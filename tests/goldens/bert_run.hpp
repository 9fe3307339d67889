// SPDX-License-Identifier: Apache-2.0
/// \file  What the families of M2 layers and BERT models share: weights and gradients by the names of
/// models/bert_tensors.hpp, and running a whole model.
#pragma once

#include <smx/backend/reference.hpp>
#include <smx/mixers/run.hpp>
#include <smx/models/bert_checkpoint.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {

/// The weights of a layer or model; read(reader, host weights) reads them from the tensors `w.*`.
template <class B, class M, class Read>
smx::parameters<M, B> load_parameters(B& be, golden const& g, M const& m, Read const& read) {
  smx::reference_backend host;
  smx::parameters<M, smx::reference_backend> here(host, m);
  smx::checkpoint_reader from(g.file(), smx::bert_prefixes("w."));
  read(from, here.write());
  for (std::string const& name : from.finish())
    if (name.starts_with("w.")) g.fail("tensor '" + name + "' is unknown");
  smx::parameters<M, B> there(be, m);
  transfer<smx::space_t<B>>::in(there.all().ptr, here.all().ptr, here.bytes());
  return there;
}

/// A function that compares a view with the tensors `grad.*` of its names.
inline auto compare_gradients(golden const& g, comparison& c) {
  return [&](std::vector<std::string> const& names, auto const& view) {
    for (std::string const& name : names)
      for (std::string const& prefix : smx::bert_prefixes("grad."))
        if (g.contains(prefix + name)) c.check(prefix + name, view);
  };
}

/// The numbers and booleans of the config.
inline smx::bert_options options_of(golden const& g) {
  smx::bert_options options;
  auto const all = nlohmann::json::parse(g.text("config"));
  for (auto const& [key, value] : all.items())
    if (value.is_number())
      options[key] = value.get<double>();
    else if (value.is_boolean())
      options[key] = value.get<bool>() ? 1 : 0;
  return options;
}

/// A model on the inputs of a file: everything that the file may have results of.
template <class T, class B, class Block> class bert_run {
 public:
  bert_run(B& be, golden const& g, comparison& c, smx::bert_config const& config)
      : be_(be),
        g_(g),
        c_(c),
        mixing_(config.mixing),
        ids_(indices("in.input_ids")),
        extents_(g.extents_of<2>("in.input_ids")) {
    if (g.contains("in.token_type_ids")) types_ = indices("in.token_type_ids");
    lengths_ = shared(valid_lengths());
    model_ = smx::make_bert<Block>(config).with_lengths(lengths_.data(), extents_[0]);
  }

  /// `ignored`: labels up to this number do not count.
  void compute(std::int64_t ignored) {
    auto const weights = load_parameters(
        be_, g_, model_, [&](auto& from, auto const& w) { smx::read_bert(model_, mixing_, from, w); });
    auto frame = be_.scope();
    smx::parameters<smx::bert<Block>, B> gradients(be_, model_);
    smx::bert_tokens<B> const tokens{as_ids(ids_), types_.size() == 0 ? in2{} : as_ids(types_)};
    auto const t = model_.make_tape(be_, tokens);
    smx::tensor<T, 4, smx::space_t<B>> h(be_.memory(), model_.rows_extents(extents_));
    model_.encode(be_, weights, model_.prepare(be_, weights.read(), extents_[1]), tokens, h.view());
    drop_padding(h.view());
    c_.check("out.last_hidden_state", h);
    model_.encode(be_, weights, tokens, t, h.view());
    drop_padding(h.view());
    c_.check("out.last_hidden_state", h);
    c_.check("mid.embeddings", t.x);
    c_.check("mid.hidden_states.0", t.x);
    for (index_t i = 0; i < model_.depth; ++i) {
      auto const after = i + 1 < model_.depth ? t.blocks.h[i + 1] : h.view();
      c_.check("mid.layer" + std::to_string(i), after);
      c_.check("mid.hidden_states." + std::to_string(i + 1), after);
    }
    if (model_.head) check_logits(weights, h.cview(), ignored);
    if (g_.contains("in.labels")) check_loss(weights, tokens, ignored, gradients);
    if (model_.pooler) check_pooled(weights, tokens, t, h.cview(), gradients);
    be_.synchronize();
    smx::for_each_tensor(model_, mixing_, compare_gradients(g_, c_), gradients.read());
  }

 private:
  using in2 = smx::in<B, index_t, 2>;
  using parameters_type = smx::parameters<smx::bert<Block>, B>;

  std::vector<index_t> values(std::string const& name) const {
    auto const all = g_.file().template read<std::int64_t>(name);
    return {all.begin(), all.end()};
  }
  smx::tensor<index_t, 1, smx::space_t<B>> indices(std::string const& name) const {
    auto const all = values(name);
    return upload<index_t>(be_, all, extents<1>{static_cast<index_t>(all.size())});
  }
  in2 as_ids(smx::tensor<index_t, 1, smx::space_t<B>> const& v) const { return in2(v.cview().ptr, extents_); }
  /// The attention mask as lengths; without one all positions count.
  std::vector<index_t> valid_lengths() const {
    auto const [batch, length] = extents_.n;
    std::vector<index_t> lengths(static_cast<std::size_t>(batch), length);
    if (!g_.contains("in.attention_mask")) return lengths;
    auto const mask = values("in.attention_mask");
    for (index_t b = 0; b < batch; ++b) {
      auto const row = mask.begin() + b * length;
      index_t const n = std::find(row, row + length, 0) - row;
      if (std::find(row + n, row + length, 1) != row + length)
        g_.fail("in.attention_mask: expected padding at the end");
      lengths[static_cast<std::size_t>(b)] = n;
    }
    return lengths;
  }
  /// The baseline with ALiBi leaves padded rows out: they come back as zeros.
  void drop_padding(smx::out<B, T, 4> h) {
    if (mixing_ != smx::bert_mixing::alibi) return;
    for (index_t b = 0; b < h.ext[0]; ++b) {
      index_t const n = lengths_.data()[b];
      if (n < h.ext[2])
        be_.map(smx::constant<T>{T(0)}, smx::slice(smx::slice(h, 0, b, 1), 2, n, h.ext[2] - n));
    }
  }

  void check_logits(parameters_type const& w, smx::in<B, T, 4> h, std::int64_t ignored) {
    extents<4> const rows{1, 1, h.ext[0] * h.ext[2], h.ext[3]};
    smx::tensor<T, 4, smx::space_t<B>> y(be_.memory(), extents<4>{1, 1, rows[2], model_.vocabulary});
    model_.template logits<B>(be_, w, smx::in<B, T, 4>(h.ptr, rows), {}, y.view());
    be_.synchronize();
    c_.check("out.logits", y);
    if (!g_.contains("out.logits_with_labels")) return;
    std::vector<T> kept = elements(y.cview());
    auto const labels = values("in.labels");
    for (std::size_t i = 0; i < kept.size(); ++i)
      if (labels[i / static_cast<std::size_t>(model_.vocabulary)] <= ignored) kept[i] = 0;
    c_.check("out.logits_with_labels", kept);
  }
  void check_loss(parameters_type const& w, smx::bert_tokens<B> const& tokens, std::int64_t ignored,
                  parameters_type& gradients) {
    std::vector<index_t> places, targets;
    auto const labels = values("in.labels");
    for (std::size_t i = 0; i < labels.size(); ++i)
      if (labels[i] > ignored) places.push_back(static_cast<index_t>(i)), targets.push_back(labels[i]);
    extents<1> const e{static_cast<index_t>(places.size())};
    auto const at = upload<index_t>(be_, places, e), id = upload<index_t>(be_, targets, e);
    smx::tensor<T, 1, smx::space_t<B>> loss(be_.memory(), extents<1>{1});
    smx::masked_tokens<B> const masked{at.cview(), id.cview()};
    model_.loss(be_, w, tokens, masked, loss.view());
    c_.check("out.loss", loss);
    model_.loss_and_gradients(be_, w, tokens, masked, 1, gradients.write(), loss.view());
    c_.check("out.loss", loss);
  }
  void check_pooled(parameters_type const& w, smx::bert_tokens<B> const& tokens,
                    typename smx::bert<Block>::template tape<smx::writes<B>> const& t, smx::in<B, T, 4> h,
                    parameters_type& gradients) {
    auto const pt = model_.template make_pooler_tape<B>(be_, h);
    smx::tensor<T, 4, smx::space_t<B>> y(be_.memory(), extents<4>{h.ext[0], 1, 1, h.ext[3]});
    model_.template pool<B>(be_, w, smx::pooling::mean, lengths_.data(), h, {}, y.view());
    c_.check("out.pooled_mean", y);
    model_.template pool<B>(be_, w, smx::pooling::first, lengths_.data(), h, pt, y.view());
    c_.check("out.pooled_cls", y);
    c_.check("out.pooler_output", y);
    std::vector<T> unit = elements(y.cview());
    for (std::size_t i = 0; i < unit.size(); i += static_cast<std::size_t>(h.ext[3])) {
      double sum = 0;
      for (std::size_t j = 0; j < static_cast<std::size_t>(h.ext[3]); ++j)
        sum += double(unit[i + j]) * double(unit[i + j]);
      for (std::size_t j = 0; j < static_cast<std::size_t>(h.ext[3]); ++j)
        unit[i + j] = static_cast<T>(unit[i + j] / std::sqrt(sum));
    }
    c_.check("out.pooled_cls_normalized", unit);
    if (model_.classes > 0) {
      smx::tensor<T, 4, smx::space_t<B>> scores(be_.memory(), extents<4>{h.ext[0], 1, 1, model_.classes});
      model_.classifier().forward(be_, w.read().classifier, {y.cview()}, {}, scores.view());
      c_.check("out.logits", scores);
    }
    if (!g_.contains("in.r_last_hidden_state")) return;
    auto const dh = load<T>(be_, g_, "in.r_last_hidden_state", h.ext);
    auto const dy = load<T>(be_, g_, "in.r_pooler", y.extents());
    auto to = be_.template scratch<T>(h.ext);
    be_.copy(dh.cview(), to);
    model_.template pool_backward<B>(be_, w, pt, dy.cview(), gradients.write(), to);
    model_.template encode_backward<B>(be_, w, tokens, t, smx::as_input(to), gradients.write());
  }

  B& be_;
  golden const& g_;
  comparison& c_;
  smx::bert_mixing mixing_;
  smx::tensor<index_t, 1, smx::space_t<B>> ids_, types_;
  extents<2> extents_;
  smx::tensor<index_t, 1> lengths_;  // masks refer to it
  smx::bert<Block> model_;
};

}  // namespace goldens
