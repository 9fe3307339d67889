// SPDX-License-Identifier: Apache-2.0
/// \file  Table look-up: y(b,0,l,:) = weight(ids(b,l),:), and its adjoint; no arithmetic, B L D numbers
/// moved.
///
/// The same table as an output layer (a tied decoder) is a product with it: logits = x weight^T.
#pragma once

#include <concepts>
#include <cstdio>

#include <smx/backend/shapes.hpp>
#include <smx/mixers/concept.hpp>

namespace smx {

/// Shapes: ids (B,L), y (B,1,L,D), weight (rows,D). Ids outside the table throw precondition_error, which
/// names position and value, where the host can read them; on a device the next synchronize throws. Throws
/// precondition_error for other extents.
///
/// The entries start normal with `deviation` (BERT and GPT-2 take 0.02). The row `padding_row` (-1: none)
/// gets no gradient; it starts as the others do until clear_padding_row.
template <Compute T> struct embedding {
  using scalar = T;
  static constexpr traits about{
      .name = "embedding", .causality = causality::exact, .flops_exponent = 1, .pointwise = true};

  index_t rows = 0;      ///< of the table
  index_t channels = 0;  ///< D
  index_t padding_row = -1;
  double deviation = 0.02;
  friend bool operator==(embedding const&, embedding const&) = default;

  template <class A> struct weights {
    array<A, T, 2> weight;  // (rows,D)
  };

  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    check_options();
    f(weight_info<2>{"weight", {rows, channels}, {initializer::law::normal, deviation}}, w.weight...);
  }

  /// Throws unless every id is a row of the table.
  void expects_ids(view<index_t const, 2, host_space> ids, location at = location::here()) const {
    for (index_t b = 0; b < ids.ext[0]; ++b)
      for (index_t l = 0; l < ids.ext[1]; ++l)
        if (index_t const id = ids(b, l); id < 0 || id >= rows) {
          char text[160];
          std::snprintf(text, sizeof text,
                        "embedding: ids(%lld, %lld): expected a row of the table, 0 to %lld, got %lld",
                        static_cast<long long>(b), static_cast<long long>(l),
                        static_cast<long long>(rows - 1), static_cast<long long>(id));
          expects(false, text, at);
        }
  }

  template <class B>
  void forward(B& be, weights<reads<B>> const& w, in<B, index_t, 2> ids, out<B, T, 4> y) const {
    check_options();
    expects_extents("embedding: weight", w.weight.ext, {rows, channels});
    check(ids, "embedding: y", y.ext);
    each_list(ids, y, [&](auto const& list, auto const& to) { be.gather(w.weight, list, to); });
  }

  /// dw.weight(ids(b,l),:) += dy(b,0,l,:), in the order of (b,l).
  template <class B>
  void backward(B& be, in<B, index_t, 2> ids, in<B, T, 4> dy, weights<writes<B>> dw) const {
    check_options();
    expects_extents("embedding: dweight", dw.weight.ext, {rows, channels});
    check(ids, "embedding: dy", dy.ext);
    auto frame = be.scope();
    // The row is kept aside: D numbers, where leaving out its terms would take a copy of dy.
    auto const kept = padding_row < 0 ? out<B, T, 2>{} : be.template scratch<T>(extents<2>{1, channels});
    if (padding_row >= 0) be.copy(as_input(slice(dw.weight, 0, padding_row, 1)), kept);
    each_list(ids, dy, [&](auto const& list, auto const& from) { be.scatter_add(list, from, dw.weight); });
    if (padding_row >= 0) be.copy(as_input(kept), slice(dw.weight, 0, padding_row, 1));
  }

  /// Writes zeros to the padding row, as torch's initialisation does.
  template <class B> void clear_padding_row(B& be, weights<writes<B>> w) const {
    check_options();
    expects_extents("embedding: weight", w.weight.ext, {rows, channels});
    if (padding_row >= 0) be.map(constant<T>{T(0)}, slice(w.weight, 0, padding_row, 1));
  }

 private:
  void check_options() const {
    expects_value(rows >= 1, "embedding: rows", "at least 1", rows);
    expects_value(channels >= 1, "embedding: channels", "at least 1", channels);
    expects_value(padding_row >= -1 && padding_row < rows, "embedding: padding_row",
                  "-1 (none) or a row of the table", padding_row);
    expects(deviation >= 0, "embedding: deviation: expected a number that is not negative");
  }
  template <class I> void check(I const& ids, char const* what, extents<4> const& ext) const {
    expects_extents("embedding: ids", ids.ext, {-1, -1});
    expects_extents(what, ext, {ids.ext[0], 1, ids.ext[1], channels});
    if constexpr (std::same_as<typename I::space_type, host_space>) expects_ids(ids);
  }
  /// f(ids, rows of v) for all at once where both lie one after the other, else sequence by sequence.
  template <class I, class V, class F> static void each_list(I const& ids, V const& v, F const& f) {
    using list = view<index_t const, 1, typename I::space_type>;
    using matrix = view<typename V::element_type, 2, typename V::space_type>;
    if (is_contiguous(ids) && is_contiguous(v))
      return f(list(ids.ptr, {ids.size()}), matrix(v.ptr, {ids.size(), v.ext[3]}));
    for (index_t b = 0; b < ids.ext[0]; ++b) f(fix_axis(ids, 0, b), fix_axis(fix_axis(v, 0, b), 0, 0));
  }
};

}  // namespace smx
