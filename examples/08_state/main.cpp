// SPDX-License-Identifier: Apache-2.0
// The state of a stream as a value: written to a file and read back, branched, taken back. The prompt is read
// once; every continuation has the bits of one that was never interrupted.
#include <smx/smx.hpp>

#include <cstdio>
#include <cstring>

#include <smx/backend/cpu.hpp>
#include <smx/state_file.hpp>

using smx::index_t;

namespace {

constexpr index_t prompt = 120, length = 160;

bool same(smx::tensor<float, 4> const& a, smx::tensor<float, 4> const& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

// x...: the inputs of `mix` for all tokens, (B,H,L,.) each.
template <class M, class W, class... X> bool run(smx::cpu& be, M const& mix, W const& w, X const&... x) {
  auto const rows = [](auto const& v, index_t first, index_t count) {
    return smx::slice(v.cview(), 2, first, count);
  };
  auto const path = "conversation.state";

  smx::stream s(be, mix, w, /*capacity*/ length);
  s.prefill(rows(x, 0, prompt)...);
  smx::save_state(path, mix, s.state());

  auto branch = s.clone();                                      // a place to come back to
  auto const first = s.step(rows(x, prompt, 1)...);             // (B,H,1,.)
  auto const second = s.prefill(rows(x, prompt + 1, 9)...);     // (B,H,9,.)
  bool good = same(branch.step(rows(x, prompt, 1)...), first);  // taken back by 10 tokens, then on again
  good = same(branch.prefill(rows(x, prompt + 1, 9)...), second) && good;

  // After a restart: the first token of any input says batch, heads and dims.
  smx::inputs_in<M, smx::cpu> like;
  index_t n = 0;
  auto const views = {smx::in<smx::cpu, float, 4>(rows(x, 0, 1))...};
  M::for_each_input(
      [&](char const*, auto& to) {
        if (n < static_cast<index_t>(views.size())) to = views.begin()[n];
        ++n;
      },
      like);
  smx::stream later(be, mix, w, smx::load_state(path, be, mix, w, like));
  good = later.position() == prompt && same(later.step(rows(x, prompt, 1)...), first) && good;
  good = same(later.prefill(rows(x, prompt + 1, 9)...), second) && good;
  std::printf("%-18s %6zu bytes after %lld tokens: %s\n", M::about.name.data(), later.bytes(),
              static_cast<long long>(later.position()), good ? "the same bits each time" : "NOT the same");

  // Files of another mixer, type, shape or layout, and damaged ones, are refused by name.
  try {
    smx::load_state(path, be, smx::long_convolution<float>{.channels = 7, .taps = 1}, {}, {});
    good = false;
  } catch (std::exception const&) {}
  std::remove(path);
  return good;
}

}  // namespace

int main() {
  smx::cpu be;
  auto const random = [&](index_t heads, index_t dim, std::uint64_t seed) {
    return smx::random_normal<float>(be, {1, heads, length, dim}, seed);
  };
  smx::attention<float, smx::causal_mask> const attention;
  bool ok = run(be, attention, smx::initialize(be, attention, 0), random(2, 16, 1), random(2, 16, 2),
                random(2, 16, 3));
  smx::long_convolution<float> const convolution{.channels = 32, .taps = length};
  ok = run(be, convolution, smx::initialize(be, convolution, 1), random(1, 32, 4)) && ok;
  smx::causal_monarch<float> const monarch{.channels = 32, .length = length, .order = 2};
  ok = run(be, monarch, smx::initialize(be, monarch, 2), random(1, 32, 5)) && ok;
  smx::ssd<float> const mamba{.heads = 2};
  ok = run(be, mamba, smx::initialize(be, mamba, 3), random(2, 16, 6), random(2, 1, 7), random(1, 8, 8),
           random(1, 8, 9)) &&
       ok;
  return ok ? 0 : 1;
}
