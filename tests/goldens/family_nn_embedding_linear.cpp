// SPDX-License-Identifier: Apache-2.0
/// \file  nn_embedding_linear: torch's Embedding, a Linear on its rows, and the tied projection x weight^T.
#include <smx/mixers/parameters.hpp>
#include <smx/nn/embedding.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {
namespace {

struct embedding_linear_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    index_t const rows = g.size_option("V"), d = g.size_option("d"), out = g.size_option("out"),
                  batch = g.size_option("b"), n = g.size_option("n"), all = batch * n;
    using layer = smx::embedding<T>;
    layer e{.rows = rows, .channels = d};
    auto const table = load<T>(be, g, "w.emb.weight", extents<2>{rows, d});
    auto const ids = load<index_t>(be, g, "in.ids", extents<2>{batch, n});
    smx::weights_in<layer, B> w;
    w.weight = table;

    smx::tensor<T, 4, smx::space_t<B>> x(be.memory(), {batch, 1, n, d}), dx(be.memory(), {batch, 1, n, d});
    e.forward(be, w, ids, x.view());
    be.synchronize();
    c.check("out.x", x);

    using smx::op;
    auto const as_rows = [&](auto const& t) { return matrix(t, all, d); };
    auto const weight = load<T>(be, g, "w.lin.weight", extents<4>{1, 1, out, d});
    auto const bias = load<T>(be, g, "w.lin.bias", extents<1>{out});
    auto const r = load<T>(be, g, "in.r", extents<4>{1, 1, all, out});
    auto const r_tied = load<T>(be, g, "in.r_y_tied", extents<4>{1, 1, all, rows});
    auto const tied = smx::broadcast_axis(smx::broadcast_axis(table.cview(), 0, 1), 0, 1);
    smx::tensor<T, 4, smx::space_t<B>> y(be.memory(), {1, 1, all, out}),
        y_tied(be.memory(), {1, 1, all, rows}), dweight(be.memory(), {1, 1, out, d}),
        dbias(be.memory(), {1, 1, out, 1});
    be.map(smx::identity{}, y.view(),
           smx::broadcast_axis(smx::broadcast_axis(smx::broadcast_axis(bias.cview(), 0, all), 0, 1), 0, 1));
    be.gemm(op::none, op::transpose, T(1), as_rows(x.cview()), weight.cview(), T(1), y.view());
    be.gemm(op::none, op::transpose, T(1), as_rows(x.cview()), tied, T(0), y_tied.view());
    be.synchronize();
    c.check("out.y", y);
    c.check("out.y_tied", y_tied);

    smx::parameters<layer, B> dw(be, e), dw_pad(be, e);
    auto const dtable = [](auto& p) {
      return smx::broadcast_axis(smx::broadcast_axis(p.write().weight, 0, 1), 0, 1);
    };
    be.gemm(op::transpose, op::none, T(1), r.cview(), as_rows(x.cview()), T(0), dweight.view());
    be.reduce(smx::reduction::sum, smx::swap_axes(r.cview(), 2, 3), T(0), dbias.view());
    be.gemm(op::none, op::none, T(1), r.cview(), weight.cview(), T(0), as_rows(dx.view()));
    be.gemm(op::none, op::none, T(1), r_tied.cview(), tied, T(1), as_rows(dx.view()));
    be.gemm(op::transpose, op::none, T(1), r_tied.cview(), as_rows(x.cview()), T(0), dtable(dw));
    e.backward(be, ids, dx.cview(), dw.write());
    // the gradient with padding is that of the linear branch alone
    e.padding_row = g.file().read<std::int64_t>("in.padding_idx").at(0);
    be.gemm(op::none, op::none, T(1), r.cview(), weight.cview(), T(0), as_rows(dx.view()));
    e.backward(be, ids, dx.cview(), dw_pad.write());
    be.synchronize();
    c.check("grad.lin.weight", dweight);
    c.check("grad.lin.bias", dbias);
    c.check("grad.emb.weight", dw.read().weight);
    c.check("grad_pad.emb.weight", dw_pad.read().weight);
  }

 private:
  template <class U, class S> static auto matrix(smx::view<U, 4, S> const& v, index_t rows, index_t columns) {
    return smx::view<U, 4, S>(v.ptr, {1, 1, rows, columns});
  }
};

}  // namespace

family family_nn_embedding_linear() { return make_family<embedding_linear_family>("nn_embedding_linear"); }

}  // namespace goldens
