// SPDX-License-Identifier: Apache-2.0
/// \file  bench_cuda: times rows that it is asked for, one after the other, in one process.
///
///     bench_cuda --device      one line of JSON: the GPU, the driver, the compiler
///     bench_cuda --plan        one line of JSON a row: its name and what it costs by plan; needs no GPU
///     bench_cuda --serve       reads "NAME SECONDS" a line, answers each with a line of JSON
///
/// An answer has samples_ms and the plan's numbers, or "error". After "fatal" the process is of no more use:
/// an error of CUDA that stays.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <unordered_map>

#include <bench/cuda/work.hpp>

namespace {

using namespace bench;

std::vector<gpu_row> all_rows() {
  std::vector<gpu_row> rows;
  add_yardsticks(rows);
  add_monarch(rows);
  add_dense(rows);
  add_long_convolution(rows);
  add_attention(rows);
  add_causal_attention(rows);
  add_ssd(rows);
  add_linear_attention(rows);
  add_causal_monarch(rows);
  add_masked_monarch(rows);
#if defined(BENCH_HAS_CUFFT)
  add_cufft_peers(rows);
#endif
  return rows;
}

std::string quoted(std::string const& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + '"';
}

std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

std::string described(gpu_row const& r, costs const& c) {
  return "\"name\": " + quoted(r.name) + ", \"L\": " + std::to_string(r.length) +
         ", \"D\": " + std::to_string(r.dim) + ", \"tokens\": " + std::to_string(r.tokens) +
         ", \"flops\": " + number(c.flops) + ", \"bytes\": " + number(c.bytes) +
         ", \"workspace\": " + number(c.workspace) + ", \"tensors\": " + number(c.tensors) +
         ", \"launches\": " + number(c.launches);
}

int cache_bytes() {
  int device = 0, bytes = 0;
  expect_success(cudaGetDevice(&device), "cudaGetDevice");
  expect_success(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device), "cudaDeviceGetAttribute");
  return bytes;
}

/// Buffer sets that together are twice the L2 cache.
int sets_for(double tensors) {
  constexpr int most = 32;
  double const wanted = 2.0 * cache_bytes() / (tensors > 1 ? tensors : 1);
  return wanted <= 1 ? 1 : wanted >= most ? most : static_cast<int>(wanted) + 1;
}

std::string time_row(gpu_row const& r, double seconds) {
  costs const c = r.plan();
  gpu_work const work = r.prepare(sets_for(c.tensors));
  gpu_times const t = time_work(work, seconds);
  std::string out = "{" + described(r, c) + ", \"sets\": " + std::to_string(work.sets) +
                    ", \"launches_counted\": " + (t.launches < 0 ? "null" : number(t.launches)) +
                    ", \"graph_nodes\": " + number(t.nodes) + ", \"direct_ms\": " + number(t.direct_ms) +
                    ", \"note\": " + quoted(work.note) + ", \"samples_ms\": [";
  for (std::size_t n = 0; n < t.samples_ms.size(); ++n) out += (n ? ", " : "") + number(t.samples_ms[n]);
  return out + "]}";
}

int print_device() {
  int count = 0;
  cudaError_t const status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    std::fprintf(stderr, "bench_cuda: no GPU: %s\n", cudaGetErrorString(status));
    return 2;
  }
  cudaDeviceProp p{};
  int driver = 0, runtime = 0;
  std::size_t free = 0, all = 0;
  expect_success(cudaGetDeviceProperties(&p, 0), "cudaGetDeviceProperties");
  expect_success(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  expect_success(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  expect_success(cudaMemGetInfo(&free, &all), "cudaMemGetInfo");
  std::printf(
      "{\"gpu\": %s, \"capability\": \"%d.%d\", \"multiprocessors\": %d, \"l2_bytes\": %d, "
      "\"gpu_memory\": %zu, \"gpu_free\": %zu, \"cuda_driver\": \"%d.%d\", \"cuda_runtime\": \"%d.%d\", "
      "\"compiler\": %s, \"flags\": %s}\n",
      quoted(p.name).c_str(), p.major, p.minor, p.multiProcessorCount, p.l2CacheSize, all, free,
      driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10, quoted(BENCH_COMPILER).c_str(),
      quoted(BENCH_FLAGS).c_str());
  return 0;
}

int serve() {
  std::unordered_map<std::string, gpu_row> rows;
  for (gpu_row& r : all_rows()) {
    std::string const name = r.name;
    rows.emplace(name, std::move(r));
  }
  std::string line;
  while (std::getline(std::cin, line)) {
    std::size_t const space = line.find(' ');
    std::string const name = line.substr(0, space);
    double const seconds = space == std::string::npos ? 0 : std::atof(line.c_str() + space);
    auto const row = rows.find(name);
    std::string answer;
    bool fatal = false;
    if (row == rows.end()) {
      answer = "{\"error\": " + quoted("no row is named " + name) + "}";
    } else {
      try {
        answer = time_row(row->second, seconds);
      } catch (std::exception const& e) {
        static_cast<void>(cudaGetLastError());
        fatal = cudaDeviceSynchronize() != cudaSuccess;
        answer = "{\"error\": " + quoted(e.what()) + (fatal ? ", \"fatal\": true}" : "}");
      }
    }
    std::printf("%s\n", answer.c_str());
    std::fflush(stdout);
    if (fatal) return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string const mode = argc == 2 ? argv[1] : "";
  try {
    if (mode == "--device") return print_device();
    if (mode == "--serve") return serve();
    if (mode == "--plan") {
      for (gpu_row const& r : all_rows()) std::printf("{%s}\n", described(r, r.plan()).c_str());
      return 0;
    }
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_cuda: %s\n", e.what());
    return 1;
  }
  std::fprintf(stderr, "usage: bench_cuda --device | --plan | --serve\n");
  return 2;
}
