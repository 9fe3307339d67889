// SPDX-License-Identifier: Apache-2.0
/// \file  Prints the table of mixers, patterns and backends for README.md, from the traits and the concepts:
/// what it says is what compiles.
#include <smx/smx.hpp>

#include <cstdio>
#include <string>

#include <smx/backend/cpu.hpp>
#include <smx/backend/cuda.cuh>
#include <smx/backend/traced.hpp>

namespace {

using smx::pattern;

template <class M, class B> void add_backend(std::string& to, char const* name) {
  if (!smx::Mixer<M, B>) return;
  if (!to.empty()) to += ", ";
  to += name;
  if (M::about.streaming && !smx::StreamingMixer<M, B>) to += " (no stream)";
}

std::string growth(double exponent) {
  if (exponent == 1) return "L";
  char text[24];
  std::snprintf(text, sizeof text, "L^%g", exponent);
  return text;
}

template <class M> void row(char const* type) {
  constexpr smx::traits about = M::about;
  auto const pattern_cell = [](bool yes) { return yes ? "yes" : "-"; };
  char const* const causality = about.causality == smx::causality::none    ? "-"
                                : about.causality == smx::causality::exact ? "exact"
                                                                           : "rounding";
  std::string streaming = about.streaming ? "yes" : "-";
  if (about.streaming && about.truncates) streaming += ", truncates";
  if (about.streaming && about.evicts) streaming += ", evicts";
  std::string backends;
  add_backend<M, smx::cpu>(backends, "cpu");
  add_backend<M, smx::cuda>(backends, "cuda");
  add_backend<M, smx::reference_backend>(backends, "reference");
  add_backend<M, smx::plan_backend<>>(backends, "plan");
  add_backend<M, smx::traced<smx::cpu>>(backends, "traced");
  std::printf("| `%s` | %s | %s | %s | %s | %s | %s | %s | %s |\n", type,
              about.pointwise ? "channels only" : pattern_cell(smx::supports<M, pattern::noncausal_self>),
              pattern_cell(smx::supports<M, pattern::causal_self>),
              pattern_cell(smx::supports<M, pattern::noncausal_cross>),
              pattern_cell(smx::supports<M, pattern::causal_cross>),
              about.pointwise ? "row by row" : causality, streaming.c_str(),
              growth(about.flops_exponent).c_str(), backends.c_str());
}

}  // namespace

int main() {
  using T = float;
  std::puts(
      "| mixer | self | causal self | cross | causal cross | causality | token by token | flops grow as | "
      "backends |");
  std::puts("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
  row<smx::monarch<T>>("monarch<T>");
  row<smx::block_diagonal<T>>("block_diagonal<T>");
  row<smx::long_convolution<T>>("long_convolution<T>");
  using kind = smx::convolution_kind;
  row<smx::long_convolution<T, kind::causal, smx::evaluation::exact>>("long_convolution<T, causal, exact>");
  row<smx::long_convolution<T, kind::bidirectional>>("long_convolution<T, bidirectional>");
  row<smx::long_convolution<T, kind::circular>>("long_convolution<T, circular>");
  row<smx::causal_monarch<T>>("causal_monarch<T>");
  row<smx::causal_monarch<T, smx::evaluation::exact>>("causal_monarch<T, exact>");
  row<smx::chebyshev_monarch<T>>("chebyshev_monarch<T>");
  row<smx::chebyshev_monarch<T, smx::evaluation::exact>>("chebyshev_monarch<T, exact>");
  row<smx::masked_monarch<T>>("masked_monarch<T>");
  row<smx::attention<T>>("attention<T>");
  row<smx::attention<T, smx::causal_mask>>("attention<T, causal_mask>");
  row<smx::attention<T, smx::window_mask>>("attention<T, window_mask>");
  row<smx::attention<T, smx::packed_mask>>("attention<T, packed_mask>");
  row<smx::attention<T, smx::full_mask, smx::modified_scores>>("attention<T, full_mask, modified_scores>");
  row<smx::attention<T, smx::causal_mask, smx::modified_scores>>(
      "attention<T, causal_mask, modified_scores>");
  row<smx::linear_attention<T>>("linear_attention<T>");
  row<smx::linear_attention<T, smx::decay_kind::head>>("linear_attention<T, head>");
  row<smx::linear_attention<T, smx::decay_kind::token>>("linear_attention<T, token>");
  row<smx::ssd<T>>("ssd<T>");
  row<smx::nc_ssd<T>>("nc_ssd<T>");
  row<smx::dense<T>>("dense<T>");
  row<smx::dense<T, true>>("dense<T, true>");
}
