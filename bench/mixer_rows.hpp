// SPDX-License-Identifier: Apache-2.0
/// \file  Rows of a mixer on the CPU, timed by Google Benchmark.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <bench/mixer_work.hpp>
#include <bench/rows.hpp>
#include <smx/backend/cpu.hpp>

namespace bench {

using cpu = smx::cpu_backend<>;
using cpu_planner = cpu::planner;

template <class M> costs plan_costs(job<M> const& what, int threads) {
  smx::tiling const how{threads, cpu::cache_bytes};
  cpu_planner before(how), during(how);
  mixer_work<M, cpu_planner> work(before, what);
  work.prepare(before);
  work.run(during);
  smx::cost const c = during.result();
  return {c.flops, c.bytes, static_cast<double>(c.workspace), static_cast<double>(work.tensor_bytes()),
          static_cast<double>(c.launches)};
}

/// Adds forward, and forward + backward, for each thread count. `length` and `dim` are what the row says of
/// its work.
template <class M>
void add_rows(std::vector<row>& rows, std::string const& mixer, std::string const& variant, index_t length,
              index_t dim, job<M> what, int threads) {
  for (int t : thread_counts(threads))
    for (pass which : {pass::forward, pass::both}) {
      what.which = which;
      rows.push_back(
          {row_name(mixer, variant, which == pass::forward ? "forward" : "forward+backward", t, length),
           length, dim, [=] { return plan_costs(what, t); },
           [=] {
             struct stage {
               cpu be;
               mixer_work<M, cpu> work;
               stage(int n, job<M> const& j) : be(n), work(be, j) {
                 work.fill(be);
                 work.prepare(be);
               }
             };
             auto const s = std::make_shared<stage>(t, what);
             return [s] { s->work.run(s->be); };
           }});
    }
}

// One translation unit a mixer: kernels make each of them slow to compile.
void add_attention(std::vector<row>& rows, int threads);
void add_causal_monarch(std::vector<row>& rows, int threads);
void add_dense(std::vector<row>& rows, int threads);
void add_monarch(std::vector<row>& rows, int threads);
void add_long_convolution(std::vector<row>& rows, int threads);
void add_ssd(std::vector<row>& rows, int threads);

}  // namespace bench
