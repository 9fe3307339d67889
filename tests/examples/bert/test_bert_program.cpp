// SPDX-License-Identifier: Apache-2.0
/// \file  The commands of smx-bert: training that learns, a folder that the others read, and each kind of bad
/// input.
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <thread>

#include <unistd.h>

#include <examples/bert/embed.hpp>
#include <examples/bert/fill_mask.hpp>
#include <examples/bert/info.hpp>
#include <examples/bert/output.hpp>
#include <examples/bert/texts.hpp>
#include <examples/bert/train.hpp>
#include <examples/common/training/training_log.hpp>

#include "tests/catch.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace smx_examples;
using test::contains;
using test::read_file;
using test::temporary_folder;
using test::write_file;

namespace {

/// Sentences with a rule: the animal decides what it does.
std::string sentences(int count) {
  char const* const rules[][2] = {{"dog", "barks"}, {"cat", "sleeps"}, {"bird", "sings"}, {"fish", "swims"}};
  std::string text;
  for (int i = 0; i < count; ++i) {
    auto const& rule = rules[(i * 7 + i / 5) % 4];
    text += std::string("the ") + rule[0] + " " + rule[1] + " .\n";
  }
  return text;
}

train_options small(temporary_folder const& folder, std::string const& mixer) {
  write_file(folder / "text.txt", sentences(800));
  train_options o;
  o.mixer = mixer;
  o.text = {folder / "text.txt"};
  o.vocabulary_size = 80;
  o.out = folder / "model";
  o.channels = 32, o.depth = 2, o.heads = 2, o.length = 24, o.batch = 8;
  o.masked = 0.15;
  o.threads = 2;
  o.training.steps = 150, o.training.rate = 5e-3, o.training.warmup = 10, o.training.decay = 0.01;
  o.training.log = folder / "log.jsonl";
  o.training.quiet = true;
  return o;
}

double last_held_out(std::string const& log) {
  auto const records = read_log(log);
  REQUIRE(!records.empty());
  return records.back().held_out.value_or(NAN);
}

void do_nothing(int) {}

}  // namespace

TEST_CASE("smx-bert: training learns, and its folder is read by the other commands", "[bert]") {
  for (std::string const mixer : {"m2", "softmax"}) {
    temporary_folder const folder;
    train_options o = small(folder, mixer);
    if (mixer == "softmax") o.training.steps = 400, o.training.rate = 2e-3;
    train_bert(o);
    INFO(mixer);
    // a guess by the words' frequencies costs 2.08 nats, one without any knowledge ln 24 = 3.2
    CHECK(last_held_out(o.training.log) < (mixer == "m2" ? 1.5 : 1.97));

    smx::cpu be(1);
    any_bert bert = load_bert(be, o.out, true);
    CHECK(bert.unknown.empty());
    CHECK(bert.monarch() == (mixer == "m2"));
    wordpiece_tokenizer const tokens = read_bert_tokenizer(o.out);
    auto const masks =
        fill_masks(be, bert, tokens,
                   "the dog barks . the cat [MASK] . the bird sings . the fish swims . the cat "
                   "sleeps . the",
                   3);
    REQUIRE(masks.size() == 1);
    CHECK(masks[0].place == 7);
    REQUIRE(masks[0].guesses.size() == 3);
    CHECK(masks[0].guesses[0].probability >= masks[0].guesses[1].probability);
    CHECK(masks[0].guesses[0].token == tokens.tokens().token(masks[0].guesses[0].id));

    std::vector<std::string> const texts{"the dog barks .", "", "the fish swims . the fish swims ."};
    std::vector<std::vector<float>> rows;
    embed_texts(be, bert, tokens, texts, {}, [&](std::size_t n, auto ids, std::span<float const> v) {
      CHECK(n == rows.size());
      CHECK(ids.front() == tokens.tokens().at("[CLS]"));
      rows.emplace_back(v.begin(), v.end());
      double norm = 0;
      for (float const x : v) norm += static_cast<double>(x) * static_cast<double>(x);
      CHECK(std::abs(norm - 1) < 1e-5);
    });
    CHECK(rows.size() == 3);
    // alone or in a batch, a text has one embedding
    embed_texts(be, bert, tokens, {texts[2]}, {}, [&](std::size_t, auto, std::span<float const> v) {
      for (std::size_t i = 0; i < v.size(); ++i) CHECK(std::abs(v[i] - rows[2][i]) < 1e-5f);
    });

    if (mixer == "m2") {  // padded to a length that is asked for, which cuts longer texts
      embed_options at;
      at.length = 8;
      embed_texts(be, bert, tokens, texts, at, [&](std::size_t, auto ids, auto) { CHECK(ids.size() <= 8); });
      at.length = 25;
      CHECK_THROWS_WITH(
          embed_texts(be, bert, tokens, texts, at, [](std::size_t, auto, auto) {}),
          contains("length: expected 24 (max-tokens) to the 24 positions of the model, got 25"));
    }
    std::string const about = describe_bert(o.out, 1, 0, 2, true);
    CHECK_THAT(about, contains("masked-LM head") && contains("GFLOP") && contains("up to 24 tokens") &&
                          contains("bert.embeddings.word_embeddings.weight"));
  }
}

TEST_CASE("smx-bert: a run that is interrupted and resumed is the uninterrupted one", "[bert]") {
  temporary_folder const folder;
  train_options o = small(folder, "m2");
  o.training.log.clear();
  o.training.steps = 12, o.training.save_every = 1, o.training.warmup = 4;
  train_bert(o);
  std::string const whole = read_file(folder / "model/model.safetensors");
  std::filesystem::remove_all(o.out);

  o.training.checkpoint = folder / "run";
  auto const before = std::signal(SIGINT, do_nothing);  // should the run be over before the signal comes
  {
    std::atomic<bool> over = false;
    std::thread interrupter([&] {
      while (!over && !std::filesystem::exists(folder / "run"))
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      ::kill(::getpid(), SIGINT);
    });
    train_bert(o);
    over = true;
    interrupter.join();
  }
  std::signal(SIGINT, before);
  o.training.resume = true;
  train_options other = o;
  other.channels = 48;
  CHECK_THROWS_WITH(train_bert(other), contains("hidden_size"));
  train_bert(o);
  CHECK(read_file(folder / "model/model.safetensors") == whole);
}

TEST_CASE("smx-bert train: texts and options that cannot be learned from are refused", "[bert]") {
  temporary_folder const folder;
  train_options const good = small(folder, "m2");
  auto const with = [&](auto const& change) {
    train_options o = good;
    change(o);
    train_bert(o);
  };
  std::string const empty = folder / "empty", latin = folder / "latin", brief = folder / "brief";
  write_file(empty, "");
  write_file(latin, "caf\xe9");
  write_file(brief, "the dog");
  CHECK_THROWS_WITH(with([&](auto& o) { o.text = {folder / "none"}; }), contains("no such file"));
  CHECK_THROWS_WITH(with([&](auto& o) { o.text = {folder / "."}; }), contains("directory"));
  CHECK_THROWS_WITH(with([&](auto& o) { o.text = {empty}; }), contains("empty"));
  CHECK_THROWS_WITH(with([&](auto& o) { o.text = {latin}; }), contains("UTF-8"));
  CHECK_THROWS_WITH(with([&](auto& o) { o.text = {brief}; }), contains("at least one sequence"));
  CHECK_THROWS_WITH(with([&](auto& o) { o.mixer = "rnn"; }), contains("m2, softmax"));
  CHECK_THROWS_WITH(with([&](auto& o) { o.vocabulary_size = 10; }), contains("vocabulary size"));
  CHECK_THROWS_WITH(with([&](auto& o) { o.vocabulary = folder / "none.txt"; }), contains("none.txt"));
  CHECK_THROWS_WITH(with([&](auto& o) { o.length = 2; }), contains("length"));
  CHECK_THROWS_WITH(with([&](auto& o) { o.batch = 0; }), contains("batch"));
  CHECK_THROWS_WITH(with([&](auto& o) { o.held_out = 1; }), contains("held-out"));
  CHECK_THROWS_WITH(with([&](auto& o) { o.masked = -0.5; }), contains("masked") && contains("got -0.5"));
  CHECK_THROWS_WITH(with([&](auto& o) { o.out = folder / "text.txt/model"; }), contains("text.txt/model"));
  CHECK(!std::filesystem::exists(good.training.log));  // no step was taken
}

TEST_CASE("smx-bert: folders and texts that are wrong are refused by name", "[bert]") {
  temporary_folder const folder;
  smx::cpu be(1);
  train_options o = small(folder, "softmax");
  o.training.steps = 1, o.training.warmup = 1;
  train_bert(o);
  std::string const model = o.out;
  CHECK_THROWS_WITH(load_bert(be, folder / "none", false), contains("no such folder"));
  CHECK_THROWS_WITH(load_bert(be, folder / "text.txt", false), contains("got a file"));
  std::string const bare = folder / "bare";
  std::filesystem::create_directory(bare);
  CHECK_THROWS_WITH(load_bert(be, bare, false), contains("model.safetensors"));
  CHECK_THROWS_WITH(read_bert_tokenizer(bare), contains("vocab.txt"));
  CHECK_THROWS_WITH(read_bert_tokenizer(folder / "none"), contains("no such folder"));
  write_file(bare + "/pytorch_model.bin", "PK");
  CHECK_THROWS_WITH(load_bert(be, bare, false), contains("pickle"));

  std::string const config = read_file(model + "/config.json");
  auto const with = [&](char const* key, nlohmann::json const& value) {
    auto changed = nlohmann::json::parse(config);
    changed[key] = value;
    write_file(model + "/config.json", changed.dump());
    load_bert(be, model, false);
  };
  CHECK_THROWS_WITH(with("hidden_act", "relu"), contains("hidden_act") && contains("relu"));
  CHECK_THROWS_WITH(with("position_embedding_type", "relative_key"), contains("position_embedding_type"));
  CHECK_THROWS_WITH(with("hidden_size", 48), contains("config says 48") && contains("says 32"));
  write_file(model + "/config.json", "{");
  CHECK_THROWS_WITH(load_bert(be, model, false), contains("config.json"));
  write_file(model + "/config.json", config);

  any_bert bert = load_bert(be, model, true);
  wordpiece_tokenizer const tokens = read_bert_tokenizer(model);
  auto const embed = [&](embed_options const& how) {
    embed_texts(be, bert, tokens, {"the dog"}, how, [](std::size_t, auto, auto) {});
  };
  embed_options how;
  how.most_tokens = 25;
  CHECK_THROWS_WITH(embed(how), contains("positions of the model"));
  how = {};
  how.length = 24;
  CHECK_THROWS_WITH(embed(how), contains("masks its padding"));
  how = {};
  how.pooling = text_pooling::pooler;
  CHECK_THROWS_WITH(embed(how), contains("no pooler"));
  CHECK_THROWS_WITH(fill_masks(be, bert, tokens, "the dog", 1), contains("[MASK]"));

  CHECK_THROWS_WITH(read_lines({folder / "none"}, false), contains("no such file"));
  CHECK_THROWS_WITH(read_lines({bare}, false), contains("directory"));
  write_file(folder / "lines", "");
  CHECK_THROWS_WITH(read_lines({folder / "lines"}, false), contains("empty"));
  write_file(folder / "lines", "fine\ncaf\xe9\n");
  CHECK_THROWS_WITH(read_lines({folder / "lines"}, false), contains("line 2") && contains("UTF-8"));
  write_file(folder / "lines", "{\"text\": \"a\\nb\"}\n{\"txt\": 1}\n");
  CHECK_THROWS_WITH(read_lines({folder / "lines"}, true), contains("line 2") && contains("text"));
  write_file(folder / "lines", "{\"text\": \"a\\nb\"}\n");
  CHECK(read_lines({folder / "lines"}, true) == std::vector<std::string>{"a\nb"});
}

TEST_CASE("smx-bert: .npy files are what numpy reads", "[bert]") {
  temporary_folder const folder;
  std::string const path = folder / "x.npy";
  float const values[] = {1, 2, 3, 4, 5, 6};
  output_file to(path);
  to.begin_npy(2, 3);
  to.write(values, sizeof values);
  to.commit();
  std::string const bytes = read_file(path);
  std::size_t const data = bytes.size() - sizeof values;
  CHECK(data % 64 == 0);
  CHECK(bytes.substr(0, 8) == std::string("\x93NUMPY\x01\0", 8));
  CHECK(static_cast<std::size_t>(static_cast<unsigned char>(bytes[8])) + 10 == data);
  CHECK_THAT(bytes.substr(10, data - 10),
             contains("'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"));
  CHECK(bytes[data - 1] == '\n');
  CHECK(std::memcmp(bytes.data() + data, values, sizeof values) == 0);
}
