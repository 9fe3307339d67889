// SPDX-License-Identifier: Apache-2.0
/// \file  Tests that nvcc can compile: suites by name, verdicts instead of assertions. The same sources run
/// on a GPU and, where there is none, on the emulator.
#pragma once

#include <initializer_list>
#include <string>

#include <smx/testing/verdict.hpp>

namespace test {

/// Counts verdicts and prints those that failed.
class reporter {
 public:
  void operator()(std::string const& what, smx::testing::verdict const& found);
  int passed() const { return passed_; }
  int failed() const { return failed_; }

 private:
  int passed_ = 0, failed_ = 0;
};

/// A suite that the program runs by its name: `test::suite const s{"monarch_f32", run};` at namespace scope.
struct suite {
  char const* name;
  void (*run)(reporter&);
  suite* next;
  suite(char const* n, void (*r)(reporter&));
};

/// Whether f throws an E whose text has every one of the words.
template <class E, class F>
smx::testing::verdict throws(F const& f, std::initializer_list<char const*> words) {
  try {
    f();
  } catch (E const& e) {
    for (char const* word : words)
      if (std::string(e.what()).find(word) == std::string::npos)
        return smx::testing::text("no '%s' in: %s", word, e.what());
    return smx::testing::holds;
  }
  return smx::testing::text("did not throw");
}

/// Empty, or why no GPU can be used. It is what makes the tests skip.
std::string missing_device();

/// Before the first suite.
void prepare();

}  // namespace test
