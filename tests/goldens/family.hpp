// SPDX-License-Identifier: Apache-2.0
/// \file  A family of golden files and the programs that recompute them.
///
/// To add a family, add family_NAME.cpp with one function `goldens::family family_NAME()`; the build collects
/// these files.
#pragma once

#include <string>
#include <vector>

#include <goldens_backends.hpp>
#include <tests/goldens/comparison.hpp>
#include <tests/goldens/golden.hpp>

namespace goldens {

/// One way to recompute a file.
struct run {
  std::string backend, dtype;
  void (*compute)(golden const&, comparison&);
};

struct family {
  std::string name;  ///< `family` in the metadata
  std::vector<run> runs;
};

/// All families, in the order of their files.
std::vector<family> all_families();

namespace detail {
template <class F, class Make, class T> void compute(golden const& g, comparison& c) {
  auto be = Make()();
  F::template compute<T>(be, g, c);
}
}  // namespace detail

/// F: `template <class T, class B> static void compute(B& be, golden const&, comparison&)`.
template <class F> family make_family(std::string name) {
  family made{std::move(name), {}};
  for_each_backend([&]<class Make>(char const* backend, Make const&) {
    made.runs.push_back({backend, "f64", &detail::compute<F, Make, double>});
    made.runs.push_back({backend, "f32", &detail::compute<F, Make, float>});
  });
  return made;
}

}  // namespace goldens
