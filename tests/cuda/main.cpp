// SPDX-License-Identifier: Apache-2.0
/// \file  Runs the suites named on the command line (without one all but lost_device). Exit status: 0, 1 when
/// something failed, 2 for wrong use, 77 where no GPU answers.
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "tests/cuda/harness.hpp"

namespace {
test::suite* first = nullptr;
}

namespace test {

suite::suite(char const* n, void (*r)(reporter&)) : name(n), run(r), next(first) { first = this; }

void reporter::operator()(std::string const& what, smx::testing::verdict const& found) {
  if (!found) {
    ++passed_;
    return;
  }
  ++failed_;
  if (failed_ <= 40) std::printf("FAILED: %s\n  %s\n", what.c_str(), found->c_str());
  std::fflush(stdout);
}

}  // namespace test

int main(int count, char** arguments) {
  std::vector<std::string> const names(arguments + 1, arguments + count);
  if (names.size() == 1 && names[0] == "--list") {
    for (test::suite const* s = first; s != nullptr; s = s->next) std::printf("%s\n", s->name);
    return 0;
  }
  for (std::string const& name : names) {
    bool known = false;
    for (test::suite const* s = first; s != nullptr; s = s->next) known = known || name == s->name;
    if (known) continue;
    std::fprintf(stderr, "error: no suite '%s' (--list names them)\n", name.c_str());
    return 2;
  }
  if (std::string const why = test::missing_device(); !why.empty()) {
    std::printf("skipped: %s\n", why.c_str());
    return 77;
  }
  test::prepare();
  int passed = 0, failed = 0;
  for (test::suite const* s = first; s != nullptr; s = s->next) {
    bool wanted = names.empty() && std::string(s->name) != "lost_device";  // nothing runs after that one
    for (std::string const& name : names) wanted = wanted || name == s->name;
    if (!wanted) continue;
    test::reporter report;
    try {
      s->run(report);
      if (report.passed() + report.failed() == 0) report("the suite", "it tested nothing");
    } catch (std::exception const& e) { report("the suite", smx::testing::text("threw: %s", e.what())); }
    std::printf("%s: %d passed, %d failed\n", s->name, report.passed(), report.failed());
    std::fflush(stdout);
    passed += report.passed();
    failed += report.failed();
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
