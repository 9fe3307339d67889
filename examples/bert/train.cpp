// SPDX-License-Identifier: Apache-2.0
#include <examples/bert/train.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>

#include <examples/bert/loaded.hpp>
#include <examples/bert/masked_task.hpp>
#include <examples/bert/word_list.hpp>
#include <examples/common/text/unicode.hpp>
#include <examples/common/training/loop.hpp>

namespace smx_examples {
namespace {

namespace fs = std::filesystem;

struct data {
  std::vector<std::string> train_texts, held_texts;
  std::vector<std::string> words;  ///< of a vocabulary that was made
  std::vector<index_t> train, held_out;
  nlohmann::json about;
};

std::string read_file(std::string const& path) {
  std::error_code code;
  if (fs::is_directory(path, code)) throw smx::file_error(path, "expected a file of text, got a directory");
  std::ifstream from(path, std::ios::binary);
  if (!from) throw smx::file_error(path, "no such file, or no right to read it");
  std::string text{std::istreambuf_iterator<char>(from), {}};
  if (from.bad()) throw smx::file_error(path, "cannot be read");
  if (text.empty()) throw smx::file_error(path, "expected text; it is empty");
  if (std::size_t const at = find_invalid_utf8(text); at != std::string::npos)
    throw smx::file_error(path, "expected UTF-8; byte " + std::to_string(at) + " is not");
  return text;
}

/// The texts, their ends held out, cut where a character begins.
data read_data(train_options const& o) {
  smx::expects(!o.text.empty(), "text: expected at least one file");
  expects_number(o.held_out > 0 && o.held_out < 1, "held-out", "a share between 0 and 1", o.held_out);
  data d;
  std::uint64_t sum = 14695981039346656037u;  // FNV-1a
  for (std::string const& path : o.text) {
    std::string text = read_file(path);
    for (char const c : text) sum = (sum ^ static_cast<unsigned char>(c)) * 1099511628211u;
    auto cut = static_cast<std::size_t>(static_cast<double>(text.size()) * (1 - o.held_out));
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xc0u) == 0x80u) --cut;
    d.held_texts.push_back(text.substr(cut));
    text.resize(cut);
    d.train_texts.push_back(std::move(text));
  }
  d.about = {{"files", o.text}, {"checksum", sum}, {"held_out", o.held_out}};
  return d;
}

/// The tokenizer of the options, or one of the words of the texts.
wordpiece_tokenizer make_tokenizer(train_options const& o, data& d) {
  if (!o.vocabulary.empty())
    return o.vocabulary.ends_with(".json") ? wordpiece_tokenizer::from_tokenizer_json(o.vocabulary)
                                           : wordpiece_tokenizer::from_vocabulary_file(o.vocabulary);
  std::vector<std::string> all = d.train_texts;
  all.insert(all.end(), d.held_texts.begin(), d.held_texts.end());
  d.words = make_word_list(all, o.vocabulary_size);
  std::string const file =
      (fs::temp_directory_path() / ("smx-bert-" + std::to_string(::getpid()) + ".txt")).string();
  {
    std::ofstream to(file, std::ios::binary);
    for (std::string const& word : d.words) to << word << '\n';
    if (!to.flush()) throw smx::file_error(file, "cannot be written");
  }
  wordpiece_tokenizer tokens = wordpiece_tokenizer::from_vocabulary_file(file);
  fs::remove(file);
  return tokens;
}

std::vector<index_t> encode(wordpiece_tokenizer const& tokens, std::vector<std::string> const& texts) {
  std::vector<index_t> all;
  for (std::string const& text : texts)
    for (index_t const id : tokens.encode(text, wordpiece_tokenizer::no_limit, special_tokens::without))
      all.push_back(id);
  return all;
}

smx::bert_config config_of(train_options const& o, index_t vocabulary) {
  smx::bert_config c;
  bool const m2 = o.mixer == "m2";
  c.mixing = m2 ? smx::bert_mixing::m2 : smx::bert_mixing::softmax;
  c.vocabulary = (vocabulary + 7) / 8 * 8;
  c.channels = o.channels, c.positions = o.length, c.types = 2, c.depth = o.depth, c.heads = m2 ? 0 : o.heads;
  c.intermediate = o.inner == 0 ? 4 * o.channels : o.inner;
  c.head = true, c.gated = m2;
  if (m2) {
    c.blocks = 4, c.max_length = o.length, c.width = 64, c.features = 5, c.hidden = 2;
    c.bidirectional = c.residual = true;
  }
  return c;
}

/// config.json under the names that both kinds of published folders use.
nlohmann::ordered_json config_json(smx::bert_config const& c) {
  nlohmann::ordered_json j{{"model_type", "bert"},
                           {"hidden_act", "gelu"},
                           {"vocab_size", c.vocabulary},
                           {"hidden_size", c.channels},
                           {"num_hidden_layers", c.depth},
                           {"intermediate_size", c.intermediate},
                           {"max_position_embeddings", c.positions},
                           {"type_vocab_size", c.types},
                           {"layer_norm_eps", c.eps},
                           {"pad_token_id", 0}};
  if (c.mixing == smx::bert_mixing::softmax) {
    j["num_attention_heads"] = c.heads;
    return j;
  }
  j["monarch_mixer_sequence_mixing"] = true;
  j["long_conv_l_max"] = c.max_length;
  j["hyena_filter_order"] = c.width;
  j["hyena_emb_dim"] = c.features;
  j["hyena_w_mod"] = c.modulation;
  j["bidirectional"] = c.bidirectional;
  j["residual_long_conv"] = c.residual;
  j["hyena_training_additions"] = c.input_norm;
  j["use_glu_mlp"] = c.gated;
  j["use_monarch_mlp"] = true;
  j["monarch_mlp_nblocks"] = c.blocks;
  return j;
}

void write_text(fs::path const& path, std::string const& text) {
  smx::detail::replacement_file to(path.string());
  to.write(text.data(), text.size());
  to.commit();
}

/// The folder of --out, made before the training that it is to keep.
void make_folder(std::string const& path) {
  std::error_code code;
  fs::create_directories(path, code);
  if (code) throw smx::file_error(path, "the folder cannot be made: " + code.message());
  smx::detail::replacement_file const may_be_written((fs::path(path) / "model.safetensors").string());
}

/// Fills a folder that embed, fill-mask and info read.
template <class Block, class W>
void write_folder(train_options const& o, smx::bert_config const& c, data const& d, smx::bert<Block> const& m,
                  W const& w) {
  fs::path const folder = o.out;
  smx::safetensors_writer file;
  smx::write_bert(m, c.mixing, w, file);
  file.write((folder / "model.safetensors").string());
  write_text(folder / "config.json", config_json(c).dump(2) + "\n");
  if (o.vocabulary.empty()) {
    std::string words;
    for (std::string const& word : d.words) words += word + "\n";
    write_text(folder / "vocab.txt", words);
  } else {
    write_text(folder / (o.vocabulary.ends_with(".json") ? "tokenizer.json" : "vocab.txt"),
               read_file(o.vocabulary));
  }
  if (!o.training.quiet)
    std::fprintf(stderr, "%s: config.json, model.safetensors and the vocabulary\n", o.out.c_str());
}

template <class Block>
void train_block(train_options const& o, smx::bert_config const& c, wordpiece_tokenizer const& tokens,
                 data const& d) {
  smx::cpu be(o.threads);
  auto const model = smx::make_bert<Block>(c);
  double const masked = o.masked > 0 ? o.masked : o.mixer == "m2" ? 0.3 : 0.15;
  special_ids const special{tokens.tokens().at("[CLS]"), tokens.tokens().at("[SEP]"), *tokens.mask()};
  masked_task<Block> task(model, d.train, d.held_out, special, o.length, o.batch, masked, o.training.seed);
  training_options t = o.training;
  t.title = "smx-bert train, " + o.mixer;
  t.config = {
      {"model", config_json(c)},
      {"data", d.about},
      {"vocabulary", o.vocabulary.empty() ? nlohmann::json(o.vocabulary_size) : nlohmann::json(o.vocabulary)},
      {"batch", o.batch},
      {"masked", masked}};
  check_training_options(t);
  training_plan const plan = plan_training(be, model, task);
  std::string const text = print_plan(plan, t, o.mixer, be.threads());
  if (o.plan) {
    std::fputs(text.c_str(), stdout);
    expects_memory(t.title, plan.memory(!t.checkpoint.empty()));
    return;
  }
  if (!t.quiet) std::fputs(text.c_str(), stderr);
  if (!o.out.empty()) make_folder(o.out);
  auto const result = train(be, model, task, t, plan, [&](auto& w) {
    w = smx::initialize(be, model, t.seed);
    model.fill_tables(be, w.write());
    be.synchronize();
  });
  if (!result.interrupted.empty()) return;
  double const loss = result.held_out ? *result.held_out : task.held_out(be, result.weights.read());
  std::printf("held out: %.4f nats per masked token after %lld steps, %s\n", loss,
              static_cast<long long>(result.step), print_seconds(result.seconds).c_str());
  if (!o.out.empty()) write_folder(o, c, d, model, result.weights.read());
}

}  // namespace

void train_bert(train_options const& o) {
  smx::expects(o.mixer == "m2" || o.mixer == "softmax", "mixer: expected one of m2, softmax");
  smx::expects_value(o.length >= 3, "length", "at least 3", o.length);
  smx::expects_value(o.batch >= 1, "batch", "at least 1", o.batch);
  expects_number(o.masked >= 0 && o.masked < 1, "masked", "a share between 0 and 1, or 0: that of the mixer",
                 o.masked);
  data d = read_data(o);
  wordpiece_tokenizer const tokens = make_tokenizer(o, d);
  smx::expects(tokens.mask().has_value(), "vocabulary: expected one with [MASK]");
  d.train = encode(tokens, d.train_texts);
  d.held_out = encode(tokens, d.held_texts);
  smx::expects_value(static_cast<index_t>(d.train.size()) >= o.length - 2, "text",
                     "tokens for at least one sequence to train on; tokens",
                     static_cast<index_t>(d.train.size()));
  smx::expects_value(static_cast<index_t>(d.held_out.size()) >= o.length - 2, "text",
                     "tokens for at least one sequence that is held out; tokens",
                     static_cast<index_t>(d.held_out.size()));
  smx::bert_config const c = config_of(o, tokens.vocabulary_size());
  if (o.mixer == "m2")
    train_block<monarch_block>(o, c, tokens, d);
  else
    train_block<attention_block>(o, c, tokens, d);
}

}  // namespace smx_examples
