// SPDX-License-Identifier: Apache-2.0
/// \file  Short convolutions of the golden files: arrays (b,d,L), weight (d,1,K), bias (d) if any.
#pragma once

#include <smx/mixers/run.hpp>
#include <smx/nn/short_convolution.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {

template <class T, class B> struct short_convolution_run {
  using mixer = smx::short_convolution<T>;
  using owned = smx::tensor<T, 4, smx::space_t<B>>;

  mixer mix;
  smx::parameters<mixer, B> w;

  short_convolution_run(B& be, golden const& g, index_t channels, index_t taps, bool bias)
      : mix{.channels = channels, .taps = taps, .bias = bias}, w(be, mix) {
    be.copy(load<T>(be, g, "w.weight", extents<2>{channels, taps}).cview(), w.write().weight);
    if (bias) be.copy(load<T>(be, g, "w.bias", extents<1>{channels}).cview(), w.write().bias);
    be.synchronize();
  }
};

/// (b,1,L,d) as (b,1,d,L), and back.
template <class V> V turned_rows(V const& v) { return swap_axes(v, 2, 3); }

/// A tensor (b,d,L) of the file as (b,1,L,d).
template <class T, class B>
smx::tensor<T, 4, smx::space_t<B>> rows_of_channels(B& be, golden const& g, std::string const& name) {
  auto const [b, d, length] = g.extents_of<3>(name).n;
  auto const given = load<T>(be, g, name, extents<4>{b, 1, d, length});
  smx::tensor<T, 4, smx::space_t<B>> to(be.memory(), extents<4>{b, 1, length, d});
  be.copy(turned_rows(given.cview()), to.view());
  be.synchronize();
  return to;
}

}  // namespace goldens
