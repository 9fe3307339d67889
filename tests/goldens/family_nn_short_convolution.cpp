// SPDX-License-Identifier: Apache-2.0
/// \file  nn_short_convolution: the same with SiLU, without a bias, as a stream in two parts, and behind
/// given inputs (in.initial_state, the last K - 1 before the first one).
#include <smx/core/functors.hpp>
#include <smx/nn/activation.hpp>
#include <tests/goldens/short_convolution_run.hpp>
#include <tests/goldens/sums.hpp>

namespace goldens {
namespace {

struct nn_short_convolution_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    using owned = smx::tensor<T, 4, smx::space_t<B>>;
    auto const [channels, one, taps] = g.extents_of<3>("w.weight").n;
    if (one != 1) g.fail("w.weight: expected (channels, 1, taps)");
    bool const bias = g.contains("w.bias");
    short_convolution_run<T, B> const run(be, g, channels, taps, bias), plain(be, g, channels, taps, false);
    auto const x = rows_of_channels<T>(be, g, "in.x");
    extents<4> const e = x.extents();
    index_t const length = e[2], past = taps - 1;
    gradient_sums<T> sums;

    auto const y = smx::forward(be, run.mix, run.w, x);
    c.check("out.y", turned_rows(y.cview()));
    owned active(be.memory(), e), d_active(be.memory(), e);
    be.map(smx::silu{}, active.view(), y.cview());
    be.map(smx::nn::times_slope<smx::d_silu>{}, d_active.view(), rows_of_channels<T>(be, g, "in.r").cview(),
           y.cview());
    be.synchronize();
    c.check("out.y_silu", turned_rows(active.cview()));
    add(sums, run.mix, smx::gradients(be, run.mix, run.w, x, d_active));

    c.check("out.y_nobias", turned_rows(smx::forward(be, plain.mix, plain.w, x).cview()));
    add(sums, plain.mix,
        smx::gradients(be, plain.mix, plain.w, x, rows_of_channels<T>(be, g, "in.r_y_nobias")));

    stream(be, g, c, run, x, y);
    // What precedes the sequence is a longer sequence, whose first rows are not asked for.
    owned all(be.memory(), extents<4>{e[0], 1, past + length, e[3]}), dy(be.memory(), all.extents());
    if (past > 0)
      be.copy(rows_of_channels<T>(be, g, "in.initial_state").cview(), slice(all.view(), 2, 0, past));
    be.copy(x.cview(), slice(all.view(), 2, past, length));
    be.copy(rows_of_channels<T>(be, g, "in.r_y_init").cview(), slice(dy.view(), 2, past, length));
    be.synchronize();
    auto const d = smx::gradients(be, run.mix, run.w, all, dy);
    if (past > 0) sums.add("grad.in.initial_state", turned_rows(slice(d.x.cview(), 2, 0, past)));
    sums.add("grad.in.x", turned_rows(slice(d.x.cview(), 2, past, length)));
    sums.add("grad.weight", d.w.read().weight);
    if (bias) sums.add("grad.bias", d.w.read().bias);
    sums.check(c);
  }

 private:
  template <class T, class M, class G> static void add(gradient_sums<T>& sums, M const& mix, G const& d) {
    sums.add("grad.in.x", turned_rows(d.x.cview()));
    sums.add("grad.weight", d.w.read().weight);
    if (mix.bias) sums.add("grad.bias", d.w.read().bias);
  }

  /// The whole in two parts, then behind the given inputs.
  template <class T, class B>
  static void stream(B& be, golden const& g, comparison& c, short_convolution_run<T, B> const& run,
                     smx::tensor<T, 4, smx::space_t<B>> const& x,
                     smx::tensor<T, 4, smx::space_t<B>> const& whole) {
    extents<4> const e = x.extents();
    index_t const length = e[2], past = run.mix.taps - 1, split = g.size_option("split_at");
    if (split > length) g.fail("config: 'split_at': expected no more than L");
    smx::inputs_in<smx::short_convolution<T>, B> const like{x.cview()};
    smx::tensor<T, 4, smx::space_t<B>> y(be.memory(), e);
    auto const part = [&](auto& state, index_t first, index_t count) {
      if (count == 0) return;
      auto frame = be.scope();
      run.mix.prefill(be, run.w.read(), {slice(x.cview(), 2, first, count)}, state,
                      slice(y.view(), 2, first, count));
      be.synchronize();
    };
    auto state = run.mix.make_state(be, run.w.read(), like, length);
    part(state, 0, split);
    c.check("out.state", turned_rows(slice(state.rows.cview(), 2, 0, past)));
    part(state, split, length - split);
    if (elements(y.cview()) != elements(whole.cview()))
      g.fail("a stream in two parts differs from the whole");
    auto behind = run.mix.make_state(be, run.w.read(), like, length);
    if (past > 0) be.copy(rows_of_channels<T>(be, g, "in.initial_state").cview(), behind.rows.view());
    part(behind, 0, length);
    c.check("out.y_init", turned_rows(y.cview()));
    c.check("out.final_state", turned_rows(slice(behind.rows.cview(), 2, 0, past)));
  }
};

}  // namespace

family family_nn_short_convolution() {
  return make_family<nn_short_convolution_family>("nn_short_convolution");
}

}  // namespace goldens
