// SPDX-License-Identifier: Apache-2.0
/// \file  The program itself: it trains every mixer in seconds below a bound that no model without a working
/// mixer reaches, is killed and goes on, writes, evaluates, and says what is wrong.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <smx/core/rng.hpp>
#include <smx/io/safetensors.hpp>
#include <tests/catch.hpp>
#include <tests/io/temporary_folder.hpp>

namespace {

struct outcome {
  int status = -1;
  std::string out;  ///< stdout and stderr
};
outcome run(std::string const& arguments) {
  outcome o;
  FILE* const pipe = ::popen((std::string(SMX_GPT) + " " + arguments + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  char part[4096];
  for (std::size_t n; (n = std::fread(part, 1, sizeof part, pipe)) > 0;) o.out.append(part, n);
  int const status = ::pclose(pipe);
  o.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return o;
}

/// Letters a to d; each is that of six places before with probability 0.9, else any: neither the letter
/// itself nor the four before it, which is what short convolutions see, say anything about the next one. A
/// model that sees no further needs 2 bits a byte; knowing the rule, 0.50 bits are left: 0.925 of the time it
/// is the old letter, 0.025 each of the others.
std::string hidden_text(std::size_t size) {
  std::string text;
  smx::random_stream const from{11, 0};
  for (std::size_t i = 0; i < size; ++i) {
    bool const copies = i >= 6 && from.uniform(2 * i) < 0.9;
    text += copies ? text[i - 6] : static_cast<char>('a' + static_cast<int>(4 * from.uniform(2 * i + 1)));
  }
  return text;
}
double held_out(std::string const& out) {
  auto const at = out.find("held out: ");
  REQUIRE(at != std::string::npos);
  return std::stod(out.substr(at + 10));
}
std::string const one_block = " --channels 32 --depth 1 --inner 64 --threads 1 ",
                  tiny = one_block + "--length 24 --batch 16 ";

}  // namespace

TEST_CASE("every mixer learns what only a mixer can", "[program]") {
  test::temporary_folder folder;
  test::write_file(folder / "text", hidden_text(30000));
  // the fewest steps that get well below the bound
  for (std::string const mixer : {"m2 --length 24 --batch 8 --rate 0.003 --steps 600",
                                  "causal-monarch --length 16 --batch 8 --rate 0.006 --steps 300",
                                  "attention --length 24 --batch 8 --rate 0.006 --steps 400",
                                  "ssd --length 16 --batch 8 --rate 0.004 --steps 1000"}) {
    INFO(mixer);
    auto const o =
        run("train --text " + (folder / "text") + one_block + "--tokens 30 --quiet --mixer " + mixer);
    INFO(o.out);
    REQUIRE(o.status == 0);
    CHECK(held_out(o.out) < 1.5);
    CHECK(held_out(o.out) > 0.5);
  }
}

TEST_CASE("a run that is killed goes on to the same bits; its checkpoint writes and is evaluated",
          "[program]") {
  test::temporary_folder folder;
  test::write_file(folder / "text", hidden_text(5000));
  std::string const common = "train --text " + (folder / "text") + tiny +
                             "--steps 60 --save-every 7 --quiet --tokens 5 --max-length 48";
  auto const whole = run(common + " --checkpoint " + (folder / "whole"));
  REQUIRE(whole.status == 0);

  std::string const path = folder / "killed", log = folder / "log";
  ::pid_t const child = ::fork();
  if (child == 0) {
    std::string const command = std::string("exec ") + SMX_GPT + " " + common + " --checkpoint " + path +
                                " --log " + log + " > " + (folder / "out");
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
  for (int i = 0; i < 2000 && !std::filesystem::exists(path); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(std::filesystem::exists(path));
  auto const rest = run(common + " --checkpoint " + path + " --log " + log + " --resume");
  INFO(rest.out);
  REQUIRE(rest.status == 0);
  CHECK(held_out(rest.out) == held_out(whole.out));
  smx::safetensors_file const a(folder / "whole"), b(path);
  REQUIRE(a.names() == b.names());
  for (std::string const& name : a.names())
    if (name != "state.milliseconds") {
      INFO(name);
      CHECK((a.read<double>(name) == b.read<double>(name)));
    }

  auto const other = run(common + " --checkpoint " + path + " --resume --rate 0.1");
  CHECK(other.status == 1);
  CHECK_THAT(other.out, test::contains("training.rate: 0.003 in the checkpoint, 0.1 now"));

  auto const text = run("generate --model " + path + " --prompt abcdab --tokens 100 --seed 4 --plain");
  CHECK(text.status == 0);
  CHECK(text.out.size() == 6 + 100 + 1);
  CHECK(run("generate --model " + path + " --prompt abcdab --tokens 100 --seed 4 --plain --threads 2").out ==
        text.out);
  CHECK(run("generate --model " + path + " --prompt abcdab --tokens 100 --seed 5 --plain").out != text.out);
  auto const bits = run("eval --model " + path);
  CHECK(bits.status == 0);
  CHECK_THAT(bits.out, test::contains("length 24: "));
  CHECK_THAT(bits.out, test::contains("length 48: "));
  auto const far = run("eval --model " + path + " --length 49");
  CHECK(far.status == 1);
  CHECK_THAT(far.out, test::contains("positions that the model has, got 49"));
}

TEST_CASE("SIGINT saves and says so", "[program]") {
  test::temporary_folder folder;
  test::write_file(folder / "text", hidden_text(5000));
  std::string const path = folder / "run", log = folder / "log";
  ::pid_t const child = ::fork();
  if (child == 0) {
    std::string const command = std::string("exec ") + SMX_GPT + " train --text " + (folder / "text") + tiny +
                                "--steps 1000000 --save-every 0 --log-every 1 --log " + log +
                                " --checkpoint " + path + " 2> " + (folder / "err");
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
  for (int i = 0; i < 2000 && (!std::filesystem::exists(log) || test::read_file(log).empty()); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ::kill(child, SIGINT);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK_THAT(test::read_file(folder / "err"), test::contains("saved to " + path));
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("a plan allocates nothing and writes nothing; one too large is refused", "[program]") {
  test::temporary_folder folder;
  test::write_file(folder / "text", hidden_text(5000));
  std::string const common = "train --plan --text " + (folder / "text") + " --checkpoint " + (folder / "run");
  auto const small = run(common + tiny + "--steps 10");
  CHECK(small.status == 0);
  CHECK_THAT(small.out, test::contains("GFLOP"));
  CHECK_THAT(small.out, test::contains("memory"));
  CHECK(!std::filesystem::exists(folder / "run"));
  auto const large = run(common + " --channels 65536 --depth 40 --steps 100");
  CHECK(large.status == 1);
  CHECK_THAT(large.out, test::contains("of this machine's"));
}

TEST_CASE("a training that diverges stops with the step and the layer", "[program]") {
  test::temporary_folder folder;
  test::write_file(folder / "text", hidden_text(5000));
  auto const o =
      run("train --text " + (folder / "text") + tiny + "--steps 60 --rate 1e30 --warmup 0 --quiet");
  CHECK(o.status == 1);
  CHECK_THAT(o.out, test::contains("step "));
  CHECK_THAT(o.out, test::contains("it first appeared in"));
}

TEST_CASE("what the program is told wrong, it says", "[program]") {
  test::temporary_folder folder;
  test::write_file(folder / "text", hidden_text(200));
  auto const fails = [&](std::string const& arguments, int status, std::vector<std::string> const& says) {
    INFO(arguments);
    auto const o = run(arguments);
    CHECK(o.status == status);
    for (auto const& one : says) CHECK_THAT(o.out, test::contains(one));
  };
  fails("train --mixer lstm", 2, {"lstm", "m2", "causal-monarch", "attention", "ssd"});
  fails("train --mixers m2", 2, {"--mixers", "--mixer ", "--channels"});
  fails("dream", 2, {"train", "generate", "eval", "smx-gpt: expected a command, got dream\n"});
  fails("train --threads -1", 2, {"smx-gpt: --threads: expected a whole number of at least 0, got -1\n"});
  fails("train --minutes 0", 1, {"steps, minutes: expected", "got 0\n"});
  fails("train --held-out 1", 1, {"smx-gpt: held-out: expected a share from 0 to below 1, got 1\n"});
  fails("", 2, {"train", "generate", "eval"});
  fails("generate", 2, {"--model"});
  fails("train --text " + (folder / "text") + " --length 256", 1, {"expected at least 257 tokens"});
  fails("train --text " + (folder / "none"), 1, {"none", "No such file"});
  fails("train --text " + (folder / "."), 1, {"is a directory"});
  fails("train --length 64 --max-length 32", 1,
        {"smx-gpt: max-length: expected at least the length, got 32"});
  fails("train --text " + (folder / "text") + " --length 8 --channels 0", 1, {"expected at least 1, got 0"});
  fails("train --text " + (folder / "text") + " --length 8 --mixer attention --heads 5", 1,
        {"a multiple of heads"});
  fails("train --length 0", 1, {"smx-gpt: length: expected at least 1, got 0"});
  // how the text behind a training is written is checked before the training
  for (std::string const option : {"--top-p 0", "--temperature -1", "--tokens 0", "--prompt ''"}) {
    auto const o = run("train --text " + (folder / "text") + tiny + "--steps 1 --quiet " + option);
    INFO(option << ": " << o.out);
    CHECK(o.status == 1);
    CHECK_THAT(o.out, test::contains(option.substr(2, option.find(' ') - 2) + ": expected"));
    CHECK(o.out.find("held out") == std::string::npos);
  }
  fails("generate --model " + (folder / "text"), 1, {"text: "});
  fails("generate --model " + (folder / "none"), 1, {"none"});

  // what a checkpoint was trained with, and is not there any more
  std::filesystem::copy_file(SMX_BYTE_PAIR, folder / "pairs.json");
  test::write_file(folder / "text", hidden_text(5000));
  auto const trained = run("train --text " + (folder / "text") + " --tokenizer " + (folder / "pairs.json") +
                           tiny + "--steps 2 --tokens 1 --quiet --checkpoint " + (folder / "run"));
  INFO(trained.out);
  CHECK(trained.status == 0);
  std::filesystem::remove(folder / "text");
  CHECK(run("generate --tokens 3 --model " + (folder / "run")).status == 0);
  fails("eval --model " + (folder / "run"), 1,
        {"run: was trained with", "text, which is not there", "--text"});
  std::filesystem::remove(folder / "pairs.json");
  fails("generate --model " + (folder / "run"), 1, {"run: was trained with", "pairs.json", "--tokenizer"});
}
