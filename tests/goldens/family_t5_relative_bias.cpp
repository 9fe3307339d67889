// SPDX-License-Identifier: Apache-2.0
/// \file  hf_t5: the relative bias of a whole model's encoder (both directions) and decoder (backwards only).
/// The
///        rest of the model is not a mixer's.
///
/// The bias is read back from attention with queries of 0 over unit values: y_ij = exp(bias_ij - lse_i).
#include <cmath>

#include <smx/mixers/attention.hpp>
#include <smx/mixers/merge.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {

namespace {

struct t5_relative_bias_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    for (auto const& name : g.file().names())
      if (name.starts_with("out.") || name.starts_with("grad.")) c.leave_out(name);
    check<T>(be, g, c, "encoder", true);
    check<T>(be, g, c, "decoder", false);
  }

 private:
  template <class T, class B>
  static void check(B& be, golden const& g, comparison& c, std::string const& stack, bool bidirectional) {
    std::string const result = "mid." + stack + "_position_bias";
    auto const [heads, queries, keys] = g.extents_of<3>(result).n;
    smx::relative_buckets const buckets{g.size_option("relative_attention_num_buckets"),
                                        g.size_option("relative_attention_max_distance"), bidirectional};
    auto const table =
        load<T>(be, g, "w." + stack + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                extents<2>{buckets.count, heads});
    using mixer = smx::attention<T, smx::full_mask, smx::modified_scores>;
    mixer const mix{.scores = {.relative = buckets, .heads = heads}};
    smx::weights_in<mixer, B> w;
    w.table = table;
    smx::tensor<T, 4, smx::space_t<B>> const q(be.memory(), extents<4>{1, heads, queries, 1}),
        k(be.memory(), extents<4>{1, 1, keys, 1});
    std::vector<T> identity(static_cast<std::size_t>(keys * keys));
    for (index_t j = 0; j < keys; ++j) identity[static_cast<std::size_t>(j * (keys + 1))] = 1;
    auto const part =
        smx::partial_attention(be, mix, w, q, k, upload<T>(be, identity, extents<4>{1, 1, keys, keys}));
    std::vector<T> bias;
    for (index_t h = 0; h < heads; ++h)
      for (index_t i = 0; i < queries; ++i)
        for (index_t j = 0; j < keys; ++j)
          bias.push_back(std::log(part.y.cview()(0, h, i, j)) + part.lse.cview()(0, h, i, 0));
    c.check(result, bias);
  }
};

}  // namespace

family family_t5_relative_bias() { return make_family<t5_relative_bias_family>("hf_t5"); }

}  // namespace goldens
