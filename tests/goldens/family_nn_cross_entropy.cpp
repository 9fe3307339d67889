// SPDX-License-Identifier: Apache-2.0
/// \file  nn_cross_entropy: torch's cross_entropy with ignored targets, label smoothing and class weights.
#include <cmath>
#include <limits>

#include <smx/nn/cross_entropy.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {
namespace {

struct cross_entropy_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    index_t const n = g.size_option("N"), classes = g.size_option("C");
    double const smoothing = g.option("label_smoothing", 0.0);
    smx::cross_entropy<T> const plain{.ignore_index = g.option<index_t>("ignore_index", -100)};
    auto const logits = load<T>(be, g, "in.logits", extents<2>{n, classes});
    auto const targets = load<index_t>(be, g, "in.target", extents<1>{n});
    auto const weight = load<T>(be, g, "in.weight", extents<1>{classes});
    smx::tensor<T, 1, smx::space_t<B>> rows(be.memory(), {n}), loss(be.memory(), {1});
    smx::tensor<T, 2, smx::space_t<B>> dlogits(be.memory(), {n, classes});
    auto const run = [&](smx::cross_entropy<T> const& f, smx::in<B, T, 1> w) {
      f.forward_backward(be, w, logits, targets, 1, rows.view(), loss.view(), dlogits.view());
      be.synchronize();
    };
    auto const check = [&](std::string const& name, double e, smx::loss_reduction how, bool weighted) {
      auto f = plain;
      f.label_smoothing = e;
      f.reduce = how;
      run(f, weighted ? weight.cview() : smx::in<B, T, 1>{});
      c.check("out." + name, loss);
      c.check("grad_" + name + ".logits", dlogits);
    };
    using enum smx::loss_reduction;
    check("mean", 0, mean, false);
    check("ls_mean", smoothing, mean, false);
    check("w_mean", 0, mean, true);
    check("wls_mean", smoothing, mean, true);
    check("ls_sum", smoothing, sum, false);
    c.check("out.ls_none", rows);
    c.check("grad_ls_none.logits", dlogits);
    check("sum", 0, sum, false);
    c.check("out.none", rows);
    c.check("grad_none.logits", dlogits);

    c.leave_out("out.soft_mean");  // targets that are probabilities are no part of smx
    check_images(be, g, c, plain);

    std::vector<index_t> const ignored(static_cast<std::size_t>(n), plain.ignore_index);
    plain.forward(be, {}, logits, upload<index_t>(be, ignored, extents<1>{n}), {}, loss.view());
    be.synchronize();
    double const mean_of_none = static_cast<double>(elements(loss.cview()).at(0));
    c.check("out.all_ignored_mean_is_nan", std::vector<double>{std::isnan(mean_of_none) ? 1.0 : 0.0});
  }

 private:
  /// Logits (b,C,L) are rows of a strided view; the gradient goes the way back.
  template <class T, class B>
  static void check_images(B& be, golden const& g, comparison& c, smx::cross_entropy<T> const& f) {
    if (!g.contains("in.logits_nd")) return;
    auto const logits = load<T, 3>(be, g, "in.logits_nd");
    auto const [batch, classes, length] = logits.extents().n;
    auto const targets = load<index_t>(be, g, "in.target_nd", extents<1>{batch * length});
    smx::tensor<T, 3, smx::space_t<B>> z(be.memory(), {batch, length, classes}),
        dlogits(be.memory(), logits.extents());
    smx::tensor<T, 1, smx::space_t<B>> loss(be.memory(), {1});
    smx::view<T, 2, smx::space_t<B>> const rows(z.data(), {batch * length, classes});
    be.copy(smx::swap_axes(logits.cview(), 1, 2), z.view());
    f.forward_backward(be, {}, rows, targets, 1, {}, loss.view(), rows);
    be.copy(smx::swap_axes(z.cview(), 1, 2), dlogits.view());
    be.synchronize();
    c.check("out.nd_mean", loss);
    c.check("grad_nd_mean.logits_nd", dlogits);
  }
};

}  // namespace

family family_nn_cross_entropy() { return make_family<cross_entropy_family>("nn_cross_entropy"); }

}  // namespace goldens
