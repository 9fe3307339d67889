// SPDX-License-Identifier: Apache-2.0
/// \file  Rows of a benchmark binary: what to time, what it costs by plan, and how Google Benchmark runs it.
///
/// A row is named mixer/variant/pass/backend:threads/L:N. Its memory exists and one call has warmed up before
/// the clock starts; wall-clock time. Options of every binary: --threads N (the second thread count beside 1;
/// 0: all cores), --plan (one line of JSON a row: name and costs, nothing runs), and those of Google
/// Benchmark.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <smx/core/extents.hpp>

namespace bench {

using smx::index_t;

/// What one call costs, by plan. tensors: bytes of everything that is not scratch: inputs, outputs, weights,
/// what forward keeps for backward, gradients. launches: primitives and kernels.
struct costs {
  double flops = 0, bytes = 0, workspace = 0, tensors = 0, launches = 0;
};

struct row {
  std::string name;
  index_t length = 0, dim = 0;
  std::function<costs()> plan;
  std::function<std::function<void()>()>
      prepare;  ///< allocates; the function that it returns is what is timed
};

/// "monarch/order-2/forward/cpu:1/L:4096"
inline std::string row_name(std::string const& mixer, std::string const& variant, std::string const& pass,
                            int threads, index_t length) {
  return mixer + "/" + variant + "/" + pass + "/cpu:" + std::to_string(threads) +
         "/L:" + std::to_string(length);
}

/// The lengths of every curve: powers of two, and three that are none.
inline std::vector<index_t> curve_lengths() {
  return {128, 256, 512, 1000, 1024, 2048, 3000, 4096, 8192, 10007, 16384, 32768};
}

/// Channels of every curve (attention: 12 heads of 64).
inline constexpr index_t curve_dim = 768;

/// The thread counts that rows are made for: 1 and `most`.
inline std::vector<int> thread_counts(int most) {
  return most > 1 ? std::vector<int>{1, most} : std::vector<int>{1};
}

/// main() of a benchmark binary: `make(threads)` lists its rows.
int run_rows(int argc, char** argv, std::function<std::vector<row>(int threads)> const& make);

}  // namespace bench
