// SPDX-License-Identifier: Apache-2.0
/// \file  Attention that breaks the definition of a cross pattern on request: what the suite must notice.
#pragma once

#include "tests/conformance/cases/attention.hpp"

namespace test {

enum class cross_flaw : char { none, pools_queries, reads_later_queries, one_length };

template <cross_flaw Broken> struct cross_toy : smx::attention<double> {
  using base = smx::attention<double>;

  template <class B>
  void forward(B& be, weights<smx::reads<B>> const& w, inputs<smx::reads<B>> const& given,
               tape<smx::writes<B>> const& t, smx::out<B, double, 4> y) const {
    auto x = given;
    if (Broken == cross_flaw::one_length && x.k.ext[2] > x.q.ext[2])  // as if source and queries were one
      x.k = slice(x.k, 2, 0, x.q.ext[2]), x.v = slice(x.v, 2, 0, x.q.ext[2]);
    base::forward(be, w, x, t, y);
    index_t const last = x.q.ext[2] - 1;
    be.kernel("pool", {}, [&] {
      smx::loops::for_each_index(y.ext, [&](smx::extents<4> const& i) {
        double const other = x.q(i[0], i[1], last, 0);
        if (Broken == cross_flaw::pools_queries) smx::loops::at(y, i) += 1e-3 * other;
        if (Broken == cross_flaw::reads_later_queries) smx::loops::at(y, i) += 0 * other;
      });
    });
  }

 private:
  using index_t = smx::index_t;
};

}  // namespace test

template <test::cross_flaw Broken> struct smx::testing::cases<test::cross_toy<Broken>> {
  using M = test::cross_toy<Broken>;
  using base = cases<attention<double>>;
  static std::vector<example<M>> examples() { return {{{}, base::shapes(1, 2, 1, 7, 11, 3, 4)}}; }
  static example<M> sized(index_t n) { return {{}, base::shapes(1, 1, 1, n, n, 1, 1)}; }
  static void oracle(M const& m, host_weights<M> const& w, host_inputs<M> const& x,
                     view<double, 4, host_space> y, view<double, 4, host_space> bound) {
    base::oracle(m, w, x, y, bound);
  }
};
