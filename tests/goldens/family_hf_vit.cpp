// SPDX-License-Identifier: Apache-2.0
/// \file  hf_vit: a whole vision transformer with its classifier, weights under the names of published
/// checkpoints. Gradients are those of sum(out.logits in.r).
#include <tuple>

#include <smx/backend/reference.hpp>
#include <smx/mixers/run.hpp>
#include <smx/models/vit_checkpoint.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {
namespace {

struct hf_vit_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    std::string const act = json(g).value("hidden_act", std::string("gelu"));
    if (act == "gelu")
      run<T, smx::gelu_erf_activation>(be, g, c);
    else if (act == "gelu_new" || act == "gelu_pytorch_tanh" || act == "gelu_fast")
      run<T, smx::gelu_tanh_activation>(be, g, c);
    else if (act == "relu")
      run<T, smx::relu_activation>(be, g, c);
    else if (act == "silu" || act == "swish")
      run<T, smx::silu_activation>(be, g, c);
    else
      g.fail("config: 'hidden_act': unknown activation '" + act + "'");
  }

 private:
  template <class T, class Act, class B> static void run(B& be, golden const& g, comparison& c) {
    using block = smx::vit_softmax_block<T, smx::linear<T>, Act>;
    using model = smx::vit<block>;
    model const m = smx::make_vit<block>(sizes(g));
    bool const qkv_bias = g.option("qkv_bias", true);

    smx::reference_backend host;
    smx::parameters_in<model, smx::host_space> on_host(host, m);
    smx::checkpoint_reader reader(g.file(), {"w.vit.", "w."});
    smx::read_hf_vit<Act, T>(m, qkv_bias, reader, on_host.write());
    reader.finish();
    smx::parameters<model, B> w(be, m), dw(be, m);
    transfer<smx::space_t<B>>::in(w.all().ptr, on_host.all().ptr, w.bytes());

    auto const x = load<T, 4>(be, g, "in.pixel_values");
    auto const r = load<T, 2>(be, g, "in.r");
    smx::inputs_in<model, B> const in{x.cview()};
    extents<4> const e = m.output_extents(in);
    g.expect_extents("in.r", extents<2>{e[0], e[3]});
    smx::tensor<T, 4, smx::space_t<B>> y(be.memory(), e), dx(be.memory(), x.extents());
    smx::in<B, T, 4> const dy(r.data(), e);
    auto frame = be.scope();
    auto const tape = m.make_tape(be, in);
    m.forward(be, w.read(), in, tape, y.view());
    m.backward(be, w.read(), in, tape, dy, dw.write(), {dx.view()});
    be.synchronize();

    c.check("out.logits", y);
    c.check("out.last_hidden_state", tape.h);
    c.check("grad.in.pixel_values", dx);
    smx::for_each_hf_vit_tensor<Act, T>(
        m, qkv_bias,
        [&](std::string const& name, auto const& d) {
          c.check("grad." + name, d);
          c.check("grad.vit." + name, d);
        },
        dw.write());
  }

  static nlohmann::json json(golden const& g) { return nlohmann::json::parse(g.text("config")); }
  /// One size for both axes, or a list of two.
  static std::pair<index_t, index_t> pair(golden const& g, char const* key) {
    if (!json(g)[key].is_array()) return {g.size_option(key), g.size_option(key)};
    std::vector<index_t> const both = g.sizes_option(key);
    if (both.size() != 2) g.fail(std::string("config: '") + key + "': expected one size or two");
    return {both[0], both[1]};
  }
  static smx::vit_sizes sizes(golden const& g) {
    smx::vit_sizes s;
    std::tie(s.image_height, s.image_width) = pair(g, "image_size");
    std::tie(s.patch_height, s.patch_width) = pair(g, "patch_size");
    s.image_channels = g.size_option("num_channels");
    s.channels = g.size_option("hidden_size");
    s.depth = g.size_option("num_hidden_layers");
    s.heads = g.size_option("num_attention_heads");
    s.mlp_channels = g.size_option("intermediate_size");
    s.classes = g.extents_of<2>("w.classifier.weight")[0];
    s.eps = g.option("layer_norm_eps", 1e-12);
    return s;
  }
};

}  // namespace

family family_hf_vit() { return make_family<hf_vit_family>("hf_vit"); }

}  // namespace goldens
