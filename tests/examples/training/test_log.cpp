// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <csignal>
#include <limits>

#include <sys/wait.h>
#include <unistd.h>

#include <examples/common/training/training_log.hpp>
#include <smx/io/file_error.hpp>
#include <tests/catch.hpp>
#include <tests/io/file_size_limit.hpp>
#include <tests/io/temporary_folder.hpp>

using smx_examples::log_record;
using smx_examples::read_log;
using smx_examples::training_log;

namespace {

log_record record(std::int64_t step) {
  auto const x = static_cast<double>(step);
  log_record r{.step = step,
               .loss = 5 - 0.1 * x,
               .rate = 1e-3,
               .gradient_norm = 0.5,
               .tokens_per_second = 1000,
               .seconds = x};
  if (step % 10 == 0) r.held_out = 4;
  return r;
}

std::string lines(std::int64_t first, std::int64_t last) {
  std::string text;
  for (auto step = first; step <= last; ++step) text += smx_examples::print_record(record(step)) + '\n';
  return text;
}

}  // namespace

TEST_CASE("log: a line for each record, read back as it was", "[training]") {
  test::temporary_folder folder;
  std::string const path = folder / "log.jsonl";
  {
    training_log log(path);
    for (int step = 1; step <= 12; ++step) {
      log.add(record(step));
      CHECK(test::read_file(path) == lines(1, step));  // nothing waits in a buffer
    }
    CHECK_THROWS_WITH(log.add(record(12)),
                      test::contains("training_log: step: expected one after the last record's, got 12"));
  }
  CHECK(test::read_file(path).starts_with(
      R"({"step":1,"loss":4.9,"rate":0.001,"gradient_norm":0.5,"tokens_per_second":1000.0,"seconds":1.0})"
      "\n"));
  auto const records = read_log(path);
  REQUIRE(records.size() == 12);
  CHECK(records[9].held_out == 4);
  CHECK(!records[10].held_out.has_value());
  CHECK(records[10].loss == record(11).loss);
}

TEST_CASE("log: numbers that are not finite are null and come back as NaN", "[training]") {
  test::temporary_folder folder;
  training_log log(folder / "log");
  auto r = record(1);
  r.loss = std::numeric_limits<double>::quiet_NaN();
  r.gradient_norm = HUGE_VAL;
  log.add(r);
  CHECK(test::read_file(folder / "log").find("\"loss\":null") != std::string::npos);
  auto const back = read_log(folder / "log").at(0);
  CHECK((std::isnan(back.loss) && std::isnan(back.gradient_norm) && back.rate == 1e-3));
}

TEST_CASE("log: a resumed run cuts what came after its checkpoint", "[training]") {
  test::temporary_folder folder;
  std::string const path = folder / "log";
  for (std::string const tail : {"", "{\"step\":31,\"lo", "{"}) {
    test::write_file(path, lines(1, 30) + tail);
    CHECK(read_log(path).size() == 30);
    {
      auto log = training_log::resumed(path, 20);
      CHECK(log.records().size() == 20);
      CHECK(test::read_file(path) == lines(1, 20));
      log.add(record(21));
    }
    CHECK(test::read_file(path) == lines(1, 21));
    test::write_file(path, lines(1, 5) + tail);
    CHECK(training_log::resumed(path, 20).records().size() == 5);
    CHECK(test::read_file(path) == lines(1, 5));
    CHECK(training_log::resumed(path, 0).records().empty());
    CHECK(test::read_file(path).empty());
  }
  CHECK(training_log::resumed(folder / "new", 20).records().empty());
}

TEST_CASE("log: the log of another run, damaged lines and bad paths are refused", "[training]") {
  test::temporary_folder folder;
  std::string const path = folder / "log";
  test::write_file(path, lines(1, 3));
  CHECK_THROWS_WITH(training_log(path), test::contains(path + ": is the log of another run"));
  CHECK(test::read_file(path) == lines(1, 3));
  for (std::string const bad : {"no json", "[1]", "{}", R"({"step":1.5})", R"({"step":9,"loss":"x"})", ""}) {
    test::write_file(path, lines(1, 3) + bad + '\n' + lines(4, 5));
    CHECK_THROWS_WITH(training_log::resumed(path, 5),
                      test::contains(path + ": line 4: expected a record of a training log"));
    CHECK(test::read_file(path) == lines(1, 3) + bad + '\n' + lines(4, 5));
  }
  test::write_file(path, lines(1, 3) + lines(2, 2));
  CHECK_THROWS_WITH(read_log(path), test::contains("line 4: expected a step after 3, got 2"));
  CHECK_THROWS_WITH(read_log(folder / "none"),
                    test::contains("cannot open for reading: No such file or directory"));
  CHECK_THROWS_WITH(training_log(folder / "no/log"),
                    test::contains("cannot open for writing: No such file or directory"));
  for (std::string const pipe : {"/dev/full", "/dev/zero"}) {  // the second would be read without end
    CHECK_THROWS_WITH(training_log(pipe), test::contains(pipe + ": expected a regular file"));
    CHECK_THROWS_WITH(read_log(pipe), test::contains(pipe + ": expected a regular file"));
  }
  CHECK_THROWS_WITH(training_log(folder / ""), test::contains("expected a file, got a directory"));
}

TEST_CASE("log: on a full disk the records so far stay", "[training]") {
  test::temporary_folder folder;
  std::string const path = folder / "log";
  training_log log(path);
  log.add(record(1));
  test::file_size_limit const full(static_cast<::rlim_t>(lines(1, 1).size() + 7));
  CHECK_THROWS_WITH(log.add(record(2)), test::contains(path + ": cannot write: "));
  CHECK(test::read_file(path) == lines(1, 1));
  CHECK(log.records().size() == 1);
}

TEST_CASE("log: a run that is killed loses at most its last line", "[training]") {
  test::temporary_folder folder;
  std::string const path = folder / "log";
  std::int64_t last = 0;
  training_log{path};
  for (int n = 0; n < 20; ++n) {
    ::pid_t const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      auto log = training_log::resumed(path, last);
      for (auto step = last + 1;; ++step) log.add(record(step));
    }
    ::usleep(2000);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    auto const records = read_log(path);
    REQUIRE(static_cast<std::int64_t>(records.size()) >= last);
    for (std::size_t i = 0; i < records.size(); ++i)
      REQUIRE(records[i].step == static_cast<std::int64_t>(i) + 1);
    last = static_cast<std::int64_t>(records.size());
  }
  CHECK(last > 0);
}
