// SPDX-License-Identifier: Apache-2.0
// What a mixer costs is known before it runs: plans of several mixers at one size, and a block of exactly the
// planned workspace in which one of them runs.
#include <smx/smx.hpp>

#include <cstdio>

#include <smx/backend/cpu.hpp>

using serial_cpu = smx::cpu_backend<smx::serial_pool>;

// A caller's block, aligned as workspaces are.
struct block {
  explicit block(std::size_t bytes)
      : memory(smx::extents<1>{static_cast<smx::index_t>(bytes)}), size(bytes) {}
  smx::workspace<smx::host_space> workspace() { return {memory.data(), size}; }

  smx::tensor<std::byte, 1> memory;
  std::size_t size;
};

int main() {
  constexpr smx::index_t length = 4096, channels = 64;
  smx::extents<4> const x_ext{1, 1, length, channels};  // (B,H,L,D)
  serial_cpu const cpu;

  // Nothing of this runs: extents in, costs out. Scratch does not grow with L^2, not even attention's.
  std::printf("L = %lld, D = %lld, one thread\n", static_cast<long long>(length),
              static_cast<long long>(channels));
  std::printf("%-18s %14s %14s %14s %18s\n", "", "forward GFLOP", "weights MB", "workspace MB",
              "with backward MB");
  auto const row = [](smx::plan_report const& p) {
    auto const mb = [](std::size_t bytes) { return static_cast<double>(bytes) * 1e-6; };
    std::printf("%-18s %14.3f %14.3f %14.3f %18.3f\n", p.mixer.c_str(), p.forward.flops * 1e-9, mb(p.weights),
                mb(p.forward.workspace), mb(p.training.workspace));
  };
  smx::monarch<float> const monarch{.length = length, .order = 2};
  row(smx::plan(cpu, monarch, x_ext));
  row(smx::plan(cpu, smx::long_convolution<float>{.channels = channels, .taps = length}, x_ext));
  row(smx::plan(cpu, smx::attention<float, smx::causal_mask>{}, x_ext, x_ext, x_ext));
  row(smx::plan(cpu, smx::attention<float>{}, x_ext, x_ext, x_ext));
  row(smx::plan(cpu, smx::dense<float>{.length = length}, x_ext));

  // The number is exact. A backend that is given a block takes no other memory for scratch ...
  std::size_t const planned = smx::plan(cpu, monarch, x_ext).forward.workspace;
  block enough(planned);
  serial_cpu in_block(enough.workspace());
  auto const w = smx::initialize(in_block, monarch, /*seed*/ 1);
  auto const x = smx::random_normal<float>(in_block, {1, 1, length, channels}, /*seed*/ 2);
  smx::forward(in_block, monarch, w, x);
  std::printf("\nplanned %zu bytes of workspace, used %zu\n", planned, in_block.workspace_bytes());
  if (in_block.workspace_bytes() != planned) return 1;

  // ... and one grain less is an error that says so, not an overrun.
  block too_small(planned - smx::memory_alignment);
  serial_cpu in_small(too_small.workspace());
  try {
    smx::forward(in_small, monarch, w, x);
  } catch (smx::precondition_error const& e) {
    std::printf("a block of %zu bytes: %s\n", too_small.size, e.what());
    return 0;
  }
  return 1;
}
