// SPDX-License-Identifier: Apache-2.0
/// \file  nn_activations: functions of every entry of in.x, and their derivatives d.*.
///
/// The reference's softplus is the identity above 20, which differs from the function by exp(-x): its values
/// there are those of the identity.
#include <smx/core/functors.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {
namespace {

struct softplus_to_20 {
  template <class T> SMX_HD T operator()(T x) const { return x > T(20) ? x : smx::softplus{}(x); }
};
struct d_softplus_to_20 {
  template <class T> SMX_HD T operator()(T x) const { return x > T(20) ? T(1) : smx::d_softplus{}(x); }
};

struct nn_activations_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    auto const x = load<T, 1>(be, g, "in.x");
    auto const check = [&](char const* name, auto const& f, auto const& d) {
      smx::tensor<T, 1, smx::space_t<B>> y(be.memory(), x.extents());
      be.map(f, y.view(), x.cview());
      be.synchronize();
      c.check(std::string("out.") + name, y);
      be.map(d, y.view(), x.cview());
      be.synchronize();
      c.check(std::string("d.") + name, y);
    };
    check("gelu_erf", smx::gelu{}, smx::d_gelu{});
    check("gelu_tanh", smx::gelu_tanh{}, smx::d_gelu_tanh{});
    check("silu", smx::silu{}, smx::d_silu{});
    check("softplus", softplus_to_20{}, d_softplus_to_20{});
    check("sigmoid", smx::sigmoid{}, smx::d_sigmoid{});
    check("tanh", smx::hyperbolic_tangent{}, smx::d_hyperbolic_tangent{});
    check("relu", smx::relu{}, smx::d_relu{});
    check("logsigmoid", smx::log_sigmoid{}, smx::d_log_sigmoid{});
    check("elu1", smx::elu_plus_one{}, smx::d_elu_plus_one{});
    check("relu2", smx::squared_relu{}, smx::d_squared_relu{});
  }
};

}  // namespace

family family_nn_activations() { return make_family<nn_activations_family>("nn_activations"); }

}  // namespace goldens
