// SPDX-License-Identifier: Apache-2.0
/// \file  smx_goldens DIR: recomputes every reference file of a folder on each backend, in double and single
/// precision.
///
/// One line each: family, case, backend, element type, the error and the tolerance of the tensor that uses
/// most of its tolerance, and ok, FAILED(reason) or skipped(reason); last `N passed, N failed, N skipped`.
/// Exit status: 0, 1 when something failed, 2 for wrong use, 77 where
/// the backend that it was built for cannot run.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include <tests/goldens/family.hpp>

namespace {

struct tally {
  int passed = 0, failed = 0, skipped = 0;
};

void print(std::string const& family, std::string const& name, goldens::run const* run,
           std::string const& figures, std::string const& verdict) {
  std::printf("%s %s %s %s %s %s\n", family.c_str(), name.c_str(), run ? run->backend.c_str() : "-",
              run ? run->dtype.c_str() : "-", figures.c_str(), verdict.c_str());
  std::fflush(stdout);
}

std::string figures(goldens::comparison const& c) {
  char text[64];
  std::snprintf(text, sizeof text, "%.2e %.0e", c.error(), c.tolerance());
  return text;
}

void run_file(std::filesystem::path const& path, std::vector<goldens::family> const& families, tally& count) {
  try {
    goldens::golden const g(path.string());
    auto const known = std::ranges::find(families, g.family(), &goldens::family::name);
    if (known == families.end()) {
      print(g.family(), g.name(), nullptr, "- -", "skipped(unknown family)");
      ++count.skipped;
      return;
    }
    for (goldens::run const& run : known->runs) {
      goldens::comparison c(g, run.dtype == "f32");
      try {
        run.compute(g, c);
        c.expect_complete();
        print(g.family(), g.name(), &run, figures(c), c.passed() ? "ok" : "FAILED(" + c.worst() + ")");
        ++(c.passed() ? count.passed : count.failed);
      } catch (std::exception const& e) {
        print(g.family(), g.name(), &run, "- -", std::string("FAILED(") + e.what() + ")");
        ++count.failed;
      }
    }
  } catch (std::exception const& e) {
    print("-", path.filename().string(), nullptr, "- -", std::string("FAILED(") + e.what() + ")");
    ++count.failed;
  }
}

constexpr char usage[] =
    "usage: smx_goldens DIR\n"
    "Recomputes every .safetensors file of DIR on each backend and compares.\n";

}  // namespace

int main(int count, char** arguments) {
  std::string const argument = count == 2 ? arguments[1] : "";
  if (argument == "--help" || argument == "-h") {
    std::fputs(usage, stdout);
    return 0;
  }
  if (argument.empty() || argument.starts_with("-")) {
    for (int n = 1; n < count; ++n)
      if (arguments[n][0] == '-') std::fprintf(stderr, "error: unknown option %s\n", arguments[n]);
    std::fputs(count == 2 ? usage : "error: expected one folder\nusage: smx_goldens DIR\n", stderr);
    return 2;
  }

  std::vector<std::filesystem::path> files;
  std::error_code code;
  for (std::filesystem::directory_iterator it(argument, code), end; !code && it != end; it.increment(code))
    if (it->path().extension() == ".safetensors") files.push_back(it->path());
  if (code) {
    std::fprintf(stderr, "error: %s: %s\n", argument.c_str(), code.message().c_str());
    return 2;
  }
  if (files.empty()) {
    std::fprintf(stderr, "error: %s: no .safetensors files\n", argument.c_str());
    return 2;
  }
  std::ranges::sort(files);

  if (std::string const why = goldens::missing_backend(); !why.empty()) {
    std::printf("skipped: %s\n", why.c_str());
    return 77;
  }
  auto const families = goldens::all_families();
  tally total;
  for (auto const& path : files) run_file(path, families, total);
  std::printf("%d passed, %d failed, %d skipped\n", total.passed, total.failed, total.skipped);
  return total.failed == 0 ? 0 : 1;
}
