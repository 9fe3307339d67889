// SPDX-License-Identifier: Apache-2.0
// The state of a stream as a value: written to a file and read back, branched, peeked at, taken back,
// reordered; rows of different lengths; a ring. The prompt is read once; every continuation has the bits of
// one that was never interrupted.
#include <smx/smx.hpp>

#include <algorithm>
#include <cmath>
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

// Two rows, each with tokens of its own; every check is against a stream of that row alone.
template <class M, class W, class... X> bool verbs(smx::cpu& be, M const& mix, W const& w, X const&... x) {
  auto const rows = [](auto const& v, index_t first, index_t count) {
    return smx::slice(v.cview(), 2, first, count);
  };
  auto const of = [](auto const& v, index_t row) { return smx::slice(v, 0, row, 1); };
  bool good = true;

  // A draft of 6 tokens: its outputs first, then 4 tokens of row 0 and 2 of row 1 are accepted. The prompts
  // were of different lengths, too.
  smx::stream s(be, mix, w, {.capacity = length, .snapshots = 2});
  s.prefill({prompt, prompt - 20}, rows(x, 0, prompt)...);
  s.peek(rows(x, prompt, 6)...);
  s.commit({4, 2});
  auto const next = s.step(rows(x, 150, 1)...);
  index_t const prompts[] = {prompt, prompt - 20}, accepted[] = {4, 2};
  for (index_t b = 0; b < 2; ++b) {
    smx::stream alone(be, mix, w, length);
    alone.prefill(of(rows(x, 0, prompts[b]), b)...);
    alone.prefill(of(rows(x, prompt, accepted[b]), b)...);
    auto const want = alone.step(of(rows(x, 150, 1), b)...);
    good = std::memcmp(&next(b, 0, 0, 0), want.data(), want.bytes()) == 0 && good;
  }

  // Taken back to before the step. Attention could go back to any length, others to a snapshot.
  s.truncate({prompt + 4, prompt - 18});
  good = same(s.step(rows(x, 150, 1)...), next) && good;

  // Beam search: both rows go on from what was row 1.
  s.reorder({1, 1});
  good = s.position(0) == s.position(1) && good;

  // An impossible wish changes nothing.
  try {
    s.reorder({0, 2});
    good = false;
  } catch (smx::precondition_error const&) {}
  std::printf("%-18s two rows: %s\n", M::about.name.data(), good ? "each as if alone" : "NOT as if alone");
  return good;
}

// Attention that looks back over 32 tokens, for as long as it likes, in 40 rows.
bool ring(smx::cpu& be, smx::tensor<float, 4> const& q, smx::tensor<float, 4> const& k,
          smx::tensor<float, 4> const& v) {
  smx::attention<float, smx::window_mask> const mix{.mask = {32}};
  smx::stream s(be, mix, {}, {.capacity = 40, .ring = true});
  auto const whole = smx::forward(be, mix, {}, q, k, v);
  float worst = 0;
  for (index_t t = 0; t < length; t += 4) {
    auto const row = [&](auto const& x) { return smx::slice(x.cview(), 2, t, 4); };
    auto const y = s.prefill(row(q), row(k), row(v));
    for (index_t h = 0; h < y.extents()[1]; ++h)
      for (index_t i = 0; i < 4; ++i)
        for (index_t d = 0; d < y.extents()[3]; ++d)
          worst = std::max(worst, std::abs(y(0, h, i, d) - whole(0, h, t + i, d)));
  }
  std::printf("a ring after %lld tokens: %zu bytes, at most %.1e from one-shot\n",
              static_cast<long long>(s.position()), s.bytes(), static_cast<double>(worst));
  return worst < 1e-5f;
}

}  // namespace

int main() {
  smx::cpu be;
  auto const random = [&](index_t batch, index_t heads, index_t dim, std::uint64_t seed) {
    return smx::random_normal<float>(be, {batch, heads, length, dim}, seed);
  };
  bool ok = true;
  for (index_t const batch : {1, 2}) {
    auto const show = [&](auto const& mix, std::uint64_t seed, auto const&... x) {
      auto const w = smx::initialize(be, mix, seed);
      ok = (batch == 1 ? run(be, mix, w, x...) : verbs(be, mix, w, x...)) && ok;
    };
    show(smx::attention<float, smx::causal_mask>{}, 0, random(batch, 2, 16, 1), random(batch, 2, 16, 2),
         random(batch, 2, 16, 3));
    show(smx::long_convolution<float>{.channels = 32, .taps = length}, 1, random(batch, 1, 32, 4));
    show(smx::causal_monarch<float>{.channels = 32, .length = length, .order = 2}, 2,
         random(batch, 1, 32, 5));
    show(smx::ssd<float>{.heads = 2}, 3, random(batch, 2, 16, 6), random(batch, 2, 1, 7),
         random(batch, 1, 8, 8), random(batch, 1, 8, 9));
  }
  ok = ring(be, random(1, 2, 16, 1), random(1, 2, 16, 2), random(1, 2, 16, 3)) && ok;
  return ok ? 0 : 1;
}
