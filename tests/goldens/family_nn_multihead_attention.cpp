// SPDX-License-Identifier: Apache-2.0
/// \file  nn_multihead_attention: projections, attention head by head, projection. Self-attention has one
/// packed projection, cross-attention three, with keys and values of other widths; biases are packed.
///
/// Masks hide where they are not 0: in.causal_mask (n,m), in.key_padding_mask (b,m), in.attn_mask3d (b
/// h,n,m); in.float_mask (n,m) is added to the scores. out.weights_heads (b,h,n,m): the probabilities;
/// out.weights: their mean over the heads.
#include <array>
#include <optional>

#include <smx/mixers/run.hpp>
#include <smx/nn/linear.hpp>
#include <tests/goldens/attention_with_bias.hpp>
#include <tests/goldens/sums.hpp>

namespace goldens {
namespace {

template <class T, class B> class multihead_run {
 public:
  using owned = smx::tensor<T, 4, smx::space_t<B>>;

  multihead_run(B& be, golden const& g, comparison& c) : be_(be), g_(g), c_(c) {
    self_ = g.contains("in.x");
    x_[0] = rows(self_ ? "in.x" : "in.q");
    if (!self_) x_[1] = rows("in.k"), x_[2] = rows("in.v");
    heads_ = g.size_option("heads");
    embed_ = x_[0].extents()[3];
    bias_ = g.contains("w.in_proj_bias");
    if (embed_ % heads_ != 0) g.fail("config: 'heads': expected a divisor of the channels");
    std::vector<T> packed;
    if (self_) packed = g.file().template read<T>("w.in_proj_weight");
    std::vector<T> biases;
    if (bias_) biases = g.file().template read<T>("w.in_proj_bias");
    index_t const square = embed_ * embed_;
    for (int n = 0; n < 3; ++n) {
      index_t const width = x(n).extents()[3];
      map_[n] = {.channels = width, .output_channels = embed_, .bias = bias_};
      w_[n].emplace(be, map_[n]);
      if (self_)
        put(w_[n]->write().weight, part(packed, n, square));
      else
        put(w_[n]->write().weight, g.file().template read<T>(std::string("w.") + name(n) + "_proj_weight"));
      if (bias_) put(w_[n]->write().bias, part(biases, n, embed_));
      projected_[n] = smx::forward(be, map_[n], *w_[n], x(n));
    }
    out_ = {.channels = embed_, .output_channels = embed_, .bias = g.contains("w.out_proj.bias")};
    w_out_.emplace(be, out_);
    put(w_out_->write().weight, g.file().template read<T>("w.out_proj.weight"));
    if (out_.bias) put(w_out_->write().bias, g.file().template read<T>("w.out_proj.bias"));
    scores_ = {x_[0].extents()[0], heads_, x_[0].extents()[2], x(1).extents()[2]};
  }

  void all() {
    auto const causal = hidden("in.causal_mask"), pad = hidden("in.key_padding_mask"),
               cube = hidden("in.attn_mask3d");
    auto const at = [](std::vector<double> const& m, index_t i) {
      return !m.empty() && m.at(static_cast<std::size_t>(i)) != 0;
    };
    auto const [batch, heads, queries, keys] = scores_.n;
    auto const is_causal = [&, n = keys](index_t i, index_t j) { return at(causal, i * n + j); };
    auto const is_pad = [&, n = keys](index_t b, index_t j) { return at(pad, b * n + j); };
    run(
        "y", [](index_t, index_t, index_t, index_t) { return true; }, {}, true);
    run("y_causal", [&](index_t, index_t, index_t i, index_t j) { return !is_causal(i, j); });
    run("y_pad", [&](index_t b, index_t, index_t, index_t j) { return !is_pad(b, j); });
    run("y_causal_pad",
        [&](index_t b, index_t, index_t i, index_t j) { return !is_causal(i, j) && !is_pad(b, j); });
    run("y_mask3d", [&, h_count = heads, m = queries, n = keys](index_t b, index_t h, index_t i, index_t j) {
      return !at(cube, ((b * h_count + h) * m + i) * n + j);
    });
    if (g_.contains("in.float_mask")) {
      auto const [bias, shown] = bias_of<T>(be_, g_, "in.float_mask");
      run(
          "y_float",
          [&, &seen = shown, n = keys](index_t, index_t, index_t i, index_t j) {
            return seen.at(static_cast<std::size_t>(i * n + j)) != 0;
          },
          bias);
    }
    sums_.check(c_);
  }

 private:
  owned rows(char const* name) {
    auto const [b, n, d] = g_.template extents_of<3>(name).n;
    return load<T>(be_, g_, name, extents<4>{b, 1, n, d});
  }
  owned const& x(int n) const { return self_ ? x_[0] : x_[n]; }
  static char const* name(int n) { return n == 0 ? "q" : n == 1 ? "k" : "v"; }
  static std::vector<T> part(std::vector<T> const& all, int n, index_t count) {
    auto const size = static_cast<std::size_t>(count), first = static_cast<std::size_t>(n) * size;
    if (all.size() != 3 * size) throw std::runtime_error("in_proj: expected three parts of equal size");
    return {all.begin() + static_cast<std::ptrdiff_t>(first),
            all.begin() + static_cast<std::ptrdiff_t>(first + size)};
  }
  template <int R> void put(smx::view<T, R, smx::space_t<B>> to, std::vector<T> const& values) {
    be_.copy(upload<T>(be_, values, to.ext).cview(), to);
    be_.synchronize();
  }
  std::vector<double> hidden(char const* name) const {
    return g_.contains(name) ? g_.file().template read<double>(name) : std::vector<double>();
  }
  /// (b,1,n,h d) as (b,h,n,d).
  template <class V> auto by_head(V const& v) const {
    return swap_axes(split_axis(fix_axis(v, 1, 0), 2, heads_, embed_ / heads_), 1, 2);
  }

  template <class F>
  void run(std::string const& result, F const& visible, smx::in<B, T, 4> bias = {}, bool weights = false) {
    if (!g_.contains("out." + result)) return;
    auto const table = shared(marks(scores_, visible));
    stored_mask const mask{table.data(), row_major(scores_)};
    owned const dy = rows((result == "y" ? std::string("in.r") : "in.r_" + result).c_str());
    owned o(be_.memory(), dy.extents()), none(be_.memory(), dy.extents());
    auto const attend = [&](owned const& upstream) {
      return attention_with_bias<T, B>(be_, T(0), mask, by_head(projected_[0].cview()),
                                       by_head(projected_[1].cview()), by_head(projected_[2].cview()), bias,
                                       by_head(upstream.cview()));
    };
    be_.copy(attend(none).y.cview(), by_head(o.view()));
    be_.synchronize();
    c_.check("out." + result, smx::forward(be_, out_, *w_out_, o));
    auto const d_out = smx::gradients(be_, out_, *w_out_, o, dy);
    sums_.add("grad.out_proj.weight", d_out.w.read().weight);
    if (out_.bias) sums_.add("grad.out_proj.bias", d_out.w.read().bias);
    auto const d = attend(d_out.x);
    if (bias.size() != 0) sums_.add("grad.in.float_mask", d.dbias);
    back({&d.dq, &d.dk, &d.dv});
    if (weights) check_weights(mask);
  }

  void back(std::array<owned const*, 3> const& d) {
    std::vector<T> weight, bias;
    for (std::size_t n = 0; n < 3; ++n) {
      int const i = static_cast<int>(n);
      owned dy(be_.memory(), projected_[n].extents());
      be_.copy(d[n]->cview(), by_head(dy.view()));
      be_.synchronize();
      auto const g = smx::gradients(be_, map_[n], *w_[n], x(i), dy);
      sums_.add(self_ ? std::string("grad.in.x") : std::string("grad.in.") + name(i), g.x);
      auto const dw = elements(g.w.read().weight);
      if (self_)
        weight.insert(weight.end(), dw.begin(), dw.end());
      else
        sums_.add(std::string("grad.") + name(i) + "_proj_weight", dw);
      if (!bias_) continue;
      auto const db = elements(g.w.read().bias);
      bias.insert(bias.end(), db.begin(), db.end());
    }
    if (self_) sums_.add("grad.in_proj_weight", weight);
    if (bias_) sums_.add("grad.in_proj_bias", bias);
  }

  /// The probabilities are the output for unit vectors as values.
  void check_weights(stored_mask const& mask) {
    index_t const keys = scores_[3];
    std::vector<T> unit;
    for (index_t n = 0; n < scores_[0] * heads_; ++n)
      for (index_t i = 0; i < keys * keys; ++i) unit.push_back(i % (keys + 1) == 0 ? T(1) : T(0));
    owned const v = upload<T>(be_, unit, extents<4>{scores_[0], heads_, keys, keys});
    owned const dy(be_.memory(), scores_);
    attention_with_bias<T, B> const found(be_, T(0), mask, by_head(projected_[0].cview()),
                                          by_head(projected_[1].cview()), v, {}, dy);
    c_.check("out.weights_heads", found.y);
    std::vector<T> const each = elements(found.y.cview());
    auto const block = static_cast<std::size_t>(scores_[2] * keys), heads = static_cast<std::size_t>(heads_);
    std::vector<T> mean(each.size() / heads);
    for (std::size_t i = 0; i < each.size(); ++i)
      mean[i / (block * heads) * block + i % block] += each[i] / static_cast<T>(heads_);
    c_.check("out.weights", mean);
  }

  B& be_;
  golden const& g_;
  comparison& c_;
  bool self_ = false, bias_ = false;
  index_t heads_ = 1, embed_ = 1;
  extents<4> scores_ = {};
  owned x_[3], projected_[3];
  smx::linear<T> map_[3], out_;
  std::optional<smx::parameters<smx::linear<T>, B>> w_[3], w_out_;
  gradient_sums<T> sums_;
};

struct nn_multihead_attention_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    multihead_run<T, B>(be, g, c).all();
  }
};

}  // namespace

family family_nn_multihead_attention() {
  return make_family<nn_multihead_attention_family>("nn_multihead_attention");
}

}  // namespace goldens
