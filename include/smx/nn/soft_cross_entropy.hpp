// SPDX-License-Identifier: Apache-2.0
/// \file  Cross entropy of rows of logits z (N,C) with probabilities q (N,C) as targets (distillation, mixed
/// images), and its gradient.
///
///   loss_i = sum_c q_c (lse_i - z_ic),   lse_i = log sum_c exp z_ic
///
/// As torch, the rows of q need not sum to 1, and the mean divides by N. An entry of q that is 0 does not see
/// its logit, which may be -inf. 7 N C flops and O(N) memory beside logits, targets and gradient.
#pragma once

#include <smx/nn/cross_entropy.hpp>

namespace smx {

namespace nn::detail {

/// lse and sum_qz are those of z less the row's maximum.
struct soft_row_loss {
  template <class T> SMX_HD constexpr T operator()(T lse, T mass, T sum_qz) const {
    return lse * mass - sum_qz;
  }
};
template <class T> struct soft_logit_gradient {
  T factor;
  SMX_HD constexpr T operator()(T p, T mass, T q) const { return factor * (p * mass - q); }
};

}  // namespace nn::detail

/// Shapes: logits, targets (N,C), row_losses (N) or empty, loss (1), dlogits (N,C), which may be the logits
/// themselves. Throws precondition_error for other extents or a last axis that is not contiguous.
template <Compute T> struct soft_cross_entropy {
  using scalar = T;

  loss_reduction reduce = loss_reduction::mean;
  friend bool operator==(soft_cross_entropy const&, soft_cross_entropy const&) = default;

  /// The loss, and dlogits = scale times its derivative.
  template <class B>
  void forward_backward(B& be, in<B, T, 2> logits, in<B, T, 2> targets, double scale, out<B, T, 1> row_losses,
                        out<B, T, 1> loss, out<B, T, 2> dlogits) const {
    using namespace nn::detail;
    check(logits, targets, row_losses, loss, dlogits);
    index_t const n = logits.ext[0], classes = logits.ext[1];
    double const share = reduce == loss_reduction::mean ? 1 / static_cast<double>(n) : 1;
    auto frame = be.scope();
    auto const losses = row_losses.size() != 0 ? row_losses : be.template scratch<T>(extents<1>{n});
    be.tiles(n, static_cast<std::size_t>(classes) * sizeof(T), [&](auto& sub, index_t first, index_t count) {
      auto const z = slice(logits, 0, first, count), q = slice(targets, 0, first, count);
      auto const work = slice(dlogits, 0, first, count);
      auto const column = [&] { return sub.template scratch<T>(extents<1>{count}); };
      auto const top = column(), lse = column(), mass = column(), sum_qz = column();
      sub.reduce(reduction::max, matrix(z), T(0), as_column(top));
      sub.map(subtract{}, work, z, across(as_input(top), classes));
      // row by row: terms without probability are left out
      sub.gemm_select(op::none, op::transpose, T(1), each_row(q), each_row(as_input(work)), T(0),
                      each_row(broadcast_axis(sum_qz, 1, 1)));
      sub.reduce(reduction::sum, matrix(q), T(0), as_column(mass));
      sub.softmax(full_mask{}, score_origin{}, matrix(as_input(work)), matrix(work), as_column(lse));
      sub.map(soft_row_loss{}, slice(losses, 0, first, count), as_input(lse), as_input(mass),
              as_input(sum_qz));
      sub.map(soft_logit_gradient<T>{static_cast<T>(scale * share)}, work, as_input(work),
              across(as_input(mass), classes), q);
    });
    be.reduce(reduction::sum, as_matrix_row(as_input(losses)), T(0), as_column(loss));
    be.map(scale_by<T>{static_cast<T>(share)}, loss, as_input(loss));
  }

 private:
  template <class Z, class Y, class D>
  void check(Z const& logits, Z const& targets, Y const& row_losses, Y const& loss, D const& dlogits) const {
    expects_extents("soft_cross_entropy: logits", logits.ext, {-1, -1});
    expects_extents("soft_cross_entropy: targets", targets.ext, logits.ext);
    expects_extents("soft_cross_entropy: dlogits", dlogits.ext, logits.ext);
    expects_contiguous_rows("soft_cross_entropy: logits", logits);
    expects_contiguous_rows("soft_cross_entropy: targets", targets);
    expects_contiguous_rows("soft_cross_entropy: dlogits", dlogits);
    if (row_losses.size() != 0)
      expects_extents("soft_cross_entropy: row_losses", row_losses.ext, {logits.ext[0]});
    expects_extents("soft_cross_entropy: loss", loss.ext, {1});
    bool const same = logits.ptr == dlogits.ptr && logits.str == dlogits.str;
    expects(same || !overlaps(logits, dlogits),
            "soft_cross_entropy: dlogits: expected the logits or memory apart from them, got an overlap");
    expects(!overlaps(targets, dlogits),
            "soft_cross_entropy: dlogits: expected memory apart from the targets, got an overlap");
  }
  /// Rows as matrices of one row: (1,N,1,C).
  template <class U, class S> static auto each_row(view<U, 2, S> const& v) {
    return broadcast_axis(broadcast_axis(v, 1, 1), 0, 1);
  }
};

}  // namespace smx
