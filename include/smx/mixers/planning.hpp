// SPDX-License-Identifier: Apache-2.0
/// \file  plan(mixer, extents): flops, bytes, workspace and launches of a mixer before anything runs, by
/// running its own code
///        on a backend that only counts.
#pragma once

#include <cstdio>
#include <string>

#include <smx/backend/plan.hpp>
#include <smx/mixers/run.hpp>

namespace smx {

/// What a mixer will cost. Sizes in bytes.
struct plan_report {
  std::string mixer, backend;
  cost forward;   ///< without a tape, as for inference
  cost training;  ///< forward with a tape, and backward, in one frame
  std::size_t weights = 0, inputs = 0, outputs = 0;

  std::string text() const {
    auto const line = [](char const* what, cost const& c) {
      char row[160];
      std::snprintf(row, sizeof row,
                    "  %-18s %10.4g GFLOP %10.4g MB moved %10.4g MB workspace %6lld launches\n", what,
                    c.flops * 1e-9, c.bytes * 1e-6, static_cast<double>(c.workspace) * 1e-6,
                    static_cast<long long>(c.launches));
      return std::string(row);
    };
    char head[200];
    std::snprintf(head, sizeof head, "plan of %s on %s: weights %.4g MB, inputs %.4g MB, output %.4g MB\n",
                  mixer.c_str(), backend.c_str(), static_cast<double>(weights) * 1e-6,
                  static_cast<double>(inputs) * 1e-6, static_cast<double>(outputs) * 1e-6);
    return head + line("forward", forward) + line("forward, backward", training);
  }
  /// Prints text(); any standard stream.
  template <class Stream>
  requires requires { typename Stream::traits_type; }
  friend Stream& operator<<(Stream& to, plan_report const& p) {
    to << p.text();
    return to;
  }
};

namespace detail {

template <class Plan, class M, int R, std::size_t N>
plan_report run_plan(tiling const& how, char const* backend, M const& m, extents<R> const (&ext)[N]) {
  using T = typename M::scalar;
  static_assert(R == 4, "plan: inputs have four axes, (B,H,L,D)");
  inputs_in<M, Plan> x;
  inputs_out<M, Plan> dx;
  plan_report report;
  std::size_t next = 0;
  M::for_each_input(
      [&](char const* name, auto& read, auto& written) {
        if (next >= N) return;
        extents<R> const& given = ext[next++];
        if (given == extents<R>{}) return;
        read = {nullptr, given};
        written = {nullptr, given};
        report.inputs += checked_bytes<T>(given, name);
      },
      x, dx);
  expects_value(next == N, "plan", "no more extents than the mixer has inputs", static_cast<index_t>(N));
  weights_in<M, Plan> w;
  weights_out<M, Plan> dw;
  m.for_each_weight(
      [&](auto const& info, auto& read, auto& written) {
        read = {nullptr, info.ext};
        written = {nullptr, info.ext};
        report.weights += checked_bytes<T>(info.ext, info.name);
      },
      w, dw);
  extents<4> const out_ext = m.output_extents(x);
  view<T, 4, meta_space> const y(nullptr, out_ext);
  report.outputs = checked_bytes<T>(out_ext, "output");
  report.mixer = std::string(M::about.name);
  report.backend = backend;
  {
    Plan be(how);
    auto frame = be.scope();
    m.forward(be, w, x, tape_of<M, Plan>{}, y);
    report.forward = be.result();
  }
  {
    Plan be(how);
    auto frame = be.scope();
    auto const tape = m.make_tape(be, x);
    m.forward(be, w, x, tape, y);
    m.backward(be, w, x, tape, y, dw, dx);
    report.training = be.result();
  }
  return report;
}

}  // namespace detail

/// The plan of the recipe, whatever the backend: plan(mix, x.extents()), plan(attention, q.extents(),
/// k.extents(), v.extents()). Extents of zeros leave an optional input out.
template <MixerValue M, class... E> plan_report plan(M const& m, E const&... ext) {
  extents<4> const all[] = {ext...};
  return detail::run_plan<plan_backend<>>(tiling{}, "any backend (the recipe)", m, all);
}

/// The plan of what backend `be` runs: its tuned kernels, its tiles, its threads. The workspace is exact,
/// byte for byte.
template <class B, MixerValue M, class... E>
requires requires(B const& be) { be.how(); }
plan_report plan(B const& be, M const& m, E const&... ext) {
  extents<4> const all[] = {ext...};
  return detail::run_plan<plan_backend<typename B::target>>(be.how(), be.name(), m, all);
}

}  // namespace smx
