// SPDX-License-Identifier: Apache-2.0
/// \file  smx-gpt: trains language models around the sequence mixers of smx, and writes with them.
#include <filesystem>

#include <CLI/CLI.hpp>

#include <examples/common/training/command_line.hpp>
#include <examples/gpt/gpt2.hpp>
#include <examples/gpt/runner.hpp>

namespace {

using namespace smx_examples;

mixer_program find_mixer(std::string const& name) {
  std::string known;
  for (auto const& one : all_mixers()) {
    if (name == one.name) return one;
    known += (known.empty() ? "" : ", ") + std::string(one.name);
  }
  throw smx::precondition_error("mixer: expected one of " + known + ", got '" + name + "'");
}

void add_common(CLI::App& app, program_options& o) {
  add_threads(app, o.threads);
  app.add_option("--tokenizer", o.tokenizer, "tokenizer.json with byte pairs; without it, tokens are bytes");
}
void add_writing(CLI::App& app, program_options& o) {
  app.add_option("--prompt", o.prompt, "What the text begins with")->capture_default_str();
  app.add_option("--tokens", o.tokens, "Tokens to write")->capture_default_str();
  app.add_option("--temperature", o.temperature, "0: always the most likely token")->capture_default_str();
  app.add_option("--top-k", o.top_k, "Only the k most likely tokens; 0: all")->capture_default_str();
  app.add_option("--top-p", o.top_p, "Only the most likely tokens that have this share")
      ->capture_default_str();
}

void add_train(CLI::App& app, program_options& o) {
  auto& m = o.model;
  auto& t = o.training;
  app.add_option("--text", o.text, "Files of text; without: the licence texts that Debian has");
  app.add_option("--held-out", o.held_out, "Share of each file, its end, that is not trained on")
      ->capture_default_str();
  std::vector<std::string> names;
  for (auto const& one : all_mixers()) names.push_back(one.name);
  app.add_option("--mixer", m.mixer, "Sequence mixer")->check(CLI::IsMember(names))->capture_default_str();
  app.add_option("--channels", m.channels, "Channels of the model")->capture_default_str();
  app.add_option("--depth", m.depth, "Blocks")->capture_default_str();
  app.add_option("--inner", m.inner, "Channels inside of the MLPs; 0: 4 times those of the model")
      ->capture_default_str();
  app.add_option("--length", m.length, "Tokens of a sequence in training")->capture_default_str();
  app.add_option("--max-length", m.max_length, "Positions that the model has; 0: the length")
      ->capture_default_str();
  app.add_option("--heads", m.heads, "Heads: attention, ssd")->capture_default_str();
  app.add_option("--state", m.state, "Size of the state: ssd")->capture_default_str();
  app.add_flag("--residual-convolution", m.residual, "m2: a second long convolution, of the input itself");
  app.add_flag("!--no-positions", m.positions, "attention: without a table of positions");
  app.add_option("--batch", o.batch, "Sequences a step")->capture_default_str();
  add_training_options(app, t, o.plan, "Of the weights and of the order of the data");
}

/// The model's config from the checkpoint; tokenizer and texts from there too, unless given. Only eval reads
/// the texts.
void take_config(program_options& o, bool evaluates) {
  auto const run = tensor_reader(o.checkpoint).run();
  auto const part = [&](char const* name) -> nlohmann::json const& {
    auto const it = run.config.find(name);
    if (it == run.config.end())
      throw smx::file_error(
          o.checkpoint, std::string("config: '") + name + "' is missing; expected a checkpoint of smx-gpt");
    return *it;
  };
  auto const expect_file = [&](std::string const& file, char const* option) {
    std::error_code code;
    if (!file.empty() && !std::filesystem::exists(file, code))
      throw smx::file_error(
          o.checkpoint, "was trained with " + file + ", which is not there now; say where with " + option);
  };
  o.model = read_model_config(part("model"), o.checkpoint);
  if (o.tokenizer.empty()) expect_file(o.tokenizer = part("tokenizer").get<std::string>(), "--tokenizer");
  if (o.text.empty()) {
    o.text = part("data").at("files").get<std::vector<std::string>>();
    if (evaluates)
      for (std::string const& file : o.text) expect_file(file, "--text");
    o.held_out = part("data").at("held_out").get<double>();
  } else {
    o.held_out = 0;
  }
}

void expects_vocabulary(program_options const& o, codec const& c) {
  smx::expects_value(c.vocabulary() <= o.model.vocabulary, "tokenizer",
                     "no more tokens than the model has; tokens", c.vocabulary());
}

/// What a model is to write with: asked before it is trained or read.
void check_writing(program_options const& o, codec const& c) {
  check_sampling({o.temperature, o.top_k, o.top_p});
  smx::expects_value(o.tokens >= 1, "tokens", "at least 1", o.tokens);
  smx::expects(!c.encode(o.prompt, "prompt").empty(), "prompt: expected at least one token, got none");
}

void train(program_options& o) {
  if (o.text.empty()) o.text = default_texts();
  if (o.model.max_length == 0) o.model.max_length = o.model.length;
  smx::expects_value(o.model.length >= 1, "length", "at least 1", o.model.length);
  smx::expects_value(o.model.max_length >= o.model.length, "max-length", "at least the length",
                     o.model.max_length);
  codec const c(o.tokenizer);
  o.model.vocabulary = c.vocabulary();
  check_writing(o, c);
  find_mixer(o.model.mixer).train(o, c, read_texts(o.text, o.held_out, c));
}
bool is_folder(program_options const& o) {
  std::error_code none;
  return std::filesystem::is_directory(o.checkpoint, none);
}
void generate(program_options& o) {
  if (is_folder(o)) {
    auto const sizes = take_gpt2(o);
    codec const c(o.tokenizer);
    expects_vocabulary(o, c);
    check_writing(o, c);
    return generate_gpt2(o, sizes, c);
  }
  take_config(o, false);
  codec const c(o.tokenizer);
  expects_vocabulary(o, c);
  check_writing(o, c);
  find_mixer(o.model.mixer).generate(o, c);
}
void eval(program_options& o) {
  smx::gpt2_sizes sizes;
  bool const folder = is_folder(o);
  if (folder) {
    smx::expects(!o.text.empty(), "text: expected the files to evaluate a GPT-2 on, got none");
    sizes = take_gpt2(o);
    o.held_out = 0;
  } else {
    take_config(o, true);
  }
  codec const c(o.tokenizer);
  expects_vocabulary(o, c);
  text_data data = read_texts(o.text, o.held_out, c);
  if (o.held_out == 0) data.held_out = data.train, data.held_out_bytes = data.train_bytes;
  if (folder) return eval_gpt2(o, sizes, data);
  find_mixer(o.model.mixer).eval(o, c, data);
}

}  // namespace

int main(int argc, char** argv) {
  program_options o;
  o.training.rate = 3e-3, o.training.minutes = 3;
  CLI::App app("Language models around the sequence mixers of smx", "smx-gpt");
  app.require_subcommand(1);
  auto& to_train = *app.add_subcommand("train", "Train a model on text, then let it write");
  auto& to_write = *app.add_subcommand("generate", "Write with a trained model, token by token");
  auto& to_eval = *app.add_subcommand("eval", "Bits per byte on text that was held out, or on other text");
  for (auto* one : {&to_train, &to_write, &to_eval}) add_common(*one, o);
  add_train(to_train, o);
  add_writing(to_train, o);
  add_writing(to_write, o);
  to_write.add_option("--model", o.checkpoint, "Checkpoint of smx-gpt train, or a folder with a GPT-2")
      ->required();
  to_write.add_option("--seed", o.seed, "Of the choice of tokens")->capture_default_str();
  to_write.add_flag("--plain", o.plain, "The text alone, without times");
  to_eval.add_option("--model", o.checkpoint, "Checkpoint of smx-gpt train, or a folder with a GPT-2")
      ->required();
  to_eval.add_option("--text", o.text, "Files of text; without: what training held out");
  to_eval.add_option("--length", o.lengths,
                     "Lengths of the windows; without: the trained one and longer ones");
  return run_program(app, argc, argv, [&] {
    settle_warmup(to_train, o.training);
    if (to_train.parsed()) train(o);
    if (to_write.parsed()) generate(o);
    if (to_eval.parsed()) eval(o);
  });
}
