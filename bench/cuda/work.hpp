// SPDX-License-Identifier: Apache-2.0
/// \file  Rows of the CUDA benchmarks, and how one is timed: a captured graph between two events.
///
/// Names are mixer/variant/pass/backend/L:N. The backends: cuda; cuda-recipe, without tuned kernels; and both
/// with operands of another precision (-tf32, -bf16, -f16). Peers have the name of their library there.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <bench/rows.hpp>

namespace bench {

/// Memory that exists and can be worked on: `call(set)` enqueues the row's work on one of `sets` buffer sets,
/// which take turns so that no set is found in the L2 cache.
struct gpu_work {
  cudaStream_t stream = nullptr;
  int sets = 1;
  std::function<void(int set)> call;
  std::function<index_t()> launches;  ///< primitives and kernels so far; empty: not counted
  index_t calls = INT32_MAX;          ///< at most, warm-up, counting and capture included
  std::string note;                   ///< such as the formulation that a peer found quickest
};

struct gpu_row {
  std::string name;
  index_t length = 0, dim = 0;
  index_t tokens = 0;  ///< that one call moves on by
  std::function<costs()> plan;
  std::function<gpu_work(int sets)> prepare;
};

struct gpu_times {
  std::vector<double> samples_ms;  ///< of a call, from the replays of a graph
  double direct_ms = 0;            ///< of a call that is enqueued one by one; 0: not measured
  double launches = -1;            ///< of a call, as the backend counts; -1: it does not
  double nodes = 0;                ///< kernels, copies and fills of a call, in the graph
};

/// Warms up, captures, and times about `seconds` of replays, in at least 3 samples.
gpu_times time_work(gpu_work const& work, double seconds);

/// Throws with CUDA's text unless the call went well.
inline void expect_success(cudaError_t status, char const* what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

inline std::string gpu_row_name(std::string const& mixer, std::string const& variant, std::string const& pass,
                                std::string const& backend, index_t length) {
  return mixer + "/" + variant + "/" + pass + "/" + backend + "/L:" + std::to_string(length);
}

// One translation unit a mixer, and one for each kind of peer.
void add_attention(std::vector<gpu_row>& rows);
void add_causal_attention(std::vector<gpu_row>& rows);
void add_causal_monarch(std::vector<gpu_row>& rows);
void add_dense(std::vector<gpu_row>& rows);
void add_linear_attention(std::vector<gpu_row>& rows);
void add_long_convolution(std::vector<gpu_row>& rows);
void add_masked_monarch(std::vector<gpu_row>& rows);
void add_monarch(std::vector<gpu_row>& rows);
void add_ssd(std::vector<gpu_row>& rows);
void add_yardsticks(std::vector<gpu_row>& rows);
void add_cufft_peers(std::vector<gpu_row>& rows);

}  // namespace bench
