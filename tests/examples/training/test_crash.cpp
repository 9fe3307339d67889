// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <new>
#include <thread>

#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <smx/backend/reference.hpp>
#include <tests/catch.hpp>
#include <tests/examples/training/toy.hpp>
#include <tests/io/file_size_limit.hpp>
#include <tests/io/temporary_folder.hpp>

using smx_examples::save_checkpoint;

namespace {

constexpr test::toy large{.tokens = 1000, .channels = 40};  // a checkpoint of 1 MB

/// The k-th state that is saved: every number of it is k.
void fill(test::toy_run& run, std::int64_t k) {
  for (auto* p : {&run.w, &run.s.first, &run.s.second})
    std::fill(p->all().ptr, p->all().ptr + p->size(), static_cast<float>(k));
  run.s.steps = run.step = k;
}

/// The number of the state in the file; -1 when its parts are of different states.
std::int64_t read_state(std::string const& path) {
  smx::reference_backend be;
  test::toy_run run(be, large);
  auto const state = smx_examples::resume_checkpoint(path, large.config(), {}, large, run.w, run.s);
  std::int64_t const k = state.counters.at("step");
  bool same = run.s.steps == k && state.counters.at("data.position") == k * 64;
  large.for_each_weight(
      [&](auto const&, auto const&... one) {
        auto const whole = [&](auto const& v) {
          return std::all_of(v.ptr, v.ptr + v.size(), [&](float x) { return x == static_cast<float>(k); });
        };
        same = same && (... && whole(one));
      },
      run.w.read(), run.s.first.read(), run.s.second.read());
  return same ? k : -1;
}

void save(test::toy_run& run, std::string const& path, std::int64_t k) {
  fill(run, k);
  save_checkpoint(path, run.state(), large, run.w, run.s);
}

std::size_t parts_beside(std::string const& path) {
  std::size_t n = 0;
  for (auto const& one : std::filesystem::directory_iterator(std::filesystem::path(path).parent_path()))
    n += one.path().string().find(".part-") != std::string::npos ? 1 : 0;
  return n;
}

}  // namespace

namespace {

/// What processes have done that saved one state after the other until they were killed.
struct killed {
  int in_the_middle = 0;  ///< of a save
  std::int64_t saved = 0;
};

/// Until `enough` were killed in the middle of a save: how many that takes depends on the machine and its
/// load.
killed kill_saves(test::temporary_folder const& folder, int enough) {
  std::string const path = folder / "run.safetensors";
  auto* const memory =
      ::mmap(nullptr, sizeof(std::int64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  auto& saved = *new (memory) std::atomic<std::int64_t>(1);  // the last state whose save has returned
  smx::reference_backend be;
  test::toy_run run(be, large);
  save(run, path, 1);
  killed result;
  std::uint64_t random = 12345;
  for (int n = 0; result.in_the_middle < enough && n < 100 * enough; ++n) {
    std::int64_t const before = saved;
    ::pid_t const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (std::int64_t k = saved + 1;; ++k) {
        try {
          save(run, path, k);
        } catch (...) { ::_exit(1); }
        saved = k;
      }
    }
    // A process begins late where the machine is busy: the time runs from its first save.
    for (int i = 0; i < 20000 && saved == before; ++i)
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    random = random * 6364136223846793005u + 1442695040888963407u;
    ::timespec const delay{0, static_cast<long>((random >> 33) % 12'000'000)};  // up to 12 ms
    ::nanosleep(&delay, nullptr);
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));  // it did not end by an error of its own
    result.in_the_middle += parts_beside(path) > 0 ? 1 : 0;
    std::int64_t const k = read_state(path), known = saved;
    INFO(n << ": state " << k << ", the last known is " << known);
    REQUIRE((k == known || k == known + 1));
    saved = k;
  }
  save(run, path, saved + 1);
  CHECK(parts_beside(path) == 0);  // the next save removes what those have left
  CHECK(folder.count() == 1);
  result.saved = saved;
  ::munmap(memory, sizeof(std::int64_t));
  return result;
}

}  // namespace

TEST_CASE("kill -9 at any moment leaves a whole checkpoint, the last or the one before", "[training]") {
  // Where files are memory a save takes 1 to 2 ms, so that kills hit every part of it and many saves between.
  SECTION("in memory") {
    if (!std::filesystem::is_directory("/dev/shm")) return;
    test::temporary_folder const folder("/dev/shm");
    killed const what = kill_saves(folder, 50);
    CHECK(what.in_the_middle == 50);
    CHECK(what.saved > 50);
  }
  // On a disk most of the time is fsync.
  SECTION("on the disk") {
    test::temporary_folder const folder;
    CHECK(kill_saves(folder, 6).in_the_middle == 6);
  }
}

TEST_CASE("a save leaves what a running save has beside it", "[training]") {
  test::temporary_folder folder;
  smx::reference_backend be;
  test::toy_run run(be, large);
  std::string const path = folder / "run.safetensors",
                    other = path + ".part-" + std::to_string(::getpid()) + "-7";
  for (auto const& name : {other, path + ".part-x-0", path + ".part-12", folder / "another.part-1-0"})
    test::write_file(name, "x");
  save(run, path, 3);
  CHECK(folder.count() == 5);
  CHECK(read_state(path) == 3);
}

TEST_CASE("a full disk leaves the old checkpoint, and the error says which file and why", "[training]") {
  test::temporary_folder folder;
  std::string const path = folder / "run.safetensors";
  smx::reference_backend be;
  test::toy_run run(be, large);
  save(run, path, 1);
  auto const size = std::filesystem::file_size(path);
  for (auto const room : {std::uintmax_t{0}, std::uintmax_t{1}, size / 2, size - 1}) {
    std::string message;
    try {
      test::file_size_limit const full(static_cast<::rlim_t>(room));
      save(run, path, 2);
    } catch (smx::file_error const& e) { message = e.what(); }
    CHECK(message == path + ": cannot write: File too large");
    CHECK(read_state(path) == 1);
    CHECK(folder.count() == 1);
  }
  save(run, path, 2);
  CHECK(read_state(path) == 2);
}

TEST_CASE("a disk that is really full does the same", "[training]") {
  test::temporary_folder folder;
  // In a child with mounts of its own: 1.5 MB are room for one checkpoint, and for half of the next.
  enum : int { passed, wrong, not_permitted };
  ::pid_t const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::string const disk = folder / "disk", path = disk + "/run.safetensors";
    std::filesystem::create_directory(disk);
    bool const root = ::geteuid() == 0;
    if (::unshare(root ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("smx", disk.c_str(), "tmpfs", 0, "size=1500k") != 0)
      ::_exit(not_permitted);
    try {
      smx::reference_backend be;
      test::toy_run run(be, large);
      save(run, path, 1);
      std::string message;
      try {
        save(run, path, 2);
      } catch (smx::file_error const& e) { message = e.what(); }
      bool const ok = message == path + ": cannot write: No space left on device" && read_state(path) == 1 &&
                      parts_beside(path) == 0;
      ::_exit(ok ? passed : wrong);
    } catch (...) { ::_exit(wrong); }
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == not_permitted)
    WARN("skipped: a file system of its own cannot be mounted here");
  else
    CHECK(WEXITSTATUS(status) == passed);
}
