// SPDX-License-Identifier: Apache-2.0
/// \file  Layers for sessions: h + attention of three projections of h, with given lookaheads; and a product.
#pragma once

#include <vector>

#include <smx/mixers/lookahead_cache.hpp>
#include <smx/mixers/row_layer.hpp>

namespace test {

/// How often each row came to a layer, and was computed by it.
struct row_counts {
  std::vector<int> taken, run;
};

/// y = x + softmax(x W0 (x W1)^T / sqrt(D)) x W2, row t over j <= t + ahead[t].
template <class S> struct lookahead_layer {
  using scalar = double;
  smx::view<double const, 4, S> w;  // (1,3,D,D)
  std::vector<smx::index_t> ahead;
  row_counts* counts = nullptr;
  smx::lookahead_cache<double, S> cache = {};

  lookahead_layer(smx::view<double const, 4, S> weights, std::vector<smx::index_t> how,
                  row_counts* to = nullptr)
      : w(weights), ahead(std::move(how)), counts(to) {}
  lookahead_layer(lookahead_layer const& other) : lookahead_layer(other.w, other.ahead, other.counts) {}
  lookahead_layer(lookahead_layer&&) = default;

  template <class B, class X> auto projected(B& be, X x, smx::index_t which) const {
    auto const y = be.template scratch<double>(x.ext);
    be.gemm(smx::op::none, smx::op::none, 1.0, x, slice(w, 1, which, 1), 0.0, y);
    return smx::as_input(y);
  }

  smx::extents<4> output_extents(smx::extents<4> const& e) const { return e; }
  template <class B> void begin(B& be, smx::extents<4> const& e) {
    cache = smx::lookahead_cache<double, S>(be, e, e);
    if (counts != nullptr) {
      counts->taken.assign(static_cast<std::size_t>(e[2]), 0);
      counts->run = counts->taken;
    }
  }
  template <class B>
  void take(B& be, smx::index_t first, smx::in<B, double, 4> x,
            smx::view<smx::index_t, 1, smx::host_space> to) {
    cache.put(be, first, projected(be, x, 1), projected(be, x, 2));
    for (smx::index_t t = 0; t < x.ext[2]; ++t) {
      auto const row = static_cast<std::size_t>(first + t);
      to(t) = ahead[row];
      if (counts != nullptr) ++counts->taken[row];
    }
  }
  template <class B>
  void run(B& be, smx::row_block const& rows, smx::in<B, double, 4> x, smx::out<B, double, 4> y) {
    cache.answer(be, rows, 0, projected(be, x, 0), y);
    be.map(smx::add{}, y, smx::as_input(y), x);
    for (smx::index_t t = 0; t < x.ext[2] && counts != nullptr; ++t)
      ++counts->run[static_cast<std::size_t>(rows.first + t)];
  }
};

/// The same layer on a whole sequence at once, by attention itself.
template <class B>
smx::tensor<double, 4> whole(B& be, smx::tensor<double, 4> const& w, std::vector<smx::index_t> const& ahead,
                             smx::tensor<double, 4> const& x) {
  auto frame = be.scope();
  lookahead_layer<smx::host_space> const layer(w.cview(), ahead);
  smx::attention<double, smx::lookahead_mask> const mix{
      .mask = {{ahead.data(), smx::extents<2>{1, static_cast<smx::index_t>(ahead.size())}}}};
  smx::tensor<double, 4> y(x.extents());
  mix.forward(be, {},
              {layer.projected(be, x.cview(), 0), layer.projected(be, x.cview(), 1),
               layer.projected(be, x.cview(), 2)},
              {}, y.view());
  be.map(smx::add{}, y.view(), y.cview(), x.cview());
  return y;
}

/// y = x W or x W^T, row by row: no row waits for another.
struct product_layer {
  using scalar = double;
  smx::view<double const, 4, smx::host_space> w;  // (1,1,D,E)
  bool transposed = false;

  smx::extents<4> output_extents(smx::extents<4> e) const {
    e[3] = w.ext[transposed ? 2 : 3];
    return e;
  }
  template <class B> void begin(B&, smx::extents<4> const&) {}
  template <class B>
  void take(B&, smx::index_t, smx::in<B, double, 4> x,
            smx::view<smx::index_t, 1, smx::host_space> ahead) const {
    for (smx::index_t t = 0; t < x.ext[2]; ++t) ahead(t) = std::numeric_limits<smx::index_t>::min();
  }
  template <class B>
  void run(B& be, smx::row_block const&, smx::in<B, double, 4> x, smx::out<B, double, 4> y) const {
    be.gemm(smx::op::none, transposed ? smx::op::transpose : smx::op::none, 1.0, x, w, 0.0, y);
  }
};

}  // namespace test
