// SPDX-License-Identifier: Apache-2.0
// One function, run by four backends: on all cores, by the double-precision reference, by the planner, which
// computes nothing, and by a tracer around the CPU. Mixers are written against what a backend is, so swapping
// it changes one line.
#include <smx/smx.hpp>

#include <cmath>
#include <cstdio>

#include <smx/backend/cpu.hpp>
#include <smx/backend/traced.hpp>

// Knows nothing about its backend; seeds give the same numbers on each of them. With `magnitudes` it mixes
// |x| by |M|: what rounding errors are measured against.
template <class B> auto mix_a_sequence(B& be, bool magnitudes = false) {
  smx::monarch<float> const mix{.length = 1024, .order = 2};
  auto const absolute = [&](auto const& v) {
    if (magnitudes) be.map([](float f) { return std::fabs(f); }, v, smx::as_input(v));
  };
  auto w = smx::initialize(be, mix, /*seed*/ 1);
  auto x = smx::random_normal<float>(be, {1, 1, 1024, 48}, /*seed*/ 2);  // (B,H,L,D)
  absolute(w.all());
  absolute(x.view());
  return smx::forward(be, mix, w, x);  // (B,H,L,D)
}

int main() {
  smx::cpu cpu;
  smx::reference_backend reference;
  auto const y = mix_a_sequence(cpu);
  auto const y_reference = mix_a_sequence(reference);
  auto const size = mix_a_sequence(reference, true);

  // 1024 = 32 x 32: an entry is a sum of 32 sums of 32 products, so |error| <= 64 u |M||x| on each side.
  double worst = 0;
  for (smx::index_t i = 0; i < y.size(); ++i) {
    double const error =
        std::fabs(static_cast<double>(y.data()[i]) - static_cast<double>(y_reference.data()[i]));
    worst = std::fmax(worst, error / (2 * 64 * 0x1p-24 * static_cast<double>(size.data()[i])));
  }
  std::printf("cpu, %d threads, against the reference: largest difference %.3f of the rounding bound\n",
              cpu.threads(), worst);

  // The planner runs the same function as shapes. It is told how the CPU cuts its work, so that it runs the
  // CPU's tuned kernels and knows the workspace to the byte. (smx::plan(be, mix, x.extents()) is the short
  // way.)
  smx::plan_backend<smx::cpu> shapes(cpu.how());
  mix_a_sequence(shapes);
  smx::cost const cost = shapes.result();
  std::printf("planned: %.3g MFLOP, %.3g MB moved, %zu bytes of workspace\n", cost.flops * 1e-6,
              cost.bytes * 1e-6, cost.workspace);
  std::printf("used by cpu:                               %zu bytes of workspace\n", cpu.workspace_bytes());

  // The tracer gives the same bits and writes down every primitive and kernel: open trace.json in
  // https://ui.perfetto.dev.
  smx::traced<smx::cpu> traced;
  auto const y_traced = mix_a_sequence(traced);
  traced.write_chrome_trace("trace.json");
  std::printf("\n%s\nwritten to trace.json\n", traced.summary().c_str());

  bool same_bits = true;
  for (smx::index_t i = 0; i < y.size(); ++i) same_bits = same_bits && y.data()[i] == y_traced.data()[i];
  return worst <= 1 && cost.workspace == cpu.workspace_bytes() && same_bits ? 0 : 1;
}
