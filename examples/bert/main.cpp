// SPDX-License-Identifier: Apache-2.0
/// \file  smx-bert: BERT models with softmax attention or the Monarch Mixer, without Python.
///
///   smx-bert embed --model DIR [FILE...]        embeddings of lines, as JSON lines or .npy
///   smx-bert fill-mask --model DIR [FILE...]    the most likely tokens for [MASK]
///   smx-bert info --model DIR                   what a model holds, and what it costs
///   smx-bert train --text FILE... --out DIR     a masked language model, with either mixer
///
/// Exit status: 0; 1 when something failed; 2 wrong use.
#include <cstdio>
#include <map>

#include <CLI/CLI.hpp>
#include <examples/bert/embed.hpp>
#include <examples/bert/fill_mask.hpp>
#include <examples/bert/info.hpp>
#include <examples/bert/output.hpp>
#include <examples/bert/texts.hpp>
#include <examples/bert/train.hpp>
#include <examples/common/training/command_line.hpp>
#include <nlohmann/json.hpp>

namespace {

using namespace smx_examples;

struct command {
  std::string model, out, format = "json";
  std::vector<std::string> files;
  bool json_input = false, strict = false, tensors = false;
  int threads = 0;
  index_t batch = 1, length = 0, guesses = 5;
  embed_options embed;
};

any_bert load(smx::cpu& be, command const& c) {
  any_bert bert = load_bert(be, c.model, c.strict);
  if (!bert.unknown.empty() && !c.embed.quiet) {
    std::fprintf(stderr, "%s: %zu tensors that no part of the model is (--strict makes this an error):\n",
                 bert.folder.weights_file.c_str(), bert.unknown.size());
    for (std::string const& name : bert.unknown) std::fprintf(stderr, "  %s\n", name.c_str());
  }
  return bert;
}

void embed(command const& c) {
  smx::cpu be(c.threads);
  wordpiece_tokenizer const tokens = read_bert_tokenizer(c.model);
  any_bert bert = load(be, c);
  std::vector<std::string> const texts = read_lines(c.files, c.json_input);
  output_file out(c.out);
  bool const npy = c.format == "npy";
  if (npy) out.begin_npy(texts.size(), static_cast<std::size_t>(bert.config.channels));
  embed_texts(be, bert, tokens, texts, c.embed,
              [&](std::size_t text, auto ids, std::span<float const> embedding) {
                if (npy)
                  out.write(embedding.data(), embedding.size_bytes());
                else
                  out.write(embedding_line(texts[text], ids, embedding));
              });
  out.commit();
}

void fill_mask(command const& c) {
  smx::cpu be(c.threads);
  wordpiece_tokenizer const tokens = read_bert_tokenizer(c.model);
  any_bert bert = load(be, c);
  std::vector<std::string> const texts = read_lines(c.files, c.json_input);
  output_file out(c.out);
  progress said("texts", texts.size(), c.embed.quiet);
  for (std::string const& text : texts) {
    nlohmann::ordered_json line{{"text", text}, {"masks", nlohmann::json::array()}};
    for (filled_mask const& mask : fill_masks(be, bert, tokens, text, c.guesses)) {
      nlohmann::ordered_json one{{"place", mask.place}, {"guesses", nlohmann::json::array()}};
      for (mask_guess const& guess : mask.guesses)
        one["guesses"].push_back(
            {{"token", guess.token}, {"id", guess.id}, {"probability", guess.probability}});
      line["masks"].push_back(one);
    }
    out.write(line.dump() + "\n");
    said.done(1);
  }
  out.commit();
}

void add_model(CLI::App& app, command& c) {
  app.add_option("--model", c.model, "folder with config.json, model.safetensors and a tokenizer")
      ->required();
  add_threads(app, c.threads);
}
void add_texts(CLI::App& app, command& c) {
  add_model(app, c);
  app.add_option("files", c.files, "files with one text a line; none: standard input");
  app.add_flag("--json-input", c.json_input, "lines are JSON objects with a member \"text\"");
  app.add_option("--out", c.out, "output file; none: standard output");
  app.add_flag("--strict", c.strict, "refuse tensors that no part of the model is");
  app.add_flag("--quiet", c.embed.quiet, "no progress, no notes");
}

void add_train(CLI::App& app, train_options& o) {
  auto& t = o.training;
  app.add_option("--text", o.text, "files of text")->required();
  app.add_option("--mixer", o.mixer, "m2 or softmax")
      ->check(CLI::IsMember({"m2", "softmax"}))
      ->capture_default_str();
  app.add_option("--vocab", o.vocabulary, "vocab.txt or tokenizer.json; without: made from the texts");
  app.add_option("--vocab-size", o.vocabulary_size, "of a vocabulary that is made")->capture_default_str();
  app.add_option("--out", o.out, "folder for the model that the other commands read");
  app.add_option("--channels", o.channels, "channels")->capture_default_str();
  app.add_option("--depth", o.depth, "layers")->capture_default_str();
  app.add_option("--inner", o.inner, "channels inside of the MLPs; 0: 4 times the channels")
      ->capture_default_str();
  app.add_option("--heads", o.heads, "heads of softmax attention")->capture_default_str();
  app.add_option("--length", o.length, "tokens of a sequence")->capture_default_str();
  app.add_option("--batch", o.batch, "sequences a step")->capture_default_str();
  app.add_option("--masked", o.masked, "share of masked tokens; 0: 0.3 with m2, 0.15 with softmax")
      ->capture_default_str();
  app.add_option("--held-out", o.held_out, "share of each file, its end, that is not trained on")
      ->capture_default_str();
  add_threads(app, o.threads);
  add_training_options(app, t, o.plan, "Of weights, windows and masks");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("BERT models with softmax attention or the Monarch Mixer", "smx-bert");
  app.require_subcommand(1);
  command c;
  std::map<std::string, text_pooling> const poolings{
      {"mean", text_pooling::mean}, {"cls", text_pooling::first}, {"pooler", text_pooling::pooler}};
  std::string pooling;
  bool normalise = true;

  CLI::App* const embeds = app.add_subcommand("embed", "embeddings of texts");
  add_texts(*embeds, c);
  embeds->add_option("--format", c.format, "json (lines) or npy (texts,channels)")
      ->check(CLI::IsMember({"json", "npy"}));
  embeds
      ->add_option("--pooling", pooling,
                   "mean of the tokens, cls: the first one, pooler: its tanh layer; "
                   "default: pooler for M2 models that have one, else mean")
      ->check(CLI::IsMember({"mean", "cls", "pooler"}));
  CLI::Option* const normalises = embeds->add_flag("--normalise,--normalize,!--no-normalise,!--no-normalize",
                                                   normalise, "to length 1; default: not after the pooler");
  embeds->add_option("--max-tokens", c.embed.most_tokens,
                     "longer texts are cut off; default: what the model's "
                     "folder says, else 256; M2: their length");
  embeds->add_option("--length", c.embed.length, "M2 models: pad every text to this; default: the longest");
  embeds->add_option("--batch-tokens", c.embed.batch_tokens, "tokens of a batch, padding included");

  CLI::App* const fills = app.add_subcommand("fill-mask", "the most likely tokens for [MASK]");
  add_texts(*fills, c);
  fills->add_option("--top", c.guesses, "guesses for each mask")->check(at_least(1));

  CLI::App* const info = app.add_subcommand("info", "tensors, parameters, memory and flops");
  add_model(*info, c);
  info->add_option("--batch", c.batch, "sequences");
  info->add_option("--length", c.length, "tokens of each; default: the longest");
  info->add_flag("--tensors", c.tensors, "list the tensors");

  train_options training;
  training.training.minutes = 3;
  CLI::App* const trains = app.add_subcommand("train", "train a masked language model on text");
  add_train(*trains, training);

  return run_program(app, argc, argv, [&] {
    if (!pooling.empty()) c.embed.pooling = poolings.at(pooling);
    if (normalises->count() > 0) c.embed.normalise = normalise;
    settle_warmup(*trains, training.training);
    if (*embeds)
      embed(c);
    else if (*fills)
      fill_mask(c);
    else if (*trains)
      train_bert(training);
    else
      std::fputs(describe_bert(c.model, c.batch, c.length, c.threads, c.tensors).c_str(), stdout);
  });
}
