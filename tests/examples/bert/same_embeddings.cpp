// SPDX-License-Identifier: Apache-2.0
/// \file  same_embeddings PROGRAM MODEL JSONL: runs `PROGRAM embed` on the texts of a file of recorded token
/// ids and embeddings, {"text": ..., "ids": [...], "embedding": [...]} a line, and compares: ids must be
/// equal, embeddings within 1e-5. All on two threads, the first six texts on one. Exit status 0; 1 when they
/// differ; 77 where the model is not there.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/io/temporary_folder.hpp"

namespace {

std::vector<nlohmann::json> lines_of(std::string const& path) {
  std::vector<nlohmann::json> lines;
  std::ifstream from(path);
  for (std::string line; std::getline(from, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}
std::string quoted(std::string const& text) { return "'" + text + "'"; }

/// The largest difference of two embeddings; infinity where there is no comparison.
double difference(nlohmann::json const& a, nlohmann::json const& b) {
  if (a.size() != b.size()) return INFINITY;
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    double const d = std::abs(a[i].get<double>() - b[i].get<double>());
    most = d <= most ? most : d;
  }
  return most;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: same_embeddings PROGRAM MODEL JSONL\n", stderr);
    return 2;
  }
  std::string const program = argv[1], model = argv[2], recorded = argv[3];
  if (!std::filesystem::exists(model + "/model.safetensors")) {
    std::printf("skipped: %s has no model; scripts/fetch_minilm.sh gets it\n", model.c_str());
    return 77;
  }
  auto const expected = lines_of(recorded);
  test::temporary_folder const folder;
  bool good = !expected.empty();
  std::string const some = folder / "some.jsonl";
  {
    std::ofstream to(some);
    for (std::size_t n = 0; n < std::min(expected.size(), std::size_t{6}); ++n) to << expected[n] << '\n';
  }
  for (auto const& [threads, texts] : {std::pair(std::string("2"), recorded), {"1", some}}) {
    std::string const out = folder / "out.jsonl";
    std::string const command = quoted(program) + " embed --model " + quoted(model) +
                                " --json-input --threads " + threads + " --out " + quoted(out) + " " +
                                quoted(texts);
    if (std::system(command.c_str()) != 0) {
      std::printf("failed: %s\n", command.c_str());
      return 1;
    }
    auto const got = lines_of(out);
    if (std::size_t const lines = lines_of(texts).size(); got.size() != lines) {
      std::printf("expected %zu lines, got %zu\n", lines, got.size());
      return 1;
    }
    double most = 0;
    for (std::size_t n = 0; n < got.size(); ++n) {
      if (got[n]["text"] != expected[n]["text"] || got[n]["ids"] != expected[n]["ids"]) {
        std::printf("line %zu: other text or ids\n", n + 1);
        good = false;
      }
      double const d = difference(got[n]["embedding"], expected[n]["embedding"]);
      most = std::max(most, d);
      if (!(d <= 1e-5)) {
        std::printf("line %zu: an embedding differs by %.3g\n", n + 1, d);
        good = false;
      }
    }
    std::printf("%zu texts, %s threads: largest difference %.3g\n", got.size(), threads.c_str(), most);
  }
  return good ? 0 : 1;
}
