// SPDX-License-Identifier: Apache-2.0
/// \file  nn_adamw: steps of torch's AdamW on a matrix with decay and a vector without, of its Adam with L2
/// decay, and clip_grad_norm_.
#include <smx/nn/adamw.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {
namespace {

/// Two weights under the reference's names.
template <class T> struct two_weights {
  using scalar = T;
  extents<2> matrix{};
  extents<1> vector{};
  template <class A> struct weights {
    smx::array<A, T, 2> p0;
    smx::array<A, T, 1> p1;
  };
  template <class F, class... W> void for_each_weight(F&& f, W&&... w) const {
    f(smx::weight_info<2>{"p0", matrix, {}}, w.p0...);
    f(smx::weight_info<1>{"p1", vector, {}}, w.p1...);
  }
};

struct adamw_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    using model = two_weights<T>;
    model const m{g.extents_of<2>("in.p0"), g.extents_of<1>("in.p1")};
    double const rate = g.option("lr", 1e-3);
    smx::adamw f{.beta1 = g.option("beta1", 0.9),
                 .beta2 = g.option("beta2", 0.999),
                 .epsilon = g.option("eps", 1e-8),
                 .decay = g.option("weight_decay", 0.01)};
    auto const put = [&](smx::parameters<model, B>& p, std::string const& prefix) {
      be.copy(load<T, 2>(be, g, prefix + "p0").cview(), p.write().p0);
      be.copy(load<T, 1>(be, g, prefix + "p1").cview(), p.write().p1);
      be.synchronize();
    };
    smx::parameters<model, B> w(be, m), dw(be, m);
    index_t const steps = g.size_option("steps");
    for (bool const decoupled : {true, false}) {
      f.decoupled = decoupled;
      smx::adamw_state<model, B> s(be, m);
      put(w, "in.");
      for (index_t k = 1; k <= steps; ++k) {
        put(dw, "in.g_" + std::to_string(k) + "_");
        f.update(be, m, dw, rate, s, w);
        be.synchronize();
        if (!decoupled) continue;
        for (auto const& [name, v, m1, m2] :
             {std::tuple("p0_", elements(w.read().p0), elements(s.first.read().p0),
                         elements(s.second.read().p0)),
              std::tuple("p1_", elements(w.read().p1), elements(s.first.read().p1),
                         elements(s.second.read().p1))}) {
          c.check("out." + (name + std::to_string(k)), v);
          c.check("mid.m_" + (name + std::to_string(k)), m1);
          c.check("mid.v_" + (name + std::to_string(k)), m2);
        }
      }
      if (!decoupled) c.check("out.adam_p0_" + std::to_string(steps), w.read().p0);
    }

    f.most_norm = 1;
    smx::adamw_state<model, B> s(be, m);
    put(dw, "in.g_1_");
    f.update(be, m, dw, rate, s, w);
    be.synchronize();
    c.check("out.clip_total_norm", s.norm);
    c.check("out.clipped_p0", dw.read().p0);
    c.check("out.clipped_p1", dw.read().p1);
  }
};

}  // namespace

family family_nn_adamw() { return make_family<adamw_family>("nn_adamw"); }

}  // namespace goldens
