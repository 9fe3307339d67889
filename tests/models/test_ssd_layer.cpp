// SPDX-License-Identifier: Apache-2.0
/// \file  ssd_layer against the outputs of Mamba-2's own module: a prefill, single steps behind it, every
/// gradient. Two groups, whose norms are apart.
#include <cmath>
#include <string>
#include <vector>

#include <smx/backend/cpu.hpp>
#include <smx/backend/reference.hpp>
#include <smx/io/safetensors.hpp>
#include <smx/mixers/run.hpp>
#include <smx/mixers/stream.hpp>
#include <smx/nn/ssd_layer.hpp>
#include <tests/catch.hpp>

namespace {

using layer = smx::ssd_layer<double>;
using smx::index_t;

/// f(name in the file, view) for every weight; w: weights of views.
template <class W, class F> void each_tensor(W const& w, F const& f) {
  f("in_proj.weight", w.in.weight);
  f("conv1d.weight", w.rows.weight);
  f("conv1d.bias", w.rows.bias);
  f("A_log", w.mix.a_log);
  f("D", w.mix.skip);
  f("dt_bias", w.mix.dt_bias);
  f("norm.weight", w.norm.weight);
  f("out_proj.weight", w.out.weight);
}
/// The largest difference from a tensor of the file, relative to its largest entry.
template <class V> double error(smx::safetensors_file const& file, std::string const& name, V const& got) {
  auto const expected = file.read<double>(name);
  REQUIRE(static_cast<index_t>(expected.size()) == got.size());
  double scale = 0, worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    scale = std::max(scale, std::abs(expected[i]));
    worst = std::max(worst, std::abs(expected[i] - got.ptr[i]));
  }
  return worst / scale;
}

template <class B> void check(B& be) {
  smx::safetensors_file const file(TEST_DATA "/mamba2_mixer_a.safetensors");
  layer m;
  m.channels = 16, m.heads = 4, m.groups = 2, m.state_size = 8, m.taps = 4, m.mix.chunk = 8;
  smx::parameters<layer, B> w(be, m);
  each_tensor(w.write(), [&](std::string const& name, auto const& to) {
    auto const values = file.read<double>("w." + name);
    REQUIRE(static_cast<index_t>(values.size()) == to.size());
    std::copy(values.begin(), values.end(), to.ptr);
  });
  auto const array = [&](std::string const& name, index_t length) {
    smx::tensor<double, 4> t({2, 1, length, 16});
    auto const values = file.read<double>(name);
    std::copy(values.begin(), values.end(), t.data());
    return t;
  };
  auto const u = array("in.u", 25);
  smx::tensor<double, 4> prompt({2, 1, 21, 16});
  be.copy(smx::slice(u.cview(), 2, 0, 21), prompt.view());
  CHECK(error(file, "out.y", smx::forward(be, m, w, prompt).cview()) < 1e-12);
  CHECK(error(file, "out.y_full", smx::forward(be, m, w, u).cview()) < 1e-12);

  auto g = smx::gradients(be, m, w, prompt, array("in.r", 21));
  each_tensor(g.w.write(), [&](std::string const& name, auto const& d) {
    INFO(name);
    CHECK(error(file, "grad." + name, d) < 1e-11);
  });
  auto const du = file.read<double>("grad.in.u");  // (2,25,16): those behind the prompt are 0
  double worst = 0, scale = 0;
  for (index_t b = 0; b < 2; ++b)
    for (index_t t = 0; t < 21; ++t)
      for (index_t c = 0; c < 16; ++c) {
        double const expected =
            du[static_cast<std::size_t>((b * (static_cast<index_t>(du.size()) / 32) + t) * 16 + c)];
        scale = std::max(scale, std::abs(expected));
        worst = std::max(worst, std::abs(expected - g.x(b, 0, t, c)));
      }
  CHECK(worst < 1e-11 * scale);

  smx::stream<layer, B> s(be, m, w, 25);
  CHECK(error(file, "out.y", s.prefill(prompt).cview()) < 1e-12);
  smx::tensor<double, 4> steps({2, 1, 4, 16});
  for (index_t t = 0; t < 4; ++t)
    be.copy(s.step(smx::slice(u.cview(), 2, 21 + t, 1)).cview(), smx::slice(steps.view(), 2, t, 1));
  CHECK(error(file, "out.y_step", steps.cview()) < 1e-12);
}

}  // namespace

TEST_CASE("ssd_layer gives what Mamba-2 gives", "[nn]") {
  smx::reference_backend reference;
  check(reference);
  smx::cpu be(1);
  check(be);
}

TEST_CASE("what ssd_layer refuses", "[nn]") {
  smx::reference_backend be;
  layer m;
  m.channels = 6, m.heads = 5;
  CHECK_THROWS_WITH(smx::initialize(be, m, 1), test::contains("ssd_layer: heads"));
  m.heads = 4, m.groups = 3;
  CHECK_THROWS_WITH(smx::initialize(be, m, 1), test::contains("ssd_layer: groups"));
}
