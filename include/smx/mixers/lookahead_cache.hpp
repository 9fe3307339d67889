// SPDX-License-Identifier: Apache-2.0
/// \file  Keys and values of rows that come in any order, for queries that look ahead: what an attention
/// layer of a streaming_session keeps.
#pragma once

#include <smx/mixers/attention.hpp>
#include <smx/mixers/row_layer.hpp>

namespace smx {

/// A layer puts the keys and values of rows in `take`, and answers queries in `run`; projections, residuals
/// and the lookaheads are its own.
template <Compute T, class S> class lookahead_cache {
 public:
  lookahead_cache() = default;
  /// For k (B,Hkv,capacity,D) and v (B,Hkv,capacity,E).
  template <class B>
  lookahead_cache(B& be, extents<4> const& k, extents<4> const& v) : k_(be.memory(), k), v_(be.memory(), v) {
    expects_extents("lookahead_cache: v", v, {k[0], k[1], k[2], -1});
  }

  /// k (B,Hkv,n,D) and v (B,Hkv,n,E) of rows first .. first + n - 1.
  template <class B> void put(B& be, index_t first, in<B, T, 4> k, in<B, T, 4> v) {
    index_t const n = k.ext[2];
    expects_value(first >= 0 && first + n <= k_.extents()[2], "lookahead_cache: rows",
                  "within the capacity; end", first + n);
    be.copy(k, slice(k_.view(), 2, first, n));
    be.copy(v, slice(v_.view(), 2, first, n));
  }

  /// y (B,Hq,n,E) = softmax attention of the queries q (B,Hq,n,D) of `rows`; scale 0: 1 / sqrt(D).
  template <class B>
  void answer(B& be, row_block const& rows, std::type_identity_t<T> scale, in<B, T, 4> q,
              out<B, T, 4> y) const {
    using mixer = attention<T, lookahead_mask>;
    auto const known = [&](auto const& cache) { return slice(cache.cview(), 2, 0, rows.known); };
    mixer{.scale = scale, .mask = rows.mask()}.forward(be, {}, inputs_in<mixer, B>{q, known(k_), known(v_)},
                                                       {}, y);
  }

  std::size_t bytes() const { return k_.bytes() + v_.bytes(); }

 private:
  tensor<T, 4, S> k_, v_;
};

}  // namespace smx
