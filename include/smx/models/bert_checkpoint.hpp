// SPDX-License-Identifier: Apache-2.0
/// \file  BERT models from checkpoints: what a file's tensors say about the model, checked against what its
/// config says, and the weights. Layouts: models/bert_tensors.hpp.
///
/// Rules of the files. Names may begin with `bert.`, `model.` and `module.`. The decoder is the table of
/// words: it may be left out, and must equal it where it is there. Tables of the filters are read, never
/// recomputed: they are trained. The vocabulary may be padded to a multiple of 8.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>

#include <smx/io/checkpoint_reader.hpp>
#include <smx/io/safetensors_writer.hpp>
#include <smx/models/bert_tensors.hpp>

namespace smx {

/// What a config.json says, under its own names: numbers, and booleans as 0 and 1.
using bert_options = std::map<std::string, double>;

/// A model's sizes and options.
struct bert_config {
  bert_mixing mixing = bert_mixing::softmax;
  index_t vocabulary = 0, channels = 0, positions = 0, types = 0, depth = 0, intermediate = 0, heads = 0,
          classes = 0;
  bool pooler = false, head = false, gated = false;
  double eps = 1e-12;
  index_t blocks = 0;  ///< of the MLP's maps; 0: they are dense
  // of the M2 mixer
  index_t max_length = 0, width = 0, features = 0, hidden = 0;
  bool bidirectional = false, residual = false, input_norm = false;
  double modulation = 1;
};

/// The prefixes that names stand behind, each behind `before`.
inline std::vector<std::string> bert_prefixes(std::string const& before = "") {
  std::vector<std::string> all;
  for (char const* outer : {"", "model.", "module.", "model.module.", "module.model."})
    for (char const* inner : {"bert.", ""}) all.push_back(before + outer + inner);
  return all;
}

namespace detail {

/// Reads sizes off a file's tensors and holds the config against them.
class bert_deduction {
 public:
  bert_deduction(checkpoint_reader& from, bert_options const& said) : from_(from), said_(said) {}

  bert_config run() {
    bert_config c;
    std::string const words = "embeddings.word_embeddings.weight", layer = "encoder.layer.0.",
                      types = "embeddings.token_type_embeddings.weight",
                      positions = "embeddings.position_embeddings.weight";
    expect_rank(words, 2);
    expect_rank(types, 2);
    if (!problems_.empty()) fail();
    c.vocabulary = from_.shape(words)[0];
    c.channels = from_.shape(words)[1];
    c.types = from_.shape(types)[0];
    agree("hidden_size", c.channels, words);
    index_t const vocabulary = static_cast<index_t>(option("vocab_size", static_cast<double>(c.vocabulary)));
    if ((vocabulary + 7) / 8 * 8 != c.vocabulary) agree("vocab_size", c.vocabulary, words);
    agree("type_vocab_size", c.types, types);
    if (from_.contains(positions)) {
      expect_rank(positions, 2);
      if (!problems_.empty()) fail();
      c.positions = from_.shape(positions)[0];
      agree("max_position_embeddings", c.positions, positions);
    } else if (option("use_positional_encodings", 1) != 0) {
      problems_.push_back("tensor '" + positions + "' is missing");
    }
    if (from_.contains(layer + "attention.in_linear.weight"))
      c.mixing = bert_mixing::m2;
    else if (from_.contains(layer + "attention.self.Wqkv.weight"))
      c.mixing = bert_mixing::alibi;
    else if (!from_.contains(layer + "attention.self.query.weight"))
      problems_.push_back("layer 0 has neither '" + layer + "attention.self.query.weight' (BERT) nor '" +
                          layer + "attention.in_linear.weight' (M2-BERT)");
    if (!problems_.empty()) fail();
    c.depth = depth();
    agree("num_hidden_layers", c.depth, "encoder.layer." + std::to_string(c.depth - 1) + ".*");
    agree("monarch_mixer_sequence_mixing", c.mixing == bert_mixing::m2, layer + "attention.*");
    c.pooler = from_.contains("pooler.dense.weight");
    c.head = from_.contains("cls.predictions.transform.dense.weight");
    if (from_.contains("classifier.weight") && expect_rank("classifier.weight", 2)) {
      c.classes = from_.shape("classifier.weight")[0];
      agree("num_labels", c.classes, "classifier.weight");
    }
    c.eps = option("layer_norm_eps", 1e-12);
    if (!(c.eps >= 0)) problems_.push_back("layer_norm_eps: expected at least 0, config says " + text(c.eps));
    read_feed(c, layer);
    if (c.mixing == bert_mixing::m2)
      read_mixer(c, layer + "attention.");
    else
      read_heads(c);
    if (!problems_.empty()) fail();
    return c;
  }

 private:
  void read_feed(bert_config& c, std::string const& layer) {
    bool const m2 = c.mixing != bert_mixing::softmax;
    std::string const up = layer + (m2 ? "mlp.gated_layers.weight" : "intermediate.dense.weight"),
                      down = layer + (m2 ? "mlp.wo.weight" : "output.dense.weight");
    for (std::string const& name : {up, down})
      if (!from_.contains(name)) problems_.push_back("tensor '" + name + "' is missing");
    if (!problems_.empty()) fail();
    std::size_t const rank = from_.shape(up).size() == 3 && m2 ? 3 : 2;
    if (!expect_rank(up, rank) || !expect_rank(down, rank)) fail();
    auto const& u = from_.shape(up);
    auto const& d = from_.shape(down);
    index_t const blocks = rank == 3 ? u[0] : 1;
    c.blocks = rank == 3 ? blocks : 0;
    c.gated = m2 && u[rank - 2] > d[rank - 1];
    index_t const factor = c.gated ? 2 : 1;
    c.intermediate = static_cast<index_t>(option("intermediate_size", 0));
    // blocks are padded: several sizes have the same tensors
    if ((factor * c.intermediate + blocks - 1) / blocks != u[rank - 2]) {
      c.intermediate = u[rank - 2] * blocks / factor;
      agree("intermediate_size", c.intermediate, up);
    }
    if (!m2) return;
    agree("use_glu_mlp", c.gated, up);
    agree("use_monarch_mlp", rank == 3, up);
    if (rank == 3) agree("monarch_mlp_nblocks", blocks, up);
  }
  void read_mixer(bert_config& c, std::string const& at) {
    std::string const network = at + "filter_fn.implicit_filter.", z = at + "filter_fn.pos_emb.z",
                      first = network + "0.weight";
    for (std::string const& name : {z, first})
      if (!from_.contains(name)) problems_.push_back("tensor '" + name + "' is missing");
    std::size_t const rank = from_.contains(z) && from_.shape(z).size() == 2 ? 2 : 3;
    if (!problems_.empty() || !expect_rank(z, rank) || !expect_rank(first, 2)) fail();
    c.max_length = from_.shape(z)[rank - 2];
    c.features = from_.shape(z)[rank - 1];
    c.width = from_.shape(first)[0];
    index_t layers = 1;
    while (from_.contains(network + std::to_string(2 * layers) + ".weight")) ++layers;
    c.hidden = layers - 2;
    c.bidirectional = from_.contains(at + "filter_fn.implicit_filter_rev.0.weight");
    c.residual = from_.contains(at + "filter_fn2.implicit_filter.0.weight");
    c.input_norm = from_.contains(at + "layernorm.weight") || from_.contains(at + "layernorm.gamma");
    c.modulation = option("hyena_w_mod", 1);
    agree("long_conv_l_max", c.max_length, z);
    agree("hyena_emb_dim", c.features, z);
    agree("hyena_filter_order", c.width, first);
    agree("bidirectional", c.bidirectional, at + "filter_fn.implicit_filter_rev.*");
    agree("residual_long_conv", c.residual, at + "filter_fn2.*");
    agree("hyena_training_additions", c.input_norm, at + "layernorm.*");
    if (c.hidden < 0 || c.hidden > hyena_filter<float>::max_hidden)
      problems_.push_back("tensors '" + network + "*': expected 2 to 6 linear maps, got " +
                          std::to_string(layers));
  }
  void read_heads(bert_config& c) {
    if (!said_.contains("num_attention_heads"))
      problems_.push_back("num_attention_heads: no tensor says it, and neither does the config");
    c.heads = static_cast<index_t>(option("num_attention_heads", 1));
    if (c.heads < 1 || c.channels % c.heads != 0)
      problems_.push_back("num_attention_heads: config says " + text(option("num_attention_heads", 1)) +
                          ", which does not divide the " + std::to_string(c.channels) +
                          " channels of tensor '" + "embeddings.word_embeddings.weight'");
  }
  index_t depth() {
    index_t n = 0;
    while (has_layer(n)) ++n;
    return n;
  }
  bool has_layer(index_t n) {
    std::string const at = "encoder.layer." + std::to_string(n) + ".attention.";
    for (char const* name : {"in_linear.weight", "self.Wqkv.weight", "self.query.weight", "out_linear.weight",
                             "output.dense.weight"})
      if (from_.contains(at + name)) return true;
    return false;
  }

  double option(char const* name, double otherwise) const {
    auto const it = said_.find(name);
    return it == said_.end() ? otherwise : it->second;
  }
  /// What the config says, if it says something, must be what the tensor says.
  void agree(char const* name, index_t value, std::string const& tensor) {
    auto const it = said_.find(name);
    if (it != said_.end() && it->second != static_cast<double>(value))
      problems_.push_back(std::string(name) + ": config says " + text(it->second) + ", tensor '" + tensor +
                          "' says " + std::to_string(value));
  }
  bool expect_rank(std::string const& name, std::size_t rank) {
    if (!from_.contains(name)) {
      problems_.push_back("tensor '" + name + "' is missing");
      return false;
    }
    auto const& shape = from_.shape(name);
    if (shape.size() == rank && std::ranges::all_of(shape, [](index_t n) { return n >= 1; })) return true;
    problems_.push_back("tensor '" + name + "': expected " + std::to_string(rank) +
                        " extents of at least 1, got " + print_shape(shape));
    return false;
  }
  static std::string text(double x) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.12g", x);
    return digits;
  }
  [[noreturn]] void fail() const {
    std::string all;
    for (std::string const& one : problems_) all += "\n  " + one;
    raise<file_error>(from_.file().path(),
                      "the tensors are not those of a BERT model that the config allows:" + all);
  }

  checkpoint_reader& from_;
  bert_options const& said_;
  std::vector<std::string> problems_;
};

/// Whether two tensors of a file hold the same bits.
inline bool same_tensor(safetensors_file const& file, std::string const& a, std::string const& b) {
  auto const &x = file.at(a), &y = file.at(b);
  return x.dtype == y.dtype && x.bytes.size() == y.bytes.size() &&
         (x.bytes.empty() || std::memcmp(x.bytes.data(), y.bytes.data(), x.bytes.size()) == 0);
}

}  // namespace detail

/// The model of a file. Throws file_error with every tensor that decides a size and is missing, and every
/// option of the config that the tensors contradict, with both values.
inline bert_config deduce_bert(checkpoint_reader& from, bert_options const& said = {}) {
  return detail::bert_deduction(from, said).run();
}

namespace detail {
inline bool is_floating(stored_dtype d) {
  return d == stored_dtype::f16 || d == stored_dtype::bf16 || d == stored_dtype::f32 ||
         d == stored_dtype::f64;
}
}  // namespace detail

/// Reads the weights. What is missing or does not fit is reported by from.finish().
template <class Block, class W>
void read_bert(bert<Block> const& m, bert_mixing mixing, checkpoint_reader& from, W const& w) {
  for_each_tensor(
      m, mixing,
      [&](std::vector<std::string> const& names, auto const& view) {
        std::string const* first = nullptr;
        for (std::string const& name : names) {
          std::string const* const found = from.find(name);
          if (found == nullptr) continue;
          if (first == nullptr) first = found;
          if (!detail::same_tensor(from.file(), *first, *found))
            from.report("tensors '" + *first + "' and '" + *found + "': expected the same numbers");
        }
        if (first != nullptr && !detail::is_floating(from.file().at(*first).dtype))
          from.report("tensor '" + *first + "': expected a floating-point type, got " +
                      name_of(from.file().at(*first).dtype));
        from.read(names, view);
      },
      w);
  std::string const words = "embeddings.word_embeddings.weight", decoder = "cls.predictions.decoder.weight";
  if (from.contains(words) && from.contains(decoder) &&
      !detail::same_tensor(from.file(), *from.find(words), *from.find(decoder)))
    from.report("tensor '" + decoder + "': expected the table of words, which the decoder is tied to");
  for (char const* known : {"cls.predictions.decoder.weight", "embeddings.position_ids",
                            "cls.seq_relationship.weight", "cls.seq_relationship.bias"})
    from.skip(known);
}

/// Adds the weights to a file, in the layout and with the extents of the published ones.
template <class Block, class W>
void write_bert(bert<Block> const& m, bert_mixing mixing, W const& w, safetensors_writer& file) {
  auto const ends = [](std::string const& name, char const* end) { return name.ends_with(end); };
  for_each_tensor(
      m, mixing,
      [&](std::vector<std::string> const& names, auto const& view) {
        bool const head = names.front().starts_with("cls.") || names.front().starts_with("classifier.");
        std::string const name = (head ? "" : "bert.") + names.front();
        if constexpr (std::remove_cvref_t<decltype(view)>::rank == 1) {
          if (ends(name, ".pos_emb.t"))
            return file.add(name, broadcast_axis(broadcast_axis(view, 1, 1), 0, 1));
          if (ends(name, ".deltas")) return file.add(name, broadcast_axis(broadcast_axis(view, 0, 1), 0, 1));
          if (ends(name, ".freq")) return file.add(name, broadcast_axis(view, 0, 1));
        } else if constexpr (std::remove_cvref_t<decltype(view)>::rank == 2) {
          if (ends(name, ".pos_emb.z")) return file.add(name, broadcast_axis(view, 0, 1));
          if (ends(name, ".short_filter.weight")) return file.add(name, broadcast_axis(view, 1, 1));
        }
        file.add(name, view);
      },
      w);
}

/// A model of the sizes of a config. Throws precondition_error where the block is of another kind than the
/// config's.
template <class Block> bert<Block> make_bert(bert_config const& c) {
  bert<Block> m;
  m.vocabulary = c.vocabulary, m.channels = c.channels, m.positions = c.positions, m.types = c.types;
  m.depth = c.depth, m.classes = c.classes, m.pooler = c.pooler, m.head = c.head, m.eps = c.eps;
  make_block(c, m.block);
  return m;
}

/// The layers of a block from a config. Maps of a dense MLP may be block-diagonal ones of a single block.
template <class T> void make_map(index_t in, index_t out, bool bias, bert_config const& c, linear<T>& map) {
  expects_value(c.blocks == 0, "bert: config", "dense MLPs for this block; blocks", c.blocks);
  map = {.channels = in, .output_channels = out, .bias = bias, .deviation = 0.02};
}
template <class T>
void make_map(index_t in, index_t out, bool bias, bert_config const& c, block_diagonal<T>& map) {
  map = {.channels = in, .output_channels = out, .blocks = c.blocks == 0 ? 1 : c.blocks, .bias = bias};
}
template <class T, bool Gated, class Map, class Act>
void make_feed(bert_config const& c, residual<feed_forward<T, Gated, Map, Act>, norm_placement::post>& r) {
  expects_value(c.gated == Gated, "bert: config", "an MLP of this block's kind; gated", c.gated);
  make_map(c.channels, (Gated ? 2 : 1) * c.intermediate, c.mixing == bert_mixing::softmax, c, r.inner.up);
  make_map(c.intermediate, c.channels, true, c, r.inner.down);
  r.norm = {c.channels, c.eps};
}
template <class T, class Feed, convolution_kind Kind>
void make_block(bert_config const& c, m2_block<T, Feed, Kind>& b) {
  expects(c.mixing == bert_mixing::m2, "bert: config: expected one of an M2 model");
  expects_value(c.bidirectional == (Kind == convolution_kind::bidirectional), "bert: config",
                "convolutions of this block's kind; bidirectional", c.bidirectional);
  b.first = {.channels = c.channels,
             .max_length = c.max_length,
             .residual = c.residual,
             .input_norm = c.input_norm,
             .deviation = 0.02,
             .width = c.width,
             .features = c.features,
             .hidden = c.hidden,
             .modulation = c.modulation};
  make_feed(c, b.second);
}
template <class T, class Feed, class Scores>
void make_block(bert_config const& c, softmax_block<T, Feed, Scores>& b) {
  expects(c.mixing != bert_mixing::m2, "bert: config: expected one of a model with attention");
  b.first.inner.channels = c.channels, b.first.inner.heads = c.heads, b.first.inner.deviation = 0.02;
  if constexpr (Scores::modified) b.first.inner.mix.scores.alibi = 8;
  b.first.norm = {c.channels, c.eps};
  make_feed(c, b.second);
}

}  // namespace smx
