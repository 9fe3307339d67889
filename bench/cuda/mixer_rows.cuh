// SPDX-License-Identifier: Apache-2.0
/// \file  Rows of a mixer on the GPU: forward, forward + backward, step; with and without tuned kernels.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include <bench/cuda/work.hpp>
#include <bench/mixer_work.hpp>
#include <bench/step_work.hpp>
#include <smx/backend/cuda.cuh>
#include <smx/testing/untuned.hpp>

namespace bench {

using smx::cuda_operands;

/// cuda, cuda-recipe, cuda-bf16, ...
inline std::string backend_name(bool tuned, cuda_operands how) {
  std::string name = tuned ? "cuda" : "cuda-recipe";
  if (how == cuda_operands::tf32) name += "-tf32";
  if (how == cuda_operands::bf16) name += "-bf16";
  if (how == cuda_operands::f16) name += "-f16";
  return name;
}

/// first, first * factor, ... up to last.
inline std::vector<index_t> powers(index_t first, index_t last, index_t factor = 2) {
  std::vector<index_t> out;
  for (index_t n = first; n <= last; n *= factor) out.push_back(n);
  return out;
}
inline constexpr index_t longest = index_t{1} << 20;
/// Of the curves that are not the goals': every second power of two.
inline std::vector<index_t> sparse_lengths(index_t last = longest) { return powers(1024, last, 4); }

/// The backend with its tuned kernels, or without.
template <bool Tuned>
using gpu = std::conditional_t<Tuned, smx::cuda_backend, smx::testing::untuned<smx::cuda_backend&>>;
template <bool Tuned>
using gpu_planner = std::conditional_t<Tuned, smx::plan_backend<smx::cuda_backend>, smx::plan_backend<>>;

/// What the planner needs to know of this machine's GPU; without one, of an H200.
inline smx::tiling planner_options() {
  static smx::tiling const how = [] {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0) return smx::cuda_backend().how();
    return smx::tiling{.slab_bytes = smx::cuda_options{}.slab_bytes};
  }();
  return how;
}

/// A backend and some buffer sets of one row. Work: mixer_work or step_work.
template <bool Tuned, class Work> struct gpu_stage {
  smx::cuda_backend device;
  gpu<Tuned>* be = nullptr;
  std::unique_ptr<gpu<Tuned>> wrapper;
  std::vector<std::unique_ptr<Work>> sets;

  explicit gpu_stage(smx::cuda_options const& how) : device(how) {
    if constexpr (Tuned) {
      be = &device;
    } else {
      wrapper = std::make_unique<gpu<Tuned>>(device);
      be = wrapper.get();
    }
  }
  template <class... A> void add(A const&... a) {
    sets.push_back(std::make_unique<Work>(*be, a...));
    sets.back()->fill(*be);
    sets.back()->prepare(*be);
  }
};

template <class Stage> gpu_work work_of(std::shared_ptr<Stage> const& s) {
  s->device.synchronize();
  gpu_work out;
  out.stream = s->device.stream();
  out.sets = static_cast<int>(s->sets.size());
  out.call = [s](int set) { s->sets[static_cast<std::size_t>(set)]->enqueue(*s->be); };
  out.launches = [s] { return s->device.launches(); };
  return out;
}

inline costs costs_of(smx::cost const& c, std::size_t tensors) {
  return {c.flops, c.bytes, static_cast<double>(c.workspace), static_cast<double>(tensors),
          static_cast<double>(c.launches)};
}

template <bool Tuned, class M>
void add_row(std::vector<gpu_row>& rows, std::string const& mixer, std::string const& variant, index_t length,
             index_t dim, job<M> const& what, cuda_operands how = cuda_operands::f32) {
  gpu_row r;
  r.name = gpu_row_name(mixer, variant, what.which == pass::forward ? "forward" : "forward+backward",
                        backend_name(Tuned, how), length);
  r.length = r.tokens = length;
  r.dim = dim;
  r.plan = [what] {
    using planner = gpu_planner<Tuned>;
    planner before(planner_options()), during(planner_options());
    mixer_work<M, planner> work(before, what);
    work.prepare(before);
    work.enqueue(during);
    return costs_of(during.result(), work.tensor_bytes());
  };
  r.prepare = [what, how](int sets) {
    using work = mixer_work<M, gpu<Tuned>>;
    auto const s = std::make_shared<gpu_stage<Tuned, work>>(smx::cuda_options{.operands = how});
    for (int n = 0; n < sets; ++n) s->add(what);
    return work_of(s);
  };
  rows.push_back(std::move(r));
}

/// Forward, or forward + backward, with tuned kernels and as the recipe.
template <class M>
void add_both(std::vector<gpu_row>& rows, std::string const& mixer, std::string const& variant,
              index_t length, index_t dim, job<M> const& what, cuda_operands how = cuda_operands::f32) {
  add_row<true>(rows, mixer, variant, length, dim, what, how);
  add_row<false>(rows, mixer, variant, length, dim, what, how);
}

/// A token after `length` of them.
template <bool Tuned, class M>
void add_step(std::vector<gpu_row>& rows, std::string const& mixer, std::string const& variant,
              index_t length, index_t dim, M const& what, std::vector<smx::extents<4>> const& inputs) {
  gpu_row r;
  r.name = gpu_row_name(mixer, variant, "step", backend_name(Tuned, cuda_operands::f32), length);
  r.length = length;
  r.tokens = step_tokens;
  r.dim = dim;
  // What one call costs is the second one's, which is counted; scratch is the most that any of them takes.
  auto const plan = [what, inputs] {
    using planner = gpu_planner<Tuned>;
    planner before(planner_options()), others(planner_options()), counted(planner_options());
    step_work<M, planner> work(before, what, inputs);
    work.prepare(before);
    for (index_t n = 0; n < step_calls; ++n) work.enqueue(n == 1 ? counted : others);
    costs c = costs_of(counted.result(), work.tensor_bytes());
    c.workspace = std::max(c.workspace, static_cast<double>(others.workspace_bytes()));
    return c;
  };
  r.plan = plan;
  r.prepare = [what, inputs, plan](int) {
    using work = step_work<M, gpu<Tuned>>;
    auto const s = std::make_shared<gpu_stage<Tuned, work>>(smx::cuda_options{});
    s->add(what, inputs);
    // Later tokens may take more scratch than earlier ones, and nothing may be allocated while a graph is
    // captured.
    constexpr double pointers = 1 << 20;  // of batched products, which the plan of a recipe does not know
    s->device.reserve(static_cast<std::size_t>(plan().workspace + pointers));
    gpu_work out = work_of(s);
    out.calls = step_calls;
    return out;
  };
  rows.push_back(std::move(r));
}

}  // namespace bench
