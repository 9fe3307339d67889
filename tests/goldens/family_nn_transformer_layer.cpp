// SPDX-License-Identifier: Apache-2.0
/// \file  nn_transformer_layer: self-attention and an MLP, each in a residual connection with a layer norm in
/// front (norm_first) or behind; under a causal mask (out.y) and without (out.y_full).
#include <smx/mixers/run.hpp>
#include <smx/nn/mlp.hpp>
#include <smx/nn/residual.hpp>
#include <smx/nn/self_attention.hpp>
#include <smx/nn/sequential.hpp>
#include <tests/goldens/family.hpp>
#include <tests/goldens/sums.hpp>

namespace goldens {
namespace {

/// The reference's name of a weight of the block.
std::string reference_name(std::string const& name) {
  static std::map<std::string, std::string> const names{
      {"first.norm.weight", "norm1.weight"},
      {"first.norm.bias", "norm1.bias"},
      {"first.inner.qkv.weight", "self_attn.in_proj_weight"},
      {"first.inner.qkv.bias", "self_attn.in_proj_bias"},
      {"first.inner.out.weight", "self_attn.out_proj.weight"},
      {"first.inner.out.bias", "self_attn.out_proj.bias"},
      {"second.norm.weight", "norm2.weight"},
      {"second.norm.bias", "norm2.bias"},
      {"second.inner.up.weight", "linear1.weight"},
      {"second.inner.up.bias", "linear1.bias"},
      {"second.inner.down.weight", "linear2.weight"},
      {"second.inner.down.bias", "linear2.bias"}};
  return names.at(name);
}

struct nn_transformer_layer_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    std::string const act = g.option("activation", std::string("gelu"));
    if (act != "gelu" && act != "relu") g.fail("config: 'activation': expected gelu or relu");
    bool const gelu = act == "gelu";
    if (g.option("norm_first", false))
      gelu ? with<T, smx::norm_placement::pre, smx::gelu_erf_activation>(be, g, c)
           : with<T, smx::norm_placement::pre, smx::relu_activation>(be, g, c);
    else
      gelu ? with<T, smx::norm_placement::post, smx::gelu_erf_activation>(be, g, c)
           : with<T, smx::norm_placement::post, smx::relu_activation>(be, g, c);
  }

 private:
  template <class T, smx::norm_placement Place, class Act, class B>
  static void with(B& be, golden const& g, comparison& c) {
    gradient_sums<T> sums;
    run<T, Place, Act, smx::causal_mask>(be, g, c, sums, "out.y", "in.r");
    run<T, Place, Act, smx::full_mask>(be, g, c, sums, "out.y_full", "in.r_y_full");
    sums.check(c);
  }

  template <class T, smx::norm_placement Place, class Act, class Mask, class B>
  static void run(B& be, golden const& g, comparison& c, gradient_sums<T>& sums, char const* result,
                  char const* upstream) {
    if (!g.contains(result)) return;
    auto const [batch, length, channels] = g.extents_of<3>("in.x").n;
    extents<4> const e{batch, 1, length, channels};
    double const eps = g.option("eps", 1e-5);
    using attend = smx::residual<smx::self_attention<T, Mask>, Place>;
    using feed = smx::residual<smx::mlp<T, smx::linear<T>, Act>, Place>;
    using block = smx::sequential<attend, feed>;
    block mix;
    index_t const ff = g.extents_of<2>("w.linear1.weight")[0];
    mix.first.inner.channels = channels;
    mix.first.inner.heads = g.size_option("heads");
    mix.first.inner.bias = g.contains("w.self_attn.in_proj_bias");
    mix.second.inner.up = {.channels = channels, .output_channels = ff, .bias = g.contains("w.linear1.bias")};
    mix.second.inner.down = {
        .channels = ff, .output_channels = channels, .bias = g.contains("w.linear2.bias")};
    mix.first.norm = {.channels = channels, .eps = eps, .bias = g.contains("w.norm1.bias")};
    mix.second.norm = {.channels = channels, .eps = eps, .bias = g.contains("w.norm2.bias")};
    smx::parameters<block, B> w(be, mix);
    mix.for_each_weight(
        [&](auto const& info, auto const& to) {
          be.copy(load<T>(be, g, "w." + reference_name(info.name), info.ext).cview(), to);
          be.synchronize();
        },
        w.write());
    auto const x = load<T>(be, g, "in.x", e);
    c.check(result, smx::forward(be, mix, w, x));
    auto const d = smx::gradients(be, mix, w, x, load<T>(be, g, upstream, e));
    sums.add("grad.in.x", d.x);
    mix.for_each_weight(
        [&](auto const& info, auto const& one) { sums.add("grad." + reference_name(info.name), one); },
        d.w.read());
  }
};

}  // namespace

family family_nn_transformer_layer() {
  return make_family<nn_transformer_layer_family>("nn_transformer_layer");
}

}  // namespace goldens
