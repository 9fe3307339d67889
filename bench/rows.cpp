// SPDX-License-Identifier: Apache-2.0
#include <bench/rows.hpp>

#include <benchmark/benchmark.h>
#include <Eigen/Core>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <thread>

namespace bench {
namespace {

/// The row whose memory exists: Google Benchmark calls a row several times, and two large ones must not live
/// at once.
struct stage {
  std::string name;
  std::function<void()> call;

  void set(row const& r) {
    if (name == r.name) return;
    call = nullptr;
    name.clear();
    call = r.prepare();
    call();  // page faults, first use of the workspace, cold caches
    name = r.name;
  }
};

void time_row(benchmark::State& state, row const& r, stage& at) {
  try {
    at.set(r);
    for ([[maybe_unused]] auto _ : state) {
      at.call();
      benchmark::ClobberMemory();
    }
    costs const c = r.plan();
    state.counters["D"] = static_cast<double>(r.dim);
    state.counters["flops"] = c.flops;
    state.counters["bytes"] = c.bytes;
    state.counters["workspace"] = c.workspace;
    state.counters["tensors"] = c.tensors;
    state.counters["tokens/s"] =
        benchmark::Counter(static_cast<double>(r.length), benchmark::Counter::kIsIterationInvariantRate);
  } catch (std::exception const& e) { state.SkipWithError(e.what()); }
}

[[noreturn]] void refuse(char const* program, std::string const& why) {
  std::fprintf(stderr, "%s: %s\n", program, why.c_str());
  std::exit(2);
}

/// Takes our options out of argv. Returns the thread count, and sets `plan`.
int take_options(int& argc, char** argv, bool& plan) {
  int threads = 0, kept = 1;
  for (int i = 1; i < argc; ++i) {
    std::string const option = argv[i];
    if (option == "--plan") {
      plan = true;
    } else if (option == "--threads" || option.rfind("--threads=", 0) == 0) {
      bool const joined = option.size() > 9;
      if (!joined && i + 1 == argc) refuse(argv[0], "--threads: expected a number after it");
      char const* const text = joined ? argv[i] + 10 : argv[++i];
      char* end = nullptr;
      long const n = std::strtol(text, &end, 10);
      if (end == text || *end != '\0' || n < 0 || n > 4096)
        refuse(argv[0], std::string("--threads: expected 0 to 4096, got ") + text);
      threads = static_cast<int>(n);
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

}  // namespace

int run_rows(int argc, char** argv, std::function<std::vector<row>(int)> const& make) {
  bool plan = false;
  int const threads = take_options(argc, argv, plan);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  std::vector<row> const rows = make(threads);
  if (plan) {
    for (row const& r : rows) {
      costs const c = r.plan();
      std::printf(
          "{\"name\": \"%s\", \"L\": %lld, \"D\": %lld, \"flops\": %.17g, \"bytes\": %.17g, \"workspace\": "
          "%.17g, "
          "\"tensors\": %.17g}\n",
          r.name.c_str(), static_cast<long long>(r.length), static_cast<long long>(r.dim), c.flops, c.bytes,
          c.workspace, c.tensors);
    }
    return 0;
  }
  benchmark::AddCustomContext("compiler", BENCH_COMPILER);
  benchmark::AddCustomContext("flags", BENCH_FLAGS);
  char eigen[32];
  std::snprintf(eigen, sizeof eigen, "%d.%d.%d", EIGEN_WORLD_VERSION, EIGEN_MAJOR_VERSION,
                EIGEN_MINOR_VERSION);
  benchmark::AddCustomContext("eigen", eigen);
  if (BENCH_BLAS[0] != '\0') benchmark::AddCustomContext("blas", BENCH_BLAS);
  auto const at = std::make_shared<stage>();
  for (row const& r : rows)
    benchmark::RegisterBenchmark(r.name.c_str(), [&r, at](benchmark::State& s) { time_row(s, r, *at); })
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace bench
