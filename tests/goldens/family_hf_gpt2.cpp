// SPDX-License-Identifier: Apache-2.0
/// \file  hf_gpt2: logits, loss, every gradient, and the logits of a prefill and of single steps behind it.
#include <algorithm>
#include <string>
#include <vector>

#include <smx/backend/reference.hpp>
#include <smx/models/gpt2.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {
namespace {

struct gpt2_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    using model = smx::gpt2<T>;
    expect_supported(g);
    smx::gpt2_sizes sizes{g.size_option("vocab_size"),  g.size_option("n_embd"),
                          g.size_option("n_head"),      g.size_option("n_layer"),
                          g.size_option("n_positions"), g.option("n_inner", index_t{0})};
    sizes.eps = g.option("layer_norm_epsilon", 1e-5);
    sizes.tied = g.option("tie_word_embeddings", true);
    sizes.scaled = g.option("scale_attn_weights", true);
    model const m = smx::make_gpt2<T>(sizes);

    smx::reference_backend here;
    smx::parameters_in<model, smx::host_space> read(here, m);
    smx::read_gpt2(g.file(), m, read, false, {"w.", "w.transformer."});
    smx::parameters<model, B> w(be, m), dw(be, m);
    transfer<smx::space_t<B>>::in(w.all().ptr, read.all().ptr, read.bytes());

    extents<2> const e = g.extents_of<2>("in.input_ids");
    std::vector<index_t> const ids = numbers(g, "in.input_ids");
    auto const input = upload<index_t>(be, ids, e);
    {
      auto frame = be.scope();
      auto const tape = m.make_tape(be, input.cview());
      smx::tensor<T, 4, smx::space_t<B>> logits(be.memory(), m.logit_extents(e)),
          dlogits(be.memory(), m.logit_extents(e));
      smx::tensor<T, 1, smx::space_t<B>> loss(be.memory(), extents<1>{1});
      m.forward(be, w, input.cview(), tape, logits.view());
      c.check("out.last_hidden_state", smx::as_input(tape.n));
      c.check("out.logits", logits);
      // The target of a token is the next one; the last token has none.
      std::vector<index_t> next(ids.begin() + 1, ids.end());
      next.push_back(0);
      for (std::size_t i = 0; i < next.size(); ++i)
        if (static_cast<index_t>(i + 1) % e[1] == 0) next[i] = -100;
      auto const targets = upload<index_t>(be, next, extents<1>{e[0] * e[1]});
      extents<2> const rows{e[0] * e[1], sizes.vocabulary};
      smx::cross_entropy<T>{}.forward_backward(be, {}, smx::in<B, T, 2>(logits.data(), rows), targets.cview(),
                                               1, {}, loss.view(), smx::out<B, T, 2>(dlogits.data(), rows));
      c.check("out.loss", loss);
      m.backward(be, w, input.cview(), tape, dlogits.cview(), dw.write());
      be.synchronize();
    }
    smx::for_each_gpt2_tensor(m, dw.write(), [&](std::string const& name, auto const& d) {
      c.check(g.contains("grad." + name) ? "grad." + name : "grad.transformer." + name, smx::as_input(d));
    });
    if (g.contains("out.step_logits")) check_steps<T>(be, g, m, w, input.cview(), c);
  }

 private:
  /// The prompt at once, then the reference's own tokens one by one.
  template <class T, class B, class M, class W>
  static void check_steps(B& be, golden const& g, M const& m, W const& w, smx::in<B, index_t, 2> prompt,
                          comparison& c) {
    extents<2> const e = g.extents_of<2>("out.generated_tokens");
    std::vector<index_t> const tokens = numbers(g, "out.generated_tokens");
    c.leave_out("out.generated_tokens");  // what the steps are fed with; the largest logits say the rest
    auto s = m.make_state(be, w, e[0], prompt.ext[1] + e[1]);
    smx::tensor<T, 4, smx::space_t<B>> logits(be.memory(), m.logit_extents({e[0], e[1]}));
    for (index_t i = 0; i < e[1]; ++i) {
      auto frame = be.scope();
      auto const to = smx::slice(logits.view(), 2, i, 1);
      if (i == 0) {
        m.prefill(be, w, prompt, s, to);
        continue;
      }
      std::vector<index_t> last;
      for (index_t b = 0; b < e[0]; ++b) last.push_back(tokens[static_cast<std::size_t>(b * e[1] + i - 1)]);
      auto const ids = upload<index_t>(be, last, extents<2>{e[0], 1});
      m.step(be, w, ids.cview(), s, to);
      be.synchronize();
    }
    c.check("out.step_logits", logits);
    std::vector<T> const all = elements(logits.cview());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      auto const row = all.begin() + static_cast<std::ptrdiff_t>(i) * m.vocabulary;
      if (std::max_element(row, row + m.vocabulary) - row != tokens[i])
        g.fail("step " + std::to_string(i) + ": another token has the largest logit");
    }
  }

  static std::vector<index_t> numbers(golden const& g, std::string const& name) {
    auto const v = g.file().read<std::int64_t>(name);
    return {v.begin(), v.end()};
  }
  static void expect_supported(golden const& g) {
    std::string const config = g.text("config");
    auto const parsed = nlohmann::json::parse(config);
    std::string const activation = parsed.value("activation_function", "gelu_new");
    if (activation != "gelu_new" && activation != "gelu_pytorch_tanh")
      g.fail("config: 'activation_function': expected gelu_new or gelu_pytorch_tanh, got " + activation);
    for (char const* key : {"add_cross_attention", "scale_attn_by_inverse_layer_idx"})
      if (g.option(key, false)) g.fail(std::string("config: '") + key + "': not supported");
  }
};

}  // namespace

family family_hf_gpt2() { return make_family<gpt2_family>("hf_gpt2"); }

}  // namespace goldens
