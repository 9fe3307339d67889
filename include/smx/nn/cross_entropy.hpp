// SPDX-License-Identifier: Apache-2.0
/// \file  Cross entropy of rows of logits z (N,C) with target classes t (N), and its gradient.
///
///   loss_i = (1 - e) w_t (lse_i - z_it) + e / C sum_c w_c (lse_i - z_ic),   lse_i = log sum_c exp z_ic
///
/// with class weights w (all 1 unless given) and label smoothing e; rows whose target is `ignore_index` count
/// nothing. The mean divides by the sum of w_t over the rows that count, as torch does. All sums run over z
/// less its row's maximum, so a confident row keeps the digits of its small loss. 6 N C flops and O(N) memory
/// beside logits and gradient; the loss alone takes a tile of rows.
#pragma once

#include <concepts>
#include <cstdio>
#include <type_traits>

#include <smx/backend/shapes.hpp>

namespace smx {

enum class loss_reduction : char { mean, sum };

namespace detail {

/// A target as the programs use it: -1 for a row that does not count, and no other is -1.
struct counted_target {
  index_t ignored;
  SMX_HD index_t operator()(index_t t) const { return t == ignored ? -1 : t == -1 ? -2 : t; }
};
/// Where a row's target stands in rows of C entries. A target that is no class stays outside of any array, so
/// that a device reports it.
struct target_place {
  index_t classes;
  SMX_HD index_t operator()(index_t row_begin, index_t t) const {
    return t < 0 && t != -1 ? t : t >= classes ? -1 : row_begin + (t < 0 ? 0 : t);
  }
};
struct class_or_first {
  SMX_HD index_t operator()(index_t t) const { return t == -1 ? 0 : t; }
};
template <class T> struct weight_of_row {
  SMX_HD T operator()(index_t t) const { return t == -1 ? T(0) : T(1); }
  SMX_HD T operator()(index_t t, T w) const { return t == -1 ? T(0) : w; }
};
/// lse and the entries z are those of z less the row's maximum: lse >= 0, z <= 0, nothing cancels.
template <class T> struct row_loss {
  T of_target, of_each;  // 1 - e and e / C
  SMX_HD T operator()(index_t t, T lse, T z, T weight) const {
    return t == -1 ? T(0) : of_target * weight * (lse - z);
  }
  SMX_HD T operator()(index_t t, T lse, T z, T weight, T sum_z, T sum_weights) const {
    return t == -1 ? T(0) : of_target * weight * (lse - z) + of_each * (lse * sum_weights - sum_z);
  }
};
/// The derivative for one logit from its probability; `factor` is the row's share in the loss.
template <class T> struct logit_gradient {
  T of_target, of_each;
  SMX_HD T operator()(T p, T factor, index_t t, index_t column) const {
    return t == -1 ? T(0) : factor * (p - (column == t ? of_target + of_each : of_each));
  }
  SMX_HD T operator()(T p, T factor, index_t t, index_t column, T weight, T sum_weights, T w) const {
    T const hit = of_target * weight;
    return t == -1 ? T(0)
                   : factor * (p * (hit + of_each * sum_weights) - (column == t ? hit : T(0)) - of_each * w);
  }
};
template <class T> struct loss_share {
  T scale;
  SMX_HD T operator()(T count) const { return scale / count; }
};
struct divide {
  template <class T> SMX_HD T operator()(T x, T y) const { return x / y; }
};
struct column_number {
  index_t step;
  SMX_HD index_t operator()(extents<1> const& i) const { return i[0] * step; }
};

}  // namespace detail

/// Shapes: class_weights (C) or empty, logits (N,C), targets (N), row_losses (N) or empty, loss (1), dlogits
/// (N,C), which may be the logits themselves. `loss` is a NaN for the mean over no row, as in torch (ask
/// count_targets first); the gradient of a row that does not count is 0 whatever its logits are. Throws
/// precondition_error for other extents or a last axis that is not contiguous, and for a target that is no
/// class where the host can read it (row and value are named); on a device the next synchronize throws.
template <Compute T> struct cross_entropy {
  using scalar = T;

  index_t ignore_index = -100;
  double label_smoothing = 0;  ///< e, in [0, 1]
  loss_reduction reduce = loss_reduction::mean;
  friend bool operator==(cross_entropy const&, cross_entropy const&) = default;

  /// The number of targets that count. A mean over none of them is not a number.
  index_t count_targets(view<index_t const, 1, host_space> targets) const {
    index_t n = 0;
    for (index_t i = 0; i < targets.ext[0]; ++i) n += targets(i) != ignore_index ? 1 : 0;
    return n;
  }

  template <class B>
  void forward(B& be, in<B, T, 1> class_weights, in<B, T, 2> logits, in<B, index_t, 1> targets,
               out<B, T, 1> row_losses, out<B, T, 1> loss) const {
    run(be, class_weights, logits, targets, T(0), row_losses, loss, out<B, T, 2>{});
  }

  /// forward, and dlogits = scale times the derivative of the loss (scale: 1 / the number of batches whose
  /// gradients are accumulated).
  template <class B>
  void forward_backward(B& be, in<B, T, 1> class_weights, in<B, T, 2> logits, in<B, index_t, 1> targets,
                        double scale, out<B, T, 1> row_losses, out<B, T, 1> loss,
                        out<B, T, 2> dlogits) const {
    expects_extents("cross_entropy: dlogits", dlogits.ext, logits.ext);
    expects_contiguous_rows("cross_entropy: dlogits", dlogits);
    expects_value(dlogits.ext[0] == 1 || dlogits.str[0] >= dlogits.ext[1], "cross_entropy: dlogits",
                  "rows one after the other; stride", dlogits.str[0]);
    bool const same = logits.ptr == dlogits.ptr && logits.str == dlogits.str;
    expects(same || !overlaps(logits, dlogits),
            "cross_entropy: dlogits: expected the logits or memory apart from them, got an overlap");
    run(be, class_weights, logits, targets, static_cast<T>(scale), row_losses, loss, dlogits);
  }

  /// The loss as a number. NaN: the mean over no row.
  template <class B>
  requires std::same_as<space_t<B>, host_space>
  double value(B& be, std::type_identity_t<in<B, T, 2>> logits,
               std::type_identity_t<in<B, index_t, 1>> targets) const {
    T loss = 0;
    forward(be, {}, logits, targets, {}, out<B, T, 1>(&loss, {1}));
    return static_cast<double>(loss);
  }
  /// The loss as a number, and its gradient.
  template <class B>
  requires std::same_as<space_t<B>, host_space>
  double value_and_gradient(B& be, std::type_identity_t<in<B, T, 2>> logits,
                            std::type_identity_t<in<B, index_t, 1>> targets,
                            std::type_identity_t<out<B, T, 2>> dlogits) const {
    T loss = 0;
    forward_backward(be, {}, logits, targets, 1, {}, out<B, T, 1>(&loss, {1}), dlogits);
    return static_cast<double>(loss);
  }

 private:
  /// What the tiles read of the whole: (N) and (1) each.
  template <class B> struct shared {
    out<B, index_t, 1> target;   // -1: does not count
    out<B, T, 1> weight;         // w_t, 0 where it does not count
    out<B, T, 1> sum_weights;    // of all classes
    out<B, T, 1> count, factor;  // sum of w_t; scale, over it for the mean
    out<B, index_t, 1> columns;  // 0 .. C - 1
  };

  template <class B>
  void run(B& be, in<B, T, 1> class_weights, in<B, T, 2> logits, in<B, index_t, 1> targets, T scale,
           out<B, T, 1> row_losses, out<B, T, 1> loss, out<B, T, 2> dlogits) const {
    check(class_weights, logits, targets, row_losses, loss);
    index_t const n = logits.ext[0], classes = logits.ext[1];
    bool const weighted = class_weights.size() != 0, gradient = dlogits.size() != 0;
    auto frame = be.scope();
    shared<B> const s = prepare(be, class_weights, targets, scale, classes, gradient);
    auto const losses = row_losses.size() != 0 ? row_losses : be.template scratch<T>(extents<1>{n});
    be.tiles(n, static_cast<std::size_t>(classes) * sizeof(T), [&](auto& sub, index_t first, index_t count) {
      auto const z = slice(logits, 0, first, count);
      auto const work =
          gradient ? slice(dlogits, 0, first, count) : sub.template scratch<T>(extents<2>{count, classes});
      auto const target = slice(s.target, 0, first, count);
      auto const weight = slice(s.weight, 0, first, count);
      auto const column = [&] { return sub.template scratch<T>(extents<1>{count}); };
      auto const top = column(), lse = column(), of_target = column();
      sub.reduce(reduction::max, matrix(z), T(0), as_column(top));
      sub.map(subtract{}, work, z, across(as_input(top), classes));
      pick(sub, work, target, classes, of_target);
      auto const to = slice(losses, 0, first, count);
      row_loss_of const f{static_cast<T>(1 - label_smoothing),
                          static_cast<T>(label_smoothing / static_cast<double>(classes))};
      out<B, T, 1> sums{};
      if (label_smoothing > 0) {
        sums = column();
        if (weighted)
          sub.gemm(op::none, op::transpose, T(1), matrix(as_input(work)), as_matrix_row(class_weights), T(0),
                   as_column(sums));
        else
          sub.reduce(reduction::sum, matrix(as_input(work)), T(0), as_column(sums));
      }
      sub.softmax(full_mask{}, score_origin{}, matrix(as_input(work)), matrix(work), as_column(lse));
      if (label_smoothing > 0)
        sub.map(f, to, target, lse, of_target, weight, sums, repeated(s.sum_weights, count));
      else
        sub.map(f, to, target, lse, of_target, weight);
      if (!gradient) return;
      detail::logit_gradient<T> const g{f.of_target, f.of_each};
      auto const factor = broadcast_axis(repeated(s.factor, classes), 0, count);
      auto const columns = broadcast_axis(s.columns, 0, count);
      if (weighted)
        sub.map(g, work, as_input(work), factor, across(target, classes), columns, across(weight, classes),
                broadcast_axis(repeated(s.sum_weights, classes), 0, count),
                broadcast_axis(class_weights, 0, count));
      else
        sub.map(g, work, as_input(work), factor, across(target, classes), columns);
    });
    be.reduce(reduction::sum, as_matrix_row(as_input(losses)), T(0), as_column(loss));
    if (reduce == loss_reduction::mean) be.map(detail::divide{}, loss, loss, s.count);
  }

  using row_loss_of = detail::row_loss<T>;

  template <class B>
  shared<B> prepare(B& be, in<B, T, 1> class_weights, in<B, index_t, 1> targets, T scale, index_t classes,
                    bool gradient) const {
    index_t const n = targets.ext[0];
    auto const numbers = [&](index_t size) { return be.template scratch<T>(extents<1>{size}); };
    shared<B> s{
        be.template scratch<index_t>(extents<1>{n}), numbers(n), numbers(1), numbers(1), numbers(1), {}};
    be.map(detail::counted_target{ignore_index}, s.target, targets);
    if (class_weights.size() != 0) {
      auto frame = be.scope();
      auto const row = be.template scratch<index_t>(extents<1>{n});
      be.map(detail::class_or_first{}, row, as_input(s.target));
      be.gather(broadcast_axis(class_weights, 1, 1), as_input(row), broadcast_axis(s.weight, 1, 1));
      be.map(detail::weight_of_row<T>{}, s.weight, as_input(s.target), as_input(s.weight));
      be.reduce(reduction::sum, as_matrix_row(class_weights), T(0), as_column(s.sum_weights));
    } else {
      be.map(detail::weight_of_row<T>{}, s.weight, as_input(s.target));
      be.map(constant<T>{static_cast<T>(classes)}, s.sum_weights);
    }
    be.reduce(reduction::sum, as_matrix_row(as_input(s.weight)), T(0), as_column(s.count));
    if (!gradient) return s;
    if (reduce == loss_reduction::mean)
      be.map(detail::loss_share<T>{scale}, s.factor, as_input(s.count));
    else
      be.map(constant<T>{scale}, s.factor);
    s.columns = be.template scratch<index_t>(extents<1>{classes});
    be.generate(detail::column_number{1}, s.columns);
    return s;
  }

  /// y (n) := the entry of each row of z that is its target; some entry where the row does not count.
  template <class B>
  static void pick(B& be, out<B, T, 2> z, out<B, index_t, 1> target, index_t classes, out<B, T, 1> y) {
    auto const place = be.template scratch<index_t>(extents<1>{z.ext[0]});
    be.generate(detail::column_number{z.str[0]}, place);
    be.map(detail::target_place{classes}, place, as_input(place), as_input(target));
    in<B, T, 2> const entries(z.ptr, {(z.ext[0] - 1) * z.str[0] + classes, 1}, {1, 1});
    be.gather(entries, as_input(place), broadcast_axis(y, 1, 1));
  }

  template <class W, class Z, class I, class Y>
  void check(W const& class_weights, Z const& logits, I const& targets, Y const& row_losses,
             Y const& loss) const {
    expects(label_smoothing >= 0 && label_smoothing <= 1,
            "cross_entropy: label_smoothing: expected a number from 0 to 1");
    expects_extents("cross_entropy: logits", logits.ext, {-1, -1});
    expects_contiguous_rows("cross_entropy: logits", logits);
    index_t const n = logits.ext[0], classes = logits.ext[1];
    expects_extents("cross_entropy: targets", targets.ext, {n});
    if (class_weights.size() != 0) {
      expects_extents("cross_entropy: class_weights", class_weights.ext, {classes});
      expects_contiguous_rows("cross_entropy: class_weights", class_weights);
    }
    if (row_losses.size() != 0) expects_extents("cross_entropy: row_losses", row_losses.ext, {n});
    expects_extents("cross_entropy: loss", loss.ext, {1});
    if constexpr (std::same_as<typename I::space_type, host_space>) {
      for (index_t i = 0; i < n; ++i)
        if (index_t const t = targets(i); t != ignore_index && (t < 0 || t >= classes)) {
          char text[160];
          std::snprintf(text, sizeof text,
                        "cross_entropy: targets(%lld): expected a class, 0 to %lld, or %lld, got %lld",
                        static_cast<long long>(i), static_cast<long long>(classes - 1),
                        static_cast<long long>(ignore_index), static_cast<long long>(t));
          expects(false, text);
        }
    }
  }

  template <class U, class S> static auto matrix(view<U, 2, S> const& v) {
    return broadcast_axis(broadcast_axis(v, 0, 1), 0, 1);  // (1,1,M,N)
  }
  template <class U, class S> static auto as_column(view<U, 1, S> const& v) {
    return matrix(broadcast_axis(v, 1, 1));  // (1,1,N,1)
  }
  template <class U, class S> static auto as_matrix_row(view<U, 1, S> const& v) {
    return matrix(broadcast_axis(v, 0, 1));  // (1,1,1,N)
  }
  /// A number a row for each of `classes` columns.
  template <class U, class S> static auto across(view<U, 1, S> const& v, index_t classes) {
    return broadcast_axis(v, 1, classes);
  }
  /// One number n times.
  template <class U, class S> static auto repeated(view<U, 1, S> v, index_t n) {
    v.ext[0] = n, v.str[0] = 0;
    return v;
  }
};

}  // namespace smx
