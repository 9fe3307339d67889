// SPDX-License-Identifier: Apache-2.0
/// \file  BERT checkpoints: every layout of names, sizes from tensors, and each way in which a file can be
/// wrong.
#include <algorithm>
#include <functional>

#include <smx/backend/reference.hpp>
#include <smx/io/safetensors_writer.hpp>

#include "tests/catch.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/models/bert_cases.hpp"

using namespace test;
using smx::bert_mixing;

namespace {

using backend = smx::reference_backend;

/// Tensors by name, as they go into a file.
struct stored {
  std::vector<index_t> shape;
  std::vector<float> values;
};
using tensors = std::map<std::string, stored>;

/// All tensors of a model under the names that `pick` chooses of each list.
template <class M, class W, class Pick>
tensors tensors_of(M const& m, bert_mixing mixing, W const& w, Pick const& pick) {
  tensors all;
  smx::for_each_tensor(
      m, mixing,
      [&](std::vector<std::string> const& names, auto const& view) {
        stored one;
        one.shape.assign(view.ext.n, view.ext.n + view.rank);
        if (names.front().ends_with(".z") || names.front().ends_with(".freq"))
          one.shape.insert(one.shape.begin(), 1);
        one.values.assign(view.ptr, view.ptr + view.size());
        for (std::string const& name : pick(names)) all[name] = one;
      },
      w);
  return all;
}
std::vector<std::string> first_name(std::vector<std::string> const& names) { return {names.front()}; }

using add_more = std::function<void(smx::safetensors_writer&)>;

void write(std::string const& path, tensors const& all, add_more const& more = {}) {
  smx::safetensors_writer file;
  if (more) more(file);
  for (auto const& [name, one] : all) {
    auto const& s = one.shape;
    if (s.size() == 1) file.add(name, smx::view<float const, 1, smx::host_space>(one.values.data(), {s[0]}));
    if (s.size() == 2)
      file.add(name, smx::view<float const, 2, smx::host_space>(one.values.data(), {s[0], s[1]}));
    if (s.size() == 3)
      file.add(name, smx::view<float const, 3, smx::host_space>(one.values.data(), {s[0], s[1], s[2]}));
  }
  file.write(path);
}

/// A model of small_config with weights, the tensors of its file, and loading that.
template <class M> struct checkpoint {
  temporary_folder folder;
  backend be;
  bert_mixing mixing;
  M model;
  smx::parameters<M, backend> weights;
  tensors all;
  smx::bert_options said;
  add_more more;  ///< tensors of other types

  explicit checkpoint(M const& m, bert_mixing how)
      : mixing(how),
        model(m),
        weights(busy_weights(be, m, 3)),
        all(tensors_of(m, how, weights.read(), first_name)) {
    if (how == bert_mixing::softmax) said["num_attention_heads"] = 2;
  }
  std::string path() const { return folder / "model.safetensors"; }

  /// Loads what is in `all`, under a prefix; what remains of it is compared with the weights.
  std::vector<std::string> load(bool refuse_unknown = false) {
    write(path(), all, more);
    smx::safetensors_file const file(path());
    smx::checkpoint_reader from(file, smx::bert_prefixes());
    smx::bert_config const c = smx::deduce_bert(from, said);
    auto const again = smx::make_bert<typename M::block_type>(c);
    smx::parameters<M, backend> w(be, again);
    smx::read_bert(again, c.mixing, from, w.write());
    auto const unknown = from.finish(refuse_unknown);
    CHECK(again == model);
    REQUIRE(w.size() == weights.size());
    CHECK(std::equal(w.all().ptr, w.all().ptr + w.size(), weights.all().ptr));
    return unknown;
  }
  std::string message(bool refuse_unknown = false) {
    try {
      load(refuse_unknown);
    } catch (smx::file_error const& e) { return e.what(); }
    return "nothing was thrown";
  }
};

template <class F> void for_each_checkpoint(F const& f) {
  for_each_bert<float>([&](auto const& m, bert_mixing mixing) {
    auto const fresh = [&] {
      return std::make_unique<checkpoint<std::remove_cvref_t<decltype(m)>>>(m, mixing);
    };
    f(fresh, mixing);
  });
}

tensors renamed(tensors const& all, std::string const& of_encoder, std::string const& of_heads) {
  tensors out;
  for (auto const& [name, one] : all)
    out[(name.starts_with("cls.") || name.starts_with("classifier.") ? of_heads : of_encoder) + name] = one;
  return out;
}

constexpr char words[] = "embeddings.word_embeddings.weight";
constexpr char decoder[] = "cls.predictions.decoder.weight";

}  // namespace

TEST_CASE("BERT checkpoints: names stand behind any of the prefixes", "[models][bert]") {
  for_each_checkpoint([&](auto const& fresh, auto) {
    CHECK(fresh()->load().empty());
    for (std::string outer : {"", "model.", "module.", "model.module."})
      for (std::string inner : {"", "bert."}) {
        auto const c = fresh();
        c->all = renamed(c->all, outer + inner, outer);
        CHECK(c->load().empty());
      }
  });
}

TEST_CASE("BERT checkpoints: what is written is what is read, with the extents of published files",
          "[models][bert]") {
  for_each_checkpoint([&](auto const& fresh, bert_mixing mixing) {
    auto const c = fresh();
    smx::safetensors_writer to;
    smx::write_bert(c->model, mixing, c->weights.read(), to);
    to.write(c->path());
    smx::safetensors_file const file(c->path());
    c->all.clear();
    for (std::string const& name : file.names()) c->all[name] = {file.at(name).shape, file.read<float>(name)};
    CHECK(c->load(true).empty());
    if (mixing != bert_mixing::m2) return;
    std::string const at = "bert.encoder.layer.0.attention.";
    CHECK(c->all.at(at + "filter_fn.pos_emb.z").shape == std::vector<index_t>{1, 12, 5});
    CHECK(c->all.at(at + "filter_fn.pos_emb.t").shape == std::vector<index_t>{1, 12, 1});
    CHECK(c->all.at(at + "filter_fn.modulation.deltas").shape == std::vector<index_t>{1, 1, 8});
    CHECK(c->all.at(at + "filter_fn.implicit_filter.1.freq").shape == std::vector<index_t>{1, 6});
    CHECK(c->all.at(at + "short_filter.weight").shape == std::vector<index_t>{24, 1, 3});
  });
}

TEST_CASE("BERT checkpoints: gamma and beta, position_ids and the head of sentence pairs are known",
          "[models][bert]") {
  for_each_checkpoint([&](auto const& fresh, auto) {
    auto const c = fresh();
    c->all = tensors_of(c->model, c->mixing, c->weights.read(), [](auto const& names) {
      bool const old = names.size() == 2 && (names[1].ends_with("gamma") || names[1].ends_with("beta"));
      return std::vector<std::string>{old ? names[1] : names[0]};
    });
    c->all["embeddings.position_ids"] = {{1, 12}, std::vector<float>(12)};
    c->all["cls.seq_relationship.weight"] = {{2, 8}, std::vector<float>(16)};
    c->all["cls.seq_relationship.bias"] = {{2}, std::vector<float>(2)};
    CHECK(c->load(true).empty());
  });
}

TEST_CASE("BERT checkpoints: the decoder may be left out, or be the table of words", "[models][bert]") {
  for_each_checkpoint([&](auto const& fresh, auto) {
    auto const c = fresh();
    c->all[decoder] = c->all[words];
    CHECK(c->load(true).empty());
    c->all[decoder].values[3] += 1;
    CHECK_THAT(c->message(), contains(decoder) && contains("tied"));
  });
}

TEST_CASE("M2 checkpoints: any one name of the shared frequency is enough; if there are more, they agree",
          "[models][bert]") {
  for_each_checkpoint([&](auto const& fresh, bert_mixing mixing) {
    if (mixing != bert_mixing::m2) return;
    for (std::size_t which = 0; which < 6; ++which) {
      auto const c = fresh();
      c->all = tensors_of(c->model, c->mixing, c->weights.read(), [&](auto const& names) {
        return std::vector<std::string>{names[0].ends_with(".freq") ? names.at(which) : names[0]};
      });
      CHECK(c->load(true).empty());
    }
    auto const c = fresh();
    c->all = tensors_of(c->model, c->mixing, c->weights.read(), [&](auto const& names) {
      return names[0].ends_with(".freq") ? names : std::vector<std::string>{names[0]};
    });
    CHECK(c->load(true).empty());
    std::string const name = "encoder.layer.1.attention.filter_fn2.implicit_filter_rev.3.freq";
    REQUIRE(c->all.contains(name));
    c->all[name].values[0] += 1;
    CHECK_THAT(c->message(), contains(name) && contains("same numbers"));
  });
}

TEST_CASE("BERT checkpoints: every missing tensor is named", "[models][bert]") {
  for_each_checkpoint([&](auto const& fresh, bert_mixing mixing) {
    auto const c = fresh();
    std::string const a = mixing == bert_mixing::m2 ? "encoder.layer.1.attention.filter_fn.pos_emb.t"
                                                    : "encoder.layer.1.attention.self.key.bias",
                      b = "cls.predictions.transform.LayerNorm.bias";
    REQUIRE(c->all.erase(a) == 1);
    REQUIRE(c->all.erase(b) == 1);
    CHECK_THAT(c->message(), contains("'" + a + "' is missing") && contains("'" + b + "' is missing"));
    auto const d = fresh();
    d->all.erase(words);
    CHECK_THAT(d->message(), contains(std::string("'") + words + "' is missing"));
  });
}

TEST_CASE("BERT checkpoints: a wrong shape is named with both shapes", "[models][bert]") {
  for_each_checkpoint([&](auto const& fresh, auto) {
    auto const c = fresh();
    std::string const name = "cls.predictions.transform.dense.weight";
    c->all[name] = {{8, 9}, std::vector<float>(72)};
    CHECK_THAT(c->message(), contains(name) && contains("(8, 8)") && contains("(8, 9)"));
  });
}

TEST_CASE("BERT checkpoints: weights in integers are refused", "[models][bert]") {
  for_each_checkpoint([&](auto const& fresh, auto) {
    auto const c = fresh();
    std::string const name = "cls.predictions.transform.dense.bias";
    c->all.erase(name);
    std::vector<std::int64_t> const ones(8, 1);
    c->more = [&](smx::safetensors_writer& file) {
      file.add(name, smx::view<std::int64_t const, 1, smx::host_space>(ones.data(), {8}));
    };
    CHECK_THAT(c->message(), contains(name + "': expected a floating-point type, got I64"));
  });
}

TEST_CASE("BERT checkpoints: unknown tensors are listed, and an error where that is asked",
          "[models][bert]") {
  for_each_checkpoint([&](auto const& fresh, auto) {
    auto const c = fresh();
    c->all["encoder.layer.0.adapter.weight"] = {{2}, {1, 2}};
    CHECK(c->load() == std::vector<std::string>{"encoder.layer.0.adapter.weight"});
    CHECK_THAT(c->message(true), contains("'encoder.layer.0.adapter.weight' is unknown"));
  });
}

TEST_CASE("BERT checkpoints: a config that contradicts the tensors is refused with both values",
          "[models][bert]") {
  for_each_checkpoint([&](auto const& fresh, bert_mixing mixing) {
    std::map<std::string, double> wrong{{"hidden_size", 16},
                                        {"vocab_size", 30},
                                        {"num_hidden_layers", 3},
                                        {"intermediate_size", 24},
                                        {"max_position_embeddings", 512},
                                        {"type_vocab_size", 1},
                                        {"num_labels", 7}};
    if (mixing == bert_mixing::m2)
      wrong.insert({{"long_conv_l_max", 128},
                    {"hyena_filter_order", 128},
                    {"hyena_emb_dim", 3},
                    {"monarch_mlp_nblocks", 2},
                    {"bidirectional", 0},
                    {"residual_long_conv", 0},
                    {"hyena_training_additions", 0},
                    {"use_glu_mlp", 0},
                    {"use_monarch_mlp", 0}});
    for (auto const& [name, value] : wrong) {
      auto const c = fresh();
      c->said[name] = value;
      INFO(name);
      CHECK_THAT(c->message(), contains(name + ": config says " + std::to_string(static_cast<int>(value))) &&
                                   contains("says ") && contains("tensor '"));
    }
    auto const padded = fresh();
    padded->said["vocab_size"] = 20;  // 24 is the next multiple of 8
    CHECK(padded->load().empty());
    if (mixing == bert_mixing::softmax) {
      auto const c = fresh();
      c->said["num_attention_heads"] = 3;
      CHECK_THAT(c->message(), contains("num_attention_heads"));
      c->said.clear();
      CHECK_THAT(c->message(), contains("num_attention_heads: no tensor says it"));
    }
  });
}

TEST_CASE("BERT checkpoints: a file that ends early is refused", "[models][bert]") {
  for_each_checkpoint([&](auto const& fresh, auto) {
    auto const c = fresh();
    write(c->path(), c->all);
    std::string const whole = read_file(c->path());
    for (std::size_t keep : {whole.size() - 1, whole.size() / 2, std::size_t{100}, std::size_t{0}}) {
      write_file(c->path(), std::string_view(whole).substr(0, keep));
      CHECK_THROWS_AS(smx::safetensors_file(c->path()), smx::file_error);
    }
  });
}

TEST_CASE("BERT checkpoints: what is no BERT model is said to be none", "[models][bert]") {
  for_each_checkpoint([&](auto const& fresh, auto) {
    auto const c = fresh();
    std::erase_if(c->all, [](auto const& one) { return one.first.starts_with("encoder."); });
    CHECK_THAT(c->message(),
               contains("attention.self.query.weight") && contains("attention.in_linear.weight"));
  });
}
