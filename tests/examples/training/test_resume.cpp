// SPDX-License-Identifier: Apache-2.0
#include <tests/catch.hpp>
#include <tests/examples/training/toy.hpp>
#include <tests/io/temporary_folder.hpp>

using smx_examples::resume_checkpoint;
using smx_examples::save_checkpoint;

TEST_CASE("a resumed run equals the uninterrupted one bit for bit, whatever the threads", "[training]") {
  test::temporary_folder folder;
  std::string const path = folder / "run.safetensors";
  test::toy const m;
  smx::cpu one(1), two(2);
  test::toy_run whole(one, m), part(two, m);
  double first = 0, last = 0;
  for (int i = 0; i < 120; ++i) last = whole.train_step(one), first = i == 0 ? last : first;
  CHECK(last < first / 4);  // it does train

  for (int stop : {1, 7, 30, 119}) {
    while (part.step < stop) part.train_step(two);
    save_checkpoint(path, part.state(), m, part.w, part.s);
    test::toy_run next(one, m);  // as a new process has it
    auto const run = resume_checkpoint(path, m.config(), {}, m, next.w, next.s);
    next.step = run.counters.at("step");
    CHECK(next.step == stop);
    CHECK(next.s.steps == stop);
    CHECK(run.counters.at("data.position") == stop * 64);
    CHECK(test::same_bits(next.w, part.w));
    CHECK(test::same_bits(next.s.first, part.s.first));
    CHECK(test::same_bits(next.s.second, part.s.second));
    while (next.step < 120) next.train_step(one);
    CHECK(test::same_bits(next.w, whole.w));
    CHECK(test::same_bits(next.s.first, whole.s.first));
    CHECK(test::same_bits(next.s.second, whole.s.second));
  }
}

TEST_CASE("a checkpoint is a model file too", "[training]") {
  test::temporary_folder folder;
  std::string const path = folder / "run.safetensors";
  test::toy const m;
  smx::cpu be(1);
  test::toy_run run(be, m);
  run.train_step(be);
  save_checkpoint(path, run.state(), m, run.w, run.s);
  test::toy_parameters w(be, m);
  smx_examples::tensor_reader file(path);
  CHECK(file.is_checkpoint());
  file.want("", m, w);
  CHECK(file.read({.unknown_is_error = true}).empty());
  CHECK(test::same_bits(w, run.w));
  CHECK(file.file().contains("optimizer.first.output.bias"));
  CHECK(file.run().config == m.config());

  save_checkpoint(folder / "again", run.state(), m, run.w, run.s);  // the same run, the same bytes
  CHECK(test::read_file(folder / "again") == test::read_file(path));
}
