// SPDX-License-Identifier: Apache-2.0
/// \file  nn_attention: softmax attention (b,h,n,d) with shared key heads: as it is, with a scale, causal
/// from the first key on whatever the lengths, under a mask (not 0: visible; an empty row gives 0), with an
/// array added to the scores.
#include <tests/goldens/attention_with_bias.hpp>
#include <tests/goldens/sums.hpp>

namespace goldens {
namespace {

struct nn_attention_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    auto const q = load<T, 4>(be, g, "in.q"), k = load<T, 4>(be, g, "in.k"), v = load<T, 4>(be, g, "in.v");
    extents<4> const scores{q.extents()[0], q.extents()[1], q.extents()[2], k.extents()[2]};
    index_t const keys = scores[3];
    gradient_sums<T> sums;
    auto const run = [&](std::string const& name, T scale, auto const& visible, smx::in<B, T, 4> bias) {
      if (!g.contains("out." + name)) return;
      auto const table = shared(marks(scores, visible));
      auto const dy = load<T, 4>(be, g, name == "y" ? std::string("in.r") : "in.r_" + name);
      attention_with_bias<T, B> const found(be, scale, {table.data(), row_major(scores)}, q, k, v, bias, dy);
      c.check("out." + name, found.y);
      sums.add("grad.in.q", found.dq);
      sums.add("grad.in.k", found.dk);
      sums.add("grad.in.v", found.dv);
      if (bias.size() != 0) sums.add("grad.in.float_mask", found.dbias);
    };
    auto const all = [](index_t, index_t, index_t, index_t) { return true; };
    run("y", T(0), all, {});
    run("y_scale", static_cast<T>(g.option("scale", 0.0)), all, {});
    run("y_causal", T(0), [](index_t, index_t, index_t i, index_t j) { return j <= i; }, {});
    if (g.contains("in.bool_mask")) {
      g.expect_extents("in.bool_mask", extents<2>{scores[2], keys});
      auto const given = g.file().read<double>("in.bool_mask");
      run("y_bool", T(0),
          [&](index_t, index_t, index_t i, index_t j) {
            return given[static_cast<std::size_t>(i * keys + j)] != 0;
          },
          {});
    }
    if (g.contains("in.float_mask")) {
      g.expect_extents("in.float_mask", extents<2>{scores[2], keys});
      auto const [bias, shown] = bias_of<T>(be, g, "in.float_mask");
      run(
          "y_float", T(0),
          [&, &seen = shown](index_t, index_t, index_t i, index_t j) {
            return seen[static_cast<std::size_t>(i * keys + j)] != 0;
          },
          bias);
    }
    sums.check(c);
  }
};

}  // namespace

family family_nn_attention() { return make_family<nn_attention_family>("nn_attention"); }

}  // namespace goldens
