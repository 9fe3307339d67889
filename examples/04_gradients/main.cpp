// SPDX-License-Identifier: Apache-2.0
// Gradients of weights and inputs, each checked by central differences along a random direction v:
// <gradient, v> = (f(a + h v) - f(a - h v)) / 2h + O(h^2),   f = sum(dy * forward(...)).
#include <smx/smx.hpp>

#include <cmath>
#include <cstdio>

#include <smx/backend/cpu.hpp>

using array = smx::view<double, 1, smx::host_space>;

array flat(smx::tensor<double, 4>& t) { return {t.data(), {t.size()}}; }

double dot(array const& a, array const& b) {
  double sum = 0;
  for (smx::index_t i = 0; i < a.ext[0]; ++i) sum += a(i) * b(i);
  return sum;
}

// Whether `gradient` is that of f() for the entries of `argument`, which f reads.
template <class F> bool agrees(smx::cpu& be, char const* name, array argument, array gradient, F const& f) {
  // Differences are off by a multiple of h^2 and by the roundings of f over h; 1e-5 keeps both near 1e-10 of
  // the sizes involved (in float they would be 1e-2: check in double).
  double const h = 1e-5;
  auto v = smx::random_normal<double>(be, {argument.ext[0]}, /*seed*/ 99);
  auto const moved = [&](double by) {
    auto const step = [&](double s) {
      for (smx::index_t i = 0; i < argument.ext[0]; ++i) argument(i) += s * v(i);
    };
    step(by);
    double const value = f();
    step(-by);
    return value;
  };
  double const measured = (moved(h) - moved(-h)) / (2 * h), computed = dot(gradient, v);
  double const allowed = 1e-8 * std::sqrt(dot(gradient, gradient) * dot(v, v));
  bool const ok = std::fabs(measured - computed) <= allowed;
  std::printf("  %-3s d%-4s by differences %+.10e, by backward %+.10e\n", ok ? "ok" : "BAD", name, measured,
              computed);
  return ok;
}

int main() {
  smx::cpu be;
  bool ok = true;

  // One input: g.x is its gradient, g.w holds those of the weights.
  smx::long_convolution<double> const conv{.channels = 6, .taps = 50};
  auto w = smx::initialize(be, conv, 1);
  auto x = smx::random_normal<double>(be, {2, 1, 50, 6}, 2);   // (B,H,L,D)
  auto dy = smx::random_normal<double>(be, {2, 1, 50, 6}, 3);  // the upstream gradient
  // pre and post are optional inputs (gates): with them there would be g.x.pre and g.x.post
  auto g = smx::gradients(be, conv, w, x, dy);
  auto const conv_value = [&] {
    auto y = smx::forward(be, conv, w, x);
    return dot(flat(y), flat(dy));
  };
  std::printf("causal long convolution\n");
  ok &= agrees(be, "x", flat(x), flat(g.x.x), conv_value);
  ok &= agrees(be, "w", w.all(), g.w.all(), conv_value);  // every weight, in one span

  // Several inputs: g.x is a struct of them. Four query heads share two key heads.
  smx::attention<double, smx::causal_mask> const attention;
  auto q = smx::random_normal<double>(be, {1, 4, 33, 8}, 4);  // (B,Hq,L,D)
  auto k = smx::random_normal<double>(be, {1, 2, 33, 8}, 5);  // (B,Hkv,L,D)
  auto v = smx::random_normal<double>(be, {1, 2, 33, 5}, 6);  // (B,Hkv,L,E)
  auto upstream = smx::random_normal<double>(be, {1, 4, 33, 5}, 7);
  auto d = smx::gradients(be, attention, {}, q, k, v, upstream);
  auto const attention_value = [&] {
    auto y = smx::forward(be, attention, {}, q, k, v);
    return dot(flat(y), flat(upstream));
  };
  std::printf("causal attention\n");
  ok &= agrees(be, "q", flat(q), flat(d.x.q), attention_value);
  ok &= agrees(be, "k", flat(k), flat(d.x.k), attention_value);
  ok &= agrees(be, "v", flat(v), flat(d.x.v), attention_value);
  return ok ? 0 : 1;
}
