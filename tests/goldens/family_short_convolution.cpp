// SPDX-License-Identifier: Apache-2.0
/// \file  short_convolution: depthwise causal, u (b,d,L), weight (d,1,K), the last tap on the newest
/// position.
#include <tests/goldens/short_convolution_run.hpp>

namespace goldens {
namespace {

struct short_convolution_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    auto const [channels, one, taps] = g.extents_of<3>("w.weight").n;
    if (one != 1) g.fail("w.weight: expected (channels, 1, taps)");
    bool const bias = g.contains("w.bias");
    short_convolution_run<T, B> const run(be, g, channels, taps, bias);
    auto const x = rows_of_channels<T>(be, g, "in.u"), dy = rows_of_channels<T>(be, g, "in.r");
    c.check("out.y", turned_rows(smx::forward(be, run.mix, run.w, x).cview()));
    auto const d = smx::gradients(be, run.mix, run.w, x, dy);
    c.check("grad.in.u", turned_rows(d.x.cview()));
    c.check("grad.weight", d.w.read().weight);
    if (bias) c.check("grad.bias", d.w.read().bias);
  }
};

}  // namespace

family family_short_convolution() { return make_family<short_convolution_family>("short_convolution"); }

}  // namespace goldens
