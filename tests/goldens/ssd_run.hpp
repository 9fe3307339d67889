// SPDX-License-Identifier: Apache-2.0
/// \file  One run of ssd on the arrays of a golden file: x (b,L,H,P), dt (b,L,H), B, C (b,L,G,N), A (H) < 0,
///        D (H) or (H,P), states (b,H,P,N), all in their own layouts.
#pragma once

#include <cmath>
#include <vector>

#include <smx/mixers/run.hpp>
#include <smx/mixers/ssd.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {

/// The axes of (a,b,c,d) in the order (a,c,b,d), and the last two the other way round.
template <class V> V by_head(V const& v) { return swap_axes(v, 1, 2); }
template <class V> V turned(V const& v) { return swap_axes(v, 2, 3); }

/// A tensor (b,L,H) of the file as (b,L,H,1).
template <class T, class B>
smx::tensor<T, 4, smx::space_t<B>> column(B& be, golden const& g, char const* name) {
  auto const e = g.extents_of<3>(name);
  return load<T>(be, g, name, extents<4>{e[0], e[1], e[2], 1});
}

/// A state (b,H,P,N) of the file as (b,H,N,P).
template <class T, class B>
smx::tensor<T, 4, smx::space_t<B>> turned_state(B& be, golden const& g, char const* name) {
  auto const given = load<T, 4>(be, g, name);
  extents<4> const e = given.extents();
  smx::tensor<T, 4, smx::space_t<B>> to(be.memory(), extents<4>{e[0], e[1], e[3], e[2]});
  be.copy(turned(given.cview()), to.view());
  return to;
}

/// Writes the parameter that rates of decay a < 0 are stored as: log(-a).
template <class T, class B> void set_rates(B& be, std::vector<double> const& a, smx::out<B, T, 1> to) {
  std::vector<T> stored;
  for (double const rate : a) stored.push_back(static_cast<T>(std::log(-rate)));
  be.copy(upload<T>(be, stored, extents<1>{to.ext[0]}).cview(), to);
}

/// The gradients of rates a, from those of what is stored: da = d log(-a) / a.
template <class T> std::vector<T> rate_gradients(std::vector<T> d, std::vector<double> const& a) {
  for (std::size_t h = 0; h < d.size(); ++h) d[h] /= static_cast<T>(a.at(h));
  return d;
}

template <class T, class B> struct ssd_run {
  using mixer = smx::ssd<T>;
  using owned = smx::tensor<T, 4, smx::space_t<B>>;

  mixer mix;
  smx::parameters<mixer, B> w, dw;
  owned x, dt, b, c, z;

  ssd_run(B& be, golden const& g)
      : mix(mixer_of(g)),
        w(be, mix),
        dw(be, mix),
        x(load<T, 4>(be, g, "in.x")),
        dt(column<T>(be, g, "in.dt")),
        b(load<T, 4>(be, g, "in.B")),
        c(load<T, 4>(be, g, "in.C")) {
    if (g.contains("in.z")) z = load<T, 4>(be, g, "in.z");
    set_rates<T>(be, g.file().read<double>("in.A"), w.write().a_log);
    if (mix.dt_bias) be.copy(load<T, 1>(be, g, "in.dt_bias").cview(), w.write().dt_bias);
    if (mix.skip != smx::skip_kind::none)
      be.copy(load<T>(be, g, "in.D", w.read().skip.ext).cview(), w.write().skip);
  }

  static mixer mixer_of(golden const& g) {
    mixer m;
    extents<4> const x = g.extents_of<4>("in.x");
    m.heads = x[2];
    m.head_dim = x[3];
    m.dt_bias = g.contains("in.dt_bias");
    m.softplus = g.option("dt_softplus", true);
    m.skip = !g.contains("in.D")           ? smx::skip_kind::none
             : g.shape("in.D").size() == 2 ? smx::skip_kind::channel
                                           : smx::skip_kind::head;
    m.chunk = g.option("chunk_size", m.chunk);
    auto const limits = g.numbers_option("dt_limit");
    if (limits.size() == 2) m.dt_min = static_cast<T>(limits[0]), m.dt_max = static_cast<T>(limits[1]);
    return m;
  }

  index_t length() const { return x.extents()[1]; }
  /// Rows first .. first + count - 1; no initial states.
  smx::inputs_in<mixer, B> inputs(index_t first, index_t count) const {
    auto const rows = [&](owned const& v) {
      return v.size() == 0 ? smx::in<B, T, 4>{} : slice(by_head(v.cview()), 2, first, count);
    };
    return {rows(x), rows(dt), rows(b), rows(c), rows(z), {}};
  }

  struct results {
    owned y, final;                       // (b,L,H,P), (sequences,H,N,P)
    owned dx, ddt, db, dc, dz, dinitial;  // as the inputs
  };
  /// Forward and backward over all rows; empty initial and dfinal are 0.
  results all(B& be, owned const& initial, owned const& dy, owned const& dfinal) {
    auto const make = [&](owned const& like) {
      return like.size() == 0 ? owned() : owned(be.memory(), like.extents());
    };
    smx::inputs_in<mixer, B> in = inputs(0, length());
    if (initial.size() > 0) in.initial = initial.cview();
    extents<4> const states = mix.state_extents(in);
    results r{make(x),      owned(be.memory(), states), make(x), make(dt), make(b), make(c), make(z),
              make(initial)};
    auto frame = be.scope();
    mix.forward(be, w, in, smx::tape_of<mixer, B>{}, by_head(r.y.view()), r.final.view());
    auto const to = [&](owned& v) { return v.size() == 0 ? smx::out<B, T, 4>{} : by_head(v.view()); };
    smx::inputs_out<mixer, B> dx{to(r.dx), to(r.ddt), to(r.db), to(r.dc), to(r.dz), {}};
    if (initial.size() > 0) dx.initial = r.dinitial.view();
    mix.backward(be, w, in, smx::tape_of<mixer, B>{}, by_head(dy.cview()),
                 dfinal.size() == 0 ? smx::in<B, T, 4>{} : dfinal.cview(), dw.write(), dx);
    be.synchronize();
    return r;
  }

  void check_gradients(golden const& g, comparison& to, results const& r) {
    to.check("grad.in.x", r.dx);
    to.check("grad.in.dt", r.ddt);
    to.check("grad.in.B", r.db);
    to.check("grad.in.C", r.dc);
    to.check("grad.in.z", r.dz);
    to.check("grad.in.A", rate_gradients(elements(dw.read().a_log), g.file().read<double>("in.A")));
    if (mix.dt_bias) to.check("grad.in.dt_bias", dw.read().dt_bias);
    if (g.contains("in.D")) to.check("grad.in.D", dw.read().skip);
  }
};

}  // namespace goldens
