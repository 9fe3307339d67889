// SPDX-License-Identifier: Apache-2.0
// Decoding with a captured step: the kernels of one token are recorded once and then started as one. The
// state of ssd (Mamba-2) has the same size and place for every token, so that the recording is good for all
// of them.
#include <smx/smx.hpp>

#include <cstdio>
#include <exception>

#include <smx/backend/cuda.cuh>

int main() try {
  try {
    smx::cuda{};
  } catch (smx::backend_error const& e) {  // no device, or too old a driver
    std::printf("skipped: %s\n", e.what());
    return 77;
  }
  using mixer = smx::ssd<float>;
  constexpr smx::index_t heads = 8, dim = 64, n = 128, tokens = 16;
  smx::cuda be;
  mixer const mix{.heads = heads};
  auto const w = smx::initialize(be, mix, 1);
  auto const x = smx::random_normal<float>(be, {1, heads, tokens, dim}, 2);     // (B,H,L,P)
  auto const dt = smx::random_normal<float>(be, {1, heads, tokens, 1}, 3);      // (B,H,L,1)
  auto const b = smx::random_normal<float>(be, {1, 1, tokens, n}, 4);           // (B,G,L,N)
  auto const c = smx::random_normal<float>(be, {1, 1, tokens, n}, 5);           // (B,G,L,N)
  auto const whole = smx::download(be, smx::forward(be, mix, w, x, dt, b, c));  // (B,H,L,P)

  // One token's arguments, in memory that stays where it is.
  smx::tensor<float, 4, smx::device_space> x1(be.memory(), {1, heads, 1, dim}),
      dt1(be.memory(), {1, heads, 1, 1}), b1(be.memory(), {1, 1, 1, n}), c1(be.memory(), {1, 1, 1, n}),
      y1(be.memory(), {1, heads, 1, dim});
  smx::inputs_in<mixer, smx::cuda> token;
  token.x = x1, token.dt = dt1, token.b = b1, token.c = c1;
  auto state = mix.make_state(be, w, token, tokens + 1);

  auto const step = [&] {
    auto frame = be.scope();
    mix.step(be, w, token, state, y1.view());
  };
  step();  // grows the workspace; a plan's size and be.reserve() would do it, too
  be.copy(smx::tensor<float, 4, smx::device_space>(be.memory(), state.s.extents()).cview(),
          state.s.view());  // zero
  smx::cuda_graph const recorded(be, step);

  double worst = 0;
  for (smx::index_t t = 0; t < tokens; ++t) {
    auto const feed = [&](auto const& from, auto& to) {
      be.copy(smx::slice(from.cview(), 2, t, 1), to.view());
    };
    feed(x, x1), feed(dt, dt1), feed(b, b1), feed(c, c1);
    recorded.launch();
    auto const y = smx::download(be, y1);
    for (smx::index_t h = 0; h < heads; ++h)
      for (smx::index_t p = 0; p < dim; ++p) {
        double const error = static_cast<double>(y(0, h, 0, p)) - static_cast<double>(whole(0, h, t, p));
        worst = error > worst ? error : -error > worst ? -error : worst;
      }
  }
  std::printf(
      "%lld tokens of %lld kernels each, one launch a token: largest difference from the whole sequence "
      "%.2g\n",
      static_cast<long long>(tokens), static_cast<long long>(recorded.kernels()), worst);
  return worst < 1e-3 ? 0 : 1;  // entries of about 10, sums of 128 products
} catch (std::exception const& e) {
  std::fprintf(stderr, "error: %s\n", e.what());
  return 1;
}
