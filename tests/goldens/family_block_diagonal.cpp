// SPDX-License-Identifier: Apache-2.0
/// \file  block_diagonal: y = diag(W_1, ..., W_G) x + bias on the last axis; weight (G,out,in).
///
/// An input that is shorter than G in is padded with zeros at its end, then (`shuffle`) index g C + c moves
/// to c G + g; an output that is shorter than G out is cut.
#include <smx/mixers/block_diagonal.hpp>
#include <smx/mixers/run.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {
namespace {

struct block_diagonal_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    auto const weight = load<T, 3>(be, g, "w.weight");
    auto const [blocks, block_out, block_in] = weight.extents().n;
    // Without a config of a linear layer the sizes are those of the weight.
    index_t const channels = g.option("in_features", blocks * block_in);
    index_t const outputs = g.option("out_features", blocks * block_out);
    using mixer = smx::block_diagonal<T>;
    mixer const mix{.channels = channels,
                    .output_channels = outputs,
                    .blocks = blocks,
                    .bias = g.contains("w.bias"),
                    .shuffle = g.option("shuffle", false)};
    if (channels < 1 || outputs < 1 || mix.block_in() != block_in || mix.block_out() != block_out)
      g.fail("w.weight does not fit in_features and out_features");
    smx::weights_in<mixer, B> w;
    w.weight = weight;
    auto const bias =
        mix.bias ? load<T>(be, g, "w.bias", extents<1>{outputs}) : smx::tensor<T, 1, smx::space_t<B>>();
    if (mix.bias) w.bias = bias;

    index_t const rows = g.vectors("in.x", channels);
    auto const x = load<T>(be, g, "in.x", extents<4>{1, 1, rows, channels});
    auto const dy = load<T>(be, g, "in.r", extents<4>{1, 1, rows, outputs});
    c.check("out.y", smx::forward(be, mix, w, x));
    auto const d = smx::gradients(be, mix, w, x, dy);
    c.check("grad.in.x", d.x);
    c.check("grad.weight", d.w.read().weight);
    if (mix.bias) c.check("grad.bias", d.w.read().bias);
    if (g.contains("out.dense_weight")) check_dense(be, g, c, mix, w);
  }

 private:
  /// The matrix without the bias, a row for each output: its transpose is the layer applied to the unit
  /// vectors.
  template <class T, class B>
  static void check_dense(B& be, golden const& g, comparison& c, smx::block_diagonal<T> mix,
                          smx::weights_in<smx::block_diagonal<T>, B> const& w) {
    index_t const n = mix.channels;
    if (g.vectors("out.dense_weight", n) != mix.output())
      g.fail("tensor 'out.dense_weight': expected (out, in)");
    std::vector<T> identity(static_cast<std::size_t>(n * n));
    for (index_t i = 0; i < n; ++i) identity[static_cast<std::size_t>(i * (n + 1))] = 1;
    mix.bias = false;
    auto const columns = smx::forward(be, mix, w, upload<T>(be, identity, extents<4>{1, 1, n, n}));
    c.check("out.dense_weight", smx::swap_axes(columns.cview(), 2, 3));
  }
};

}  // namespace

family family_block_diagonal() { return make_family<block_diagonal_family>("block_diagonal"); }

}  // namespace goldens
