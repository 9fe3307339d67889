// SPDX-License-Identifier: Apache-2.0
/// \file  Order-2 Monarch product along the channels, y = x M^T for row-major tokens: the structured linear
/// layer.
///
/// Panels of tokens are transposed through registers, so that tokens become the vector direction, and the two
/// fused stages of monarch_kernel.hpp run on the panel in L2. The two transpositions cost about a tenth of
/// the flops at 4096 channels. Tapes hold the features as rows, (k*q, tokens): the layout of the weight
/// gradients.
///
/// Backward: monarch_channels_backward_input() gives dx and records dy and du with the features as rows; then
/// monarch_backward_w2() with those records and the tape gives dw2, monarch_channels_backward_w1() gives dw1.
/// Every entry of a weight gradient is one chain of multiply-adds in the order of the tokens, so that a long
/// sequence of tokens may be processed in slices (the records cost 4 (2 k*q + out_length) bytes a token)
/// without changing a bit.
///
/// The bits of a token do not depend on which tokens are computed with it.
#pragma once

#include <algorithm>

#include <smx/backend/cpu/monarch_backward_kernel.hpp>
#include <smx/backend/cpu/monarch_kernel.hpp>
#include <smx/backend/cpu/transpose.hpp>
#include <smx/core/extents.hpp>
#include <smx/core/op.hpp>

namespace smx::cpu_kernels::inline SMX_CPU_ABI {

namespace detail {
/// Copies a panel of scratch, rows x columns, to where its rows are ld apart.
template <class T> void copy_panel(index_t rows, index_t columns, T const* panel, T* to, index_t ld) {
  constexpr index_t wide = panel_columns<T>;
  bool const past = columns == wide && store_beyond(to, ld, rows);
  for (index_t r = 0; r < rows; ++r) {
    if (past)
      for (index_t j = 0; j < wide; j += lanes<T>)
        store_past_cache(to + r * ld + j, load(panel + r * wide + j));
    else
      std::copy_n(panel + r * wide, columns, to + r * ld);
  }
}
}  // namespace detail

/// Elements of T that the products along channels need as scratch, aligned to a cache line.
template <class T> constexpr index_t monarch_channels_scratch(monarch_sizes const& z) {
  return monarch_scratch<T>(z) + std::max(z.in_length, z.out_length) * panel_columns<T>;
}

/// Rows t0..t1 of y. x is (tokens, in_length), y is (tokens, out_length). tape, if not null, receives u as
/// (k*q, tokens). Threads may take disjoint ranges of tokens; whole multiples of panel_columns<T> are best.
template <class T>
void monarch_channels_forward(monarch_sizes const& z, index_t t0, index_t t1, T const* w1, T const* w2,
                              T const* x, index_t ldx, T* y, index_t ldy, T* tape, index_t ldtape,
                              T* scratch) {
  constexpr index_t wide = panel_columns<T>;
  T* const turned = scratch + monarch_scratch<T>(z);
  bool const past = vector_bytes == 64 && detail::store_beyond(y, ldy, t1 - t0);
  for (index_t t = t0; t < t1; t += wide) {
    index_t const w = std::min(wide, t1 - t);
    transpose(w, z.in_length, x + t * ldx, ldx, turned, wide);
    detail::monarch_stages<T, layout::rows>(
        0, w, {detail::monarch_in(z), turned, wide, w1, z.q * z.p, z.p}, detail::monarch_middle_low(z),
        tape != nullptr ? tape + t : nullptr, ldtape, detail::monarch_middle_high(z),
        {detail::monarch_out(z), turned, wide, w2, z.s * z.r, z.r}, false, scratch);
    transpose(z.out_length, w, turned, wide, y + t * ldy, ldy, T(1), past);
  }
  settle_stores();
}

/// Rows t0..t1 of dx. dy is (tokens, out_length), dx is (tokens, in_length); dy_record receives dy as
/// (out_length, tokens), du the gradient of the middle factor as (k*q, tokens); either may be null.
template <class T>
void monarch_channels_backward_input(monarch_sizes const& z, index_t t0, index_t t1, T const* w1, T const* w2,
                                     T const* dy, index_t lddy, T* dx, index_t lddx, T* dy_record,
                                     index_t ldrecord, T* du, index_t lddu, T* scratch) {
  constexpr index_t wide = panel_columns<T>;
  T* const turned = scratch + monarch_scratch<T>(z);
  bool const past = vector_bytes == 64 && detail::store_beyond(dx, lddx, t1 - t0);
  for (index_t t = t0; t < t1; t += wide) {
    index_t const w = std::min(wide, t1 - t);
    transpose(w, z.out_length, dy + t * lddy, lddy, turned, wide);
    if (dy_record != nullptr) detail::copy_panel(z.out_length, w, turned, dy_record + t, ldrecord);
    detail::monarch_stages<T, layout::cols>(
        0, w, {detail::monarch_out(z), turned, wide, w2, z.s * z.r, z.r}, detail::monarch_middle_high(z),
        du != nullptr ? du + t : nullptr, lddu, detail::monarch_middle_low(z),
        {detail::monarch_in(z), turned, wide, w1, z.q * z.p, z.p}, false, scratch);
    transpose(z.in_length, w, turned, wide, dx + t * lddx, lddx, T(1), past);
  }
  settle_stores();
}

/// Blocks k0..k1 of dw1 += du x over all tokens. x is (tokens, in_length), du is (k*q, tokens).
/// scratch: monarch_weights_scratch<T>(tokens) elements.
template <class T>
void monarch_channels_backward_w1(monarch_sizes const& z, index_t k0, index_t k1, index_t tokens, T const* x,
                                  index_t ldx, T const* du, index_t lddu, T* dw1, T* scratch) {
  bool const far = detail::out_of_cache<T>(z.in_length, tokens);
  for (index_t k = k0; k < k1; ++k) {
    T const *const a = du + k * z.q * lddu, *const b = x + k * z.p;
    index_t const to_next = k + 1 < k1 ? 1 : 0;
    detail::add_outer(op::none, z.q, detail::monarch_in(z).rows(k), tokens, a, lddu, b, ldx,
                      dw1 + k * z.q * z.p, z.p, a + to_next * z.q * lddu, b + to_next * z.p, far, scratch);
  }
}

}  // namespace smx::cpu_kernels::inline SMX_CPU_ABI
