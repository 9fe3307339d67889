// SPDX-License-Identifier: Apache-2.0
/// \file  hf_t5: a whole encoder and decoder around attention with T5's relative bias. In the file are the
/// bias, which is also compared by itself, and the gradients of its table and of all that lies around it.
///
/// A layer adds to its input f(norm(input)), f: attention over itself, attention over the encoder's output,
/// or a feed-forward layer; norms divide by the root of the mean square; scores are not scaled; the table of
/// the first layer serves all layers of its stack. Gradients are those of sum(out.logits in.r).
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include <smx/mixers/attention.hpp>
#include <smx/mixers/merge.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {

// Function objects, which a GPU can be given: f(a) b and its gradients.
template <class F> struct times {
  F f;
  template <class T> SMX_HD T operator()(T p, T q) const { return f(p) * q; }
};
template <class D> struct add_slope {
  D slope;
  template <class T> SMX_HD T operator()(T sum, T dy, T p, T q) const { return sum + dy * slope(p) * q; }
};
template <class F> struct add_product {
  F f;
  template <class T> SMX_HD T operator()(T sum, T dy, T p) const { return sum + dy * f(p); }
};
template <class T> struct scaled_by {
  T factor;
  SMX_HD T operator()(T x) const { return factor * x; }
};
template <class T> struct always {
  T value;
  SMX_HD T operator()(T) const { return value; }
};

namespace {

/// An array and its gradient, filled by the steps back.
template <class T, class B> struct variable { smx::tensor<T, 4, smx::space_t<B>> value, gradient; };

/// Operations that remember how to go back.
template <class T, class B> class t5_graph {
 public:
  using node = std::shared_ptr<variable<T, B>>;

  t5_graph(B& be, golden const& g) : be_(be), golden_(g) {}

  node fresh(extents<4> const& e) {
    auto one = std::make_shared<variable<T, B>>();
    one->value = array(be_.memory(), e), one->gradient = array(be_.memory(), e);
    return one;
  }
  /// A weight by its name in the file, without `w.`: (1,1,out,in), or (1,1,1,n) for a vector.
  node weight(std::string const& name) {
    node& one = weights_[name];
    if (one) return one;
    auto const& shape = golden_.shape("w." + name);
    one = fresh({1, 1, shape.size() == 2 ? shape[0] : 1, shape.back()});
    one->value = load<T>(be_, golden_, "w." + name, one->value.extents());
    return one;
  }
  std::map<std::string, node> const& weights() const { return weights_; }

  /// x W^T
  node linear(node x, std::string const& name) {
    node const w = weight(name);
    extents<4> e = x->value.extents();
    e[3] = w->value.extents()[2];
    node const y = fresh(e);
    be_.gemm(none, turned, T(1), x->value.cview(), w->value.cview(), T(0), y->value.view());
    back_.push_back([=, this] {
      be_.gemm(none, none, T(1), y->gradient.cview(), w->value.cview(), T(1), x->gradient.view());
      be_.gemm(turned, none, T(1), y->gradient.cview(), x->value.cview(), T(1), w->gradient.view());
    });
    return y;
  }
  node norm(node x, std::string const& name) {
    node const w = weight(name), y = fresh(x->value.extents());
    extents<4> e = x->value.extents();
    e[3] = 1;
    auto const mean = fresh(e), scale = fresh(e);
    be_.norm(smx::norm_kind::rms, T(golden_.option("layer_norm_epsilon", 0.0)), x->value.cview(),
             w->value.cview(), smx::in<B, T, 4>{}, y->value.view(), mean->value.view(), scale->value.view());
    back_.push_back([=, this] {
      array dx(be_.memory(), x->value.extents());
      be_.norm_backward(smx::norm_kind::rms, x->value.cview(), w->value.cview(), mean->value.cview(),
                        scale->value.cview(), y->gradient.cview(), dx.view(), w->gradient.view(),
                        smx::out<B, T, 4>{});
      accumulate(dx, x);
    });
    return y;
  }
  node add(node a, node b) {
    node const y = fresh(a->value.extents());
    be_.map(smx::add{}, y->value.view(), a->value.cview(), b->value.cview());
    back_.push_back([=, this] { accumulate(y->gradient, a), accumulate(y->gradient, b); });
    return y;
  }
  /// f(a) b, or f(a) without b.
  template <class F, class D> node gated(F f, D slope, node a, node b) {
    node const y = fresh(a->value.extents()), one = b ? b : constant_one(a);
    be_.map(times<F>{f}, y->value.view(), a->value.cview(), one->value.cview());
    back_.push_back([=, this] {
      be_.map(add_slope<D>{slope}, a->gradient.view(), a->gradient.cview(), y->gradient.cview(),
              a->value.cview(), one->value.cview());
      be_.map(add_product<F>{f}, one->gradient.view(), one->gradient.cview(), y->gradient.cview(),
              a->value.cview());
    });
    return y;
  }
  /// q (1,1,N Lq,H D), k and v (1,1,N Lk,H D) of N sequences.
  template <class Mask>
  node attend(Mask const& mask, index_t batch, index_t heads, smx::relative_buckets relative,
              std::string const& table, node q, node k, node v) {
    using mixer = smx::attention<T, Mask, smx::modified_scores>;
    mixer const mix{.scale = 1, .mask = mask, .scores = {.relative = relative, .heads = heads}};
    auto const split = [=](auto view) {
      index_t const length = view.ext[2] / batch, dim = view.ext[3] / heads;
      return decltype(view)(view.ptr, {batch, heads, length, dim},
                            {length * heads * dim, dim, heads * dim, 1});
    };
    node const y = fresh(q->value.extents()), w = table.empty() ? node{} : weight(table);
    smx::weights_in<mixer, B> weights;
    if (w) weights.table = smx::fix_axis(smx::fix_axis(w->value.cview(), 0, 0), 0, 0);
    smx::inputs_in<mixer, B> const x{
        split(q->value.cview()), split(k->value.cview()), split(v->value.cview()), {}, {}};
    auto const tape = mix.make_tape(be_, x);
    mix.forward(be_, weights, x, tape, split(y->value.view()));
    back_.push_back([=, this] {
      array dq(be_.memory(), q->value.extents()), dk(be_.memory(), k->value.extents()),
          dv(be_.memory(), v->value.extents());
      smx::weights_out<mixer, B> dw;
      if (w) dw.table = smx::fix_axis(smx::fix_axis(w->gradient.view(), 0, 0), 0, 0);
      mix.backward(be_, weights, x, tape, split(y->gradient.cview()), dw,
                   {split(dq.view()), split(dk.view()), split(dv.view()), {}, {}});
      accumulate(dq, q), accumulate(dk, k), accumulate(dv, v);
    });
    return y;
  }
  /// Rows of the embedding; the file has no gradient of it.
  node embed(std::string const& ids) {
    node const table = weight("shared.weight");
    auto const rows = golden_.file().read<std::int64_t>(ids);
    auto const n = static_cast<index_t>(rows.size()), dim = table->value.extents()[3];
    node const y = fresh({1, 1, n, dim});
    auto const flat = [](auto const& v) { return smx::fix_axis(smx::fix_axis(v, 0, 0), 0, 0); };
    auto const looked_up =
        upload<index_t>(be_, std::vector<index_t>(rows.begin(), rows.end()), extents<1>{n});
    be_.gather(flat(table->value.cview()), looked_up.cview(), flat(y->value.view()));
    be_.synchronize();
    return y;
  }

  void run_back() {
    for (auto step = back_.rbegin(); step != back_.rend(); ++step) (*step)();
  }

 private:
  using array = smx::tensor<T, 4, smx::space_t<B>>;
  static constexpr smx::op none = smx::op::none, turned = smx::op::transpose;

  node constant_one(node const& like) {
    node const one = fresh(like->value.extents());
    be_.map(smx::constant<T>{T(1)}, one->value.view());
    return one;
  }
  void accumulate(array const& d, node const& to) {
    be_.map(smx::add{}, to->gradient.view(), to->gradient.cview(), d.cview());
  }

  B& be_;
  golden const& golden_;
  std::map<std::string, node> weights_;
  std::vector<std::function<void()>> back_;
};

struct t5_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    check_bias<T>(be, g, c, "encoder", true);
    check_bias<T>(be, g, c, "decoder", false);
    auto frame = be.scope();
    model<T, B> m{t5_graph<T, B>(be, g),
                  g,
                  g.size_option("batch"),
                  g.size_option("num_heads"),
                  shared(g.sizes_option("lengths")),
                  {}};
    auto const encoded = m.stack("encoder", "in.input_ids", g.size_option("num_layers"));
    c.check("out.encoder_last_hidden_state", encoded->value);
    m.encoded = encoded;
    auto const decoded = m.stack("decoder", "in.decoder_input_ids", g.size_option("num_decoder_layers"));
    c.check("out.decoder_last_hidden_state", decoded->value);
    T const factor = g.option("decoder_output_scaled_by_dmodel_rsqrt", false)
                         ? T(1) / std::sqrt(T(g.size_option("d_model")))
                         : T(1);
    auto const logits =
        m.graph.linear(m.graph.gated(scaled_by<T>{factor}, always<T>{factor}, decoded, {}), "lm_head.weight");
    c.check("out.logits", logits->value);
    c.check("out.loss", std::vector<double>{loss(g, elements(logits->value.cview()))});
    logits->gradient = load<T>(be, g, "in.r", logits->value.extents());
    m.graph.run_back();
    for (auto const& [name, weight] : m.graph.weights()) c.check("grad." + name, weight->gradient);
  }

 private:
  template <class T, class B> struct model {
    using node = typename t5_graph<T, B>::node;
    t5_graph<T, B> graph;
    golden const& g;
    index_t batch, heads;
    smx::tensor<index_t, 1> lengths;  // of the encoder's sequences
    node encoded;                     // none: this is the encoder

    node stack(std::string const& name, std::string const& ids, index_t layers) {
      node h = graph.embed(ids);
      smx::relative_buckets const relative = buckets(g, !encoded);
      std::string const table = name + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight";
      for (index_t n = 0; n < layers; ++n) {
        int part = 0;
        auto const at = [&] {
          return name + ".block." + std::to_string(n) + ".layer." + std::to_string(part);
        };
        auto const attention = [&](std::string const& kind, auto const& mask, smx::relative_buckets how,
                                   std::string const& weight, node const& source) {
          std::string const w = at() + "." + kind + ".";
          node const x = graph.norm(h, at() + ".layer_norm.weight"), from = source ? source : x;
          node const y = graph.attend(mask, batch, heads, how, weight, graph.linear(x, w + "q.weight"),
                                      graph.linear(from, w + "k.weight"), graph.linear(from, w + "v.weight"));
          h = graph.add(h, graph.linear(y, w + "o.weight"));
          ++part;
        };
        smx::padding_mask const padding{lengths.data(), batch};
        if (encoded) {
          attention("SelfAttention", smx::causal_mask{}, relative, table, {});
          attention("EncDecAttention", padding, {}, "", encoded);
        } else {
          attention("SelfAttention", padding, relative, table, {});
        }
        node const x = graph.norm(h, at() + ".layer_norm.weight");
        std::string const w = at() + ".DenseReluDense.";
        node const y =
            g.option("is_gated_act", false)
                ? graph.gated(smx::gelu_tanh{}, smx::d_gelu_tanh{}, graph.linear(x, w + "wi_0.weight"),
                              graph.linear(x, w + "wi_1.weight"))
                : graph.gated(smx::relu{}, smx::d_relu{}, graph.linear(x, w + "wi.weight"), {});
        h = graph.add(h, graph.linear(y, w + "wo.weight"));
      }
      return graph.norm(h, name + ".final_layer_norm.weight");
    }
  };

  static smx::relative_buckets buckets(golden const& g, bool bidirectional) {
    return {g.size_option("relative_attention_num_buckets"), g.size_option("relative_attention_max_distance"),
            bidirectional};
  }

  /// The mean over all tokens of -log softmax(logits)[label].
  template <class T> static double loss(golden const& g, std::vector<T> const& logits) {
    auto const labels = g.file().read<std::int64_t>("in.labels");
    std::size_t const words = logits.size() / labels.size();
    double sum = 0;
    for (std::size_t t = 0; t < labels.size(); ++t) {
      T const* const row = logits.data() + t * words;
      double const most = *std::max_element(row, row + words);
      double weight = 0;
      for (std::size_t n = 0; n < words; ++n) weight += std::exp(row[n] - most);
      sum += most + std::log(weight) - row[labels[t]];
    }
    return sum / static_cast<double>(labels.size());
  }

  /// The bias by itself, read back from attention with queries of 0 over unit values: y_ij = exp(bias_ij -
  /// lse_i).
  template <class T, class B>
  static void check_bias(B& be, golden const& g, comparison& c, std::string const& stack,
                         bool bidirectional) {
    std::string const result = "mid." + stack + "_position_bias";
    auto const [heads, queries, keys] = g.extents_of<3>(result).n;
    smx::relative_buckets const relative = buckets(g, bidirectional);
    auto const table =
        load<T>(be, g, "w." + stack + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                extents<2>{relative.count, heads});
    using mixer = smx::attention<T, smx::full_mask, smx::modified_scores>;
    mixer const mix{.scores = {.relative = relative, .heads = heads}};
    smx::weights_in<mixer, B> w;
    w.table = table;
    smx::tensor<T, 4, smx::space_t<B>> const q(be.memory(), extents<4>{1, heads, queries, 1}),
        k(be.memory(), extents<4>{1, 1, keys, 1});
    std::vector<T> identity(static_cast<std::size_t>(keys * keys));
    for (index_t j = 0; j < keys; ++j) identity[static_cast<std::size_t>(j * (keys + 1))] = 1;
    auto const part =
        smx::partial_attention(be, mix, w, q, k, upload<T>(be, identity, extents<4>{1, 1, keys, keys}));
    auto const y = here(part.y), lse = here(part.lse);
    std::vector<T> bias;
    for (index_t h = 0; h < heads; ++h)
      for (index_t i = 0; i < queries; ++i)
        for (index_t j = 0; j < keys; ++j) bias.push_back(std::log(y(0, h, i, j)) + lse(0, h, i, 0));
    c.check(result, bias);
  }
};

}  // namespace

family family_t5() { return make_family<t5_family>("hf_t5"); }

}  // namespace goldens
