// SPDX-License-Identifier: Apache-2.0
/// \file  A streaming mixer as a layer of a streaming_session.
#pragma once

#include <optional>

#include <smx/mixers/row_layer.hpp>
#include <smx/mixers/run.hpp>

namespace smx {

/// `causal_layer(be, mix, w)` for a mixer whose first input is the layer's, and whose others may be left out:
/// convolutions and the causal Monarch family. The weights must outlive the layer; the mixer is copied.
template <class M, class B>
requires StreamingMixer<M, B>
class causal_layer {
 public:
  using scalar = typename M::scalar;

  causal_layer(B&, M const& m, std::type_identity_t<weights_in<M, B>> const& w) : m_(m), w_(w) {}

  extents<4> output_extents(extents<4> const& e) const { return m_.output_extents(inputs({nullptr, e})); }
  void begin(B& be, extents<4> const& e) {
    state_.emplace(m_.make_state(be, w_, inputs({nullptr, e}), e[2]));
  }
  void take(B&, index_t, in<B, scalar, 4> x, view<index_t, 1, host_space> ahead) const {
    for (index_t t = 0; t < x.ext[2]; ++t) ahead(t) = 0;
  }
  void run(B& be, row_block const&, in<B, scalar, 4> x, out<B, scalar, 4> y) {
    m_.prefill(be, w_, inputs(x), *state_, y);
  }

 private:
  static inputs_in<M, B> inputs(in<B, scalar, 4> const& x) { return detail::collect_inputs<M, reads<B>>(x); }

  M m_;
  weights_in<M, B> w_;
  std::optional<state_of<M, B>> state_;
};

}  // namespace smx
