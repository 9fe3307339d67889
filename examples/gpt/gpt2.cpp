// SPDX-License-Identifier: Apache-2.0
#include <examples/gpt/gpt2.hpp>

#include <examples/common/text/json_fields.hpp>
#include <examples/gpt/runner.hpp>

namespace smx_examples {

namespace {

struct loaded_gpt2 {
  smx::gpt2<float> model;
  host_parameters<smx::gpt2<float>> weights;
};
loaded_gpt2 load(smx::cpu& be, program_options const& o, smx::gpt2_sizes const& s) {
  auto const m = smx::make_gpt2<float>(s);
  loaded_gpt2 loaded{m, host_parameters<smx::gpt2<float>>(be, m)};
  smx::safetensors_file const file(o.checkpoint + "/model.safetensors");
  for (auto const& name : smx::read_gpt2(file, m, loaded.weights))
    std::fprintf(stderr, "%s: tensor '%s' is not used\n", file.path().c_str(), name.c_str());
  return loaded;
}

}  // namespace

smx::gpt2_sizes read_gpt2_config(std::string const& file) {
  nlohmann::json const root = read_json(file);
  json_fields config(root, file);
  smx::gpt2_sizes s;
  auto const size = [&](char const* key, std::optional<long long> otherwise = std::nullopt) {
    long long const n = config.integer(key, otherwise);
    if (n < 1 && !otherwise) config.fail_expected(key, "a number of at least 1");
    return static_cast<index_t>(n);
  };
  s.vocabulary = size("vocab_size"), s.channels = size("n_embd"), s.heads = size("n_head");
  s.depth = size("n_layer"), s.positions = size("n_positions"), s.inner = size("n_inner", 0);
  s.tied = config.flag("tie_word_embeddings", true);
  s.scaled = config.flag("scale_attn_weights", true);
  if (config.has("layer_norm_epsilon")) {
    auto const& eps = config.at("layer_norm_epsilon");
    if (!eps.is_number()) config.fail_expected("layer_norm_epsilon", "a number");
    s.eps = eps.get<double>();
  }
  if (config.has("activation_function")) {
    std::string const name = config.text("activation_function");
    if (name != "gelu_new" && name != "gelu_pytorch_tanh")
      config.fail_expected("activation_function", "gelu_new or gelu_pytorch_tanh");
  }
  for (char const* key : {"add_cross_attention", "scale_attn_by_inverse_layer_idx"})
    if (config.flag(key, false)) config.fail_expected(key, "false");
  return s;
}

smx::gpt2_sizes take_gpt2(program_options& o) {
  smx::gpt2_sizes const s = read_gpt2_config(o.checkpoint + "/config.json");
  o.model.mixer = "gpt2";
  o.model.vocabulary = s.vocabulary, o.model.length = o.model.max_length = s.positions;
  if (o.tokenizer.empty()) o.tokenizer = o.checkpoint + "/tokenizer.json";
  return s;
}

void generate_gpt2(program_options const& o, smx::gpt2_sizes const& s, codec const& c) {
  smx::cpu be(o.threads);
  auto const loaded = load(be, o, s);
  detail::write_text(be, loaded.model, loaded.weights.read(), c, o);
}

void eval_gpt2(program_options const& o, smx::gpt2_sizes const& s, text_data const& data) {
  smx::cpu be(o.threads);
  auto const loaded = load(be, o, s);
  eval_model(be, o, loaded.model, loaded.weights.read(), data);
}

}  // namespace smx_examples
