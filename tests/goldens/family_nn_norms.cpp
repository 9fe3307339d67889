// SPDX-License-Identifier: Apache-2.0
/// \file  nn_norms: layer norm with and without gain and bias, RMS norm with an eps and with that of the
/// reference's type, group norm on (b,C,L): all positions of C / G channels are normalised together.
///
/// The library has no layer for group norm: here it is its norm primitive on the channels of a group, whose
/// L positions lie one after the other.
#include <limits>

#include <smx/mixers/run.hpp>
#include <smx/nn/norm.hpp>
#include <tests/goldens/family.hpp>
#include <tests/goldens/sums.hpp>

namespace goldens {
namespace {

struct nn_norms_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    auto const [rows, channels] = g.extents_of<2>("in.x").n;
    auto const x = load<T>(be, g, "in.x", extents<4>{1, 1, rows, channels});
    double const eps = g.option("eps", 1e-5);
    gradient_sums<T> sums;

    smx::layer_norm<T> layer{.channels = channels, .eps = eps};
    smx::parameters<smx::layer_norm<T>, B> w(be, layer);
    fill(be, g, "w.ln.weight", w.write().weight);
    fill(be, g, "w.ln.bias", w.write().bias);
    c.check("out.layernorm", smx::forward(be, layer, w, x));
    auto const d = smx::gradients(be, layer, w, x, load<T>(be, g, "in.r", x.extents()));
    sums.add("grad.in.x", d.x);
    c.check("grad.ln.weight", d.w.read().weight);
    c.check("grad.ln.bias", d.w.read().bias);
    layer.bias = false;
    c.check("out.layernorm_noaffine", smx::forward(be, layer, smx::initialize(be, layer, 1), x));

    smx::rms_norm<T> rms{.channels = channels, .eps = eps};
    smx::parameters<smx::rms_norm<T>, B> v(be, rms);
    fill(be, g, "w.rms.weight", v.write().weight);
    c.check("out.rmsnorm", smx::forward(be, rms, v, x));
    auto const e = smx::gradients(be, rms, v, x, load<T>(be, g, "in.r_rmsnorm", x.extents()));
    sums.add("grad.in.x", e.x);
    c.check("grad.rms.weight", e.w.read().weight);
    rms.eps = std::numeric_limits<double>::epsilon();
    c.check("out.rmsnorm_eps_none", smx::forward(be, rms, v, x));
    sums.check(c);
    group_norm<T>(be, g, c, eps);
  }

 private:
  template <class B, class T>
  static void fill(B& be, golden const& g, char const* name, smx::view<T, 1, smx::space_t<B>> to) {
    be.copy(load<T>(be, g, name, to.ext).cview(), to);
    be.synchronize();
  }

  template <class T, class B> static void group_norm(B& be, golden const& g, comparison& c, double eps) {
    using owned = smx::tensor<T, 4, smx::space_t<B>>;
    extents<3> const given = g.extents_of<3>("in.xg");
    index_t const batch = given[0], channels = given[1], length = given[2];
    index_t const groups = g.size_option("gn_groups");
    if (channels % groups != 0) g.fail("config: 'gn_groups': expected a divisor of the channels");
    extents<4> const whole{batch, groups, 1, channels / groups * length}, each{batch, groups, 1, 1};
    auto const x = load<T>(be, g, "in.xg", whole), dy = load<T>(be, g, "in.r_groupnorm", whole);
    // of every channel, for every position
    auto const spread = [&](char const* name) {
      std::vector<T> const one_each = elements(load<T>(be, g, name, extents<1>{channels}).cview());
      std::vector<T> all;
      for (T const one : one_each) all.insert(all.end(), static_cast<std::size_t>(length), one);
      return upload<T>(be, all, extents<4>{1, groups, 1, whole[3]});
    };
    auto const gain = spread("w.gn.weight"), bias = spread("w.gn.bias");
    owned y(be.memory(), whole), dx(be.memory(), whole), mean(be.memory(), each), scale(be.memory(), each);
    owned dgain(be.memory(), gain.extents()), dbias(be.memory(), gain.extents());
    for (index_t n = 0; n < groups; ++n) {
      auto const of = [&](auto const& v) { return slice(v, 1, n, 1); };
      be.norm(smx::norm_kind::layer, static_cast<T>(eps), of(x.cview()), of(gain.cview()), of(bias.cview()),
              of(y.view()), of(mean.view()), of(scale.view()));
      be.norm_backward(smx::norm_kind::layer, of(x.cview()), of(gain.cview()), of(mean.cview()),
                       of(scale.cview()), of(dy.cview()), of(dx.view()), of(dgain.view()), of(dbias.view()));
    }
    be.synchronize();
    c.check("out.groupnorm", y);
    c.check("grad.in.xg", dx);
    auto const summed = [&](owned const& d) {
      std::vector<T> const all = elements(d.cview());
      std::vector<T> sum(static_cast<std::size_t>(channels));
      for (std::size_t i = 0; i < all.size(); ++i) sum[i / static_cast<std::size_t>(length)] += all[i];
      return sum;
    };
    c.check("grad.gn.weight", summed(dgain));
    c.check("grad.gn.bias", summed(dbias));
  }
};

}  // namespace

family family_nn_norms() { return make_family<nn_norms_family>("nn_norms"); }

}  // namespace goldens
