// SPDX-License-Identifier: Apache-2.0
#include <csignal>

#include <sys/wait.h>
#include <unistd.h>

#include <examples/common/training/interrupt.hpp>
#include <examples/common/training/memory_check.hpp>
#include <smx/io/file_error.hpp>
#include <tests/catch.hpp>
#include <tests/io/temporary_folder.hpp>

using smx_examples::expects_memory;
using smx_examples::interrupt_watch;
using smx_examples::print_bytes;
using smx_examples::read_memory;

namespace {

int calls = 0;
void count_call(int) { ++calls; }

using handler = void (*)(int);
handler current(int signal) {
  struct ::sigaction now {};
  ::sigaction(signal, nullptr, &now);
  return now.sa_handler;
}

/// How a child that runs f ends: its exit status, or minus the signal.
template <class F> int ending(F const& f) {
  ::pid_t const child = ::fork();
  if (child == 0) {
    f();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("interrupt: the first signal sets a flag, the handler before comes back", "[training]") {
  for (int const signal : {SIGINT, SIGTERM}) {
    handler const before = ::signal(signal, count_call);
    calls = 0;
    {
      interrupt_watch watch;
      CHECK(!watch.requested());
      CHECK(std::string(watch.name()).empty());
      ::raise(signal);
      CHECK(watch.requested());
      CHECK(watch.name() == std::string(signal == SIGINT ? "SIGINT" : "SIGTERM"));
      CHECK(calls == 0);
    }
    CHECK(current(signal) == count_call);
    ::raise(signal);
    CHECK(calls == 1);
    CHECK(!interrupt_watch().requested());
    ::signal(signal, before);
  }
}

TEST_CASE("interrupt: a second signal ends the program, other signals are left alone", "[training]") {
  CHECK(ending([] {
          interrupt_watch watch;
          ::raise(SIGINT);
          ::raise(SIGTERM);
          ::_exit(watch.requested() ? 7 : 8);
        }) == 7);
  for (int const signal : {SIGINT, SIGTERM})
    CHECK(ending([&] {
            ::signal(signal, SIG_DFL);
            interrupt_watch watch;
            ::raise(signal);
            ::raise(signal);
          }) == -signal);
  CHECK(ending([] {
          ::signal(SIGUSR1, SIG_DFL);
          interrupt_watch watch;
          ::raise(SIGUSR1);
        }) == -SIGUSR1);
}

TEST_CASE("interrupt: what was ignored stays ignored", "[training]") {
  handler const before = ::signal(SIGINT, SIG_IGN);
  {
    interrupt_watch watch;
    ::raise(SIGINT);
    CHECK(!watch.requested());
  }
  CHECK(current(SIGINT) == SIG_IGN);
  ::signal(SIGINT, before);
}

TEST_CASE("memory: what does not fit is refused with both figures", "[training]") {
  smx_examples::machine_memory const machine{8'000'000'000, 3'000'000'000};
  CHECK_NOTHROW(expects_memory("train", 3'000'000'000, machine));
  CHECK_THROWS_WITH(
      expects_memory("train at batch 64", 3'000'000'001, {8'000'000'000, 2'500'000'000}),
      Catch::Matchers::Equals("train at batch 64: needs 3 GB of memory, but 2.5 GB of this machine's "
                              "8 GB are available"));
  CHECK_THROWS_AS(expects_memory("train", std::size_t{1} << 62), smx_examples::memory_error);
  CHECK_NOTHROW(expects_memory("train", 1));
  CHECK(read_memory().available <= read_memory().total);
  CHECK(read_memory().available > 1'000'000);
}

TEST_CASE("memory: what the system says is read or refused", "[training]") {
  test::temporary_folder folder;
  std::string const path = folder / "meminfo";
  test::write_file(path, "MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:    40 kB\nHugePages_Total:  0\n");
  CHECK(read_memory(path).total == 102'400);
  CHECK(read_memory(path).available == 40'960);
  for (char const* bad : {"", "MemTotal: 100 kB\n", "MemTotal: x kB\nMemAvailable: y kB\n"}) {
    test::write_file(path, bad);
    CHECK_THROWS_WITH(read_memory(path), test::contains(path + ": expected lines 'MemTotal: N kB'"));
  }
  CHECK_THROWS_AS(read_memory(folder / "none"), smx::file_error);
}

TEST_CASE("memory: sizes are printed with three digits", "[training]") {
  CHECK(print_bytes(0) == "0 bytes");
  CHECK(print_bytes(999) == "999 bytes");
  CHECK(print_bytes(1000) == "1 kB");
  CHECK(print_bytes(123'456) == "123 kB");
  CHECK(print_bytes(999'600) == "1 MB");
  CHECK(print_bytes(12'345'678'901) == "12.3 GB");
  CHECK(print_bytes(5'000'000'000'000) == "5 TB");
}
