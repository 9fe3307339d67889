// SPDX-License-Identifier: Apache-2.0
/// \file  One run of linear attention on arrays (B,T,H,K or V) of a golden file, states (B,H,K,V).
#pragma once

#include <smx/mixers/linear_attention.hpp>
#include <tests/goldens/ssd_run.hpp>

namespace goldens {

template <class T, class B, smx::decay_kind Decay> struct linear_run {
  using mixer = smx::linear_attention<T, Decay>;
  using owned = smx::tensor<T, 4, smx::space_t<B>>;

  mixer mix;
  owned y, final, dq, dk, dv, dg, dinitial;

  /// Empty arrays are left out; log_gamma: of the heads, for Decay head.
  linear_run(B& be, owned const& q, owned const& k, owned const& v, owned const& g, owned const& initial,
             owned const& dy, owned const& dfinal, std::vector<double> const& log_gamma = {}) {
    mix.heads = v.extents()[2];
    mix.chunk = 8;  // several of them even in the shortest file
    smx::parameters<mixer, B> w(be, mix), dw(be, mix);
    if constexpr (Decay == smx::decay_kind::head) set_rates<T>(be, log_gamma, w.write().decay);
    auto const read = [](owned const& a) { return a.size() == 0 ? smx::in<B, T, 4>{} : by_head(a.cview()); };
    auto const like = [&](owned const& a) {
      return a.size() == 0 ? owned() : owned(be.memory(), a.extents());
    };
    auto const write = [](owned& a) { return a.size() == 0 ? smx::out<B, T, 4>{} : by_head(a.view()); };
    smx::inputs_in<mixer, B> in{read(q), read(k), read(v), read(g), {}};
    if (initial.size() > 0) in.initial = initial.cview();
    final = owned(be.memory(), mix.state_extents(in));
    y = like(v), dq = like(q), dk = like(k), dv = like(v), dg = like(g), dinitial = like(initial);
    smx::inputs_out<mixer, B> dx{write(dq), write(dk), write(dv), write(dg), {}};
    if (initial.size() > 0) dx.initial = dinitial.view();
    auto frame = be.scope();
    mix.forward(be, w, in, smx::tape_of<mixer, B>{}, by_head(y.view()), final.view());
    mix.backward(be, w, in, smx::tape_of<mixer, B>{}, by_head(dy.cview()),
                 dfinal.size() == 0 ? smx::in<B, T, 4>{} : dfinal.cview(), dw.write(), dx);
    be.synchronize();
  }
};

}  // namespace goldens
