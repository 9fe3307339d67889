// SPDX-License-Identifier: Apache-2.0
// What single layers promise beyond the laws: dropout that drops, recomputation, positions, names, streams.
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <smx/backend/cpu.hpp>
#include <smx/backend/reference.hpp>
#include <smx/mixers/planning.hpp>
#include <smx/mixers/run.hpp>
#include <smx/mixers/stream.hpp>
#include <smx/nn.hpp>
#include <smx/state_file.hpp>
#include <smx/testing/numbers.hpp>

#include "tests/catch.hpp"
#include "tests/io/temporary_folder.hpp"

namespace {

using namespace smx;
using smx::testing::values;

tensor<double, 4> random(extents<4> const& e, std::uint64_t seed) {
  tensor<double, 4> x(e);
  smx::testing::fill_normal(x.view(), {seed, 0});
  return x;
}
using block = sequential<residual<short_convolution<double>>, residual<mlp<double>>>;
block block_of(index_t channels) {
  block m;
  m.first.norm.channels = m.first.inner.channels = m.second.norm.channels = channels;
  m.second.inner.up = {.channels = channels, .output_channels = 2 * channels};
  m.second.inner.down = {.channels = 2 * channels, .output_channels = channels};
  return m;
}

TEST_CASE("dropout keeps its share, scaled, and backward keeps the same entries") {
  dropout<double> const mix{.rate = 0.3, .seed = 5};
  auto const x = random({2, 1, 50, 64}, 1);
  reference_backend reference;
  cpu be(2);
  auto const y = forward(be, mix, {}, x);
  CHECK(values(y.cview()) == values(forward(reference, mix, {}, x).cview()));
  CHECK(values(y.cview()) == values(forward(be, mix, {}, x).cview()));
  auto const g = gradients(be, mix, {}, x, x);  // dy = x: the same factors on the same numbers
  CHECK(values(g.x.cview()) == values(y.cview()));
  auto const before = values(x.cview()), after = values(y.cview());
  double dropped = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (after[i] == 0)
      ++dropped;
    else
      CHECK(after[i] == test::Approx(before[i] / 0.7).epsilon(1e-14));
  }
  // 6400 entries: a standard deviation of 0.0057
  CHECK(dropped / static_cast<double>(before.size()) == test::Approx(0.3).margin(0.03));

  auto other = mix;
  other.reseed(6);
  CHECK(values(forward(be, other, {}, x).cview()) != after);
  // where the array lies does not matter: a strided input
  tensor<double, 4> wide(extents<4>{2, 1, 50, 100});
  be.copy(x.cview(), slice(wide.view(), 3, 7, 64));
  CHECK(values(forward(be, mix, {}, slice(wide.cview(), 3, 7, 64)).cview()) == after);
  for (double const rate : {-0.1, 1.0, std::nan("")})
    CHECK_THROWS_AS(forward(be, dropout<double>{.rate = rate}, {}, x), precondition_error);
}

TEST_CASE("dropout drops in neighbouring rows and seeds without a pattern") {
  reference_backend be;
  tensor<double, 4> ones(extents<4>{1, 1, 64, 64});
  be.map(constant<double>{1}, ones.view());
  std::vector<std::vector<double>> drawn;
  for (std::uint64_t seed = 0; seed < 8; ++seed)
    drawn.push_back(values(forward(be, dropout<double>{.rate = 0.5, .seed = seed}, {}, ones).cview()));
  // 4096 pairs that agree by chance: 0.5 +- 0.0078
  for (std::size_t a = 0; a < drawn.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      double same = 0;
      for (std::size_t i = 0; i < drawn[a].size(); ++i) same += drawn[a][i] == drawn[b][i];
      CHECK(same / 4096 == test::Approx(0.5).margin(0.04));
    }
    for (std::size_t const shift : {1u, 2u, 63u, 64u, 65u}) {
      double same = 0;
      for (std::size_t i = 0; i + shift < 4096; ++i) same += drawn[a][i] == drawn[a][i + shift];
      CHECK(same / static_cast<double>(4096 - shift) == test::Approx(0.5).margin(0.04));
    }
  }
}

TEST_CASE("a stream refuses dropout that drops") {
  using layer = sequential<short_convolution<double>, sequential<linear<double>, dropout<double>>>;
  layer m{{.channels = 3}, {{.channels = 3}, {}}};
  reference_backend be;
  auto const w = initialize(be, m, 1);
  auto const x = random({1, 1, 4, 3}, 2);
  inputs_in<layer, reference_backend> const like{x.cview()};
  CHECK_NOTHROW(m.make_state(be, w.read(), like, 4));
  m.second.second.rate = 0.1;
  CHECK_THROWS_WITH(m.make_state(be, w.read(), like, 4),
                    test::contains("dropout: rate: expected 0 in a stream"));
}

TEST_CASE("recomputed layers give the same bits with less memory between forward and backward") {
  cpu be(1);
  stack<block, 8> const plain{.layer = block_of(16), .depth = 6, .seed = 3};
  stack<recomputed<block>, 8> const lean{.layer = {block_of(16)}, .depth = 6, .seed = 3};
  auto const w = initialize(be, plain, 1);
  auto const v = initialize(be, lean, 1);
  auto const x = random({2, 1, 40, 16}, 2), dy = random({2, 1, 40, 16}, 3);
  CHECK(values(forward(be, plain, w, x).cview()) == values(forward(be, lean, v, x).cview()));
  auto const a = gradients(be, plain, w, x, dy);
  auto const b = gradients(be, lean, v, x, dy);
  CHECK(values(a.x.cview()) == values(b.x.cview()));
  std::vector<std::vector<double>> dw;
  plain.for_each_weight([&](auto const&, auto const& one) { dw.push_back(values(one)); }, a.w.read());
  std::size_t i = 0;
  lean.for_each_weight([&](auto const&, auto const& one) { CHECK(values(one) == dw.at(i++)); }, b.w.read());
  CHECK(i == dw.size());
  std::size_t const much = plan(be, plain, x.extents()).training.workspace,
                    little = plan(be, lean, x.extents()).training.workspace;
  CHECK(2 * little < much);
}

TEST_CASE("recomputed dropout draws the same again") {
  reference_backend be;
  recomputed<dropout<double>> m;
  m.inner.rate = 0.5;
  m.reseed(9);
  auto const x = random({1, 1, 8, 8}, 1);
  CHECK(values(gradients(be, m, {}, x, x).x.cview()) == values(forward(be, m, {}, x).cview()));
}

TEST_CASE("sinusoidal positions") {
  cpu be(1);
  tensor<double, 2> all(extents<2>{40, 6}), later(extents<2>{7, 6});
  sinusoidal_positions(be, all.view());
  for (index_t i = 0; i < 40; ++i)
    for (index_t c = 0; c < 3; ++c) {
      double const angle = static_cast<double>(i) / std::pow(10000.0, 2.0 * static_cast<double>(c) / 6);
      CHECK(all(i, 2 * c) == test::Approx(std::sin(angle)).margin(1e-14));
      CHECK(all(i, 2 * c + 1) == test::Approx(std::cos(angle)).margin(1e-14));
    }
  sinusoidal_positions(be, later.view(), 33);
  CHECK(values(later.cview()) == values(slice(all.cview(), 0, 33, 7)));
  tensor<double, 2> odd(extents<2>{3, 5});
  sinusoidal_positions(be, odd.view());
  CHECK(odd(2, 4) == test::Approx(std::sin(2 / std::pow(10000.0, 0.8))));
  CHECK_THROWS_AS(sinusoidal_positions(be, odd.view(), 0, 0.5), precondition_error);
}

TEST_CASE("learned positions end with their table") {
  reference_backend be;
  learned_positions<double> const m{.channels = 2, .max_length = 5, .offset = 2};
  auto const w = initialize(be, m, 1);
  CHECK_NOTHROW(forward(be, m, w, random({1, 1, 3, 2}, 1)));
  CHECK_THROWS_WITH(forward(be, m, w, random({1, 1, 4, 2}, 1)),
                    test::contains("learned_positions: length of x"));
  auto const x = random({1, 1, 3, 2}, 1);
  CHECK_THROWS_WITH(m.make_state(be, w.read(), {x.cview()}, 4), test::contains("capacity"));
  // the rows before the offset have no gradient
  auto const g = gradients(be, m, w, x, x);
  auto const d = g.w.read().table;
  CHECK(values(slice(d, 0, 0, 2)) == std::vector<double>(4, 0.0));
  CHECK(values(slice(d, 0, 2, 3)) == values(x.cview()));
}

TEST_CASE("names of nested weights") {
  m2_sequence_mixer<float, convolution_kind::bidirectional> m;
  m.channels = 4, m.max_length = 8, m.input_norm = true;
  stack<residual<decltype(m)>, 2> all;
  all.layer.norm.channels = 4, all.layer.inner = m, all.depth = 2;
  std::set<std::string> names;
  std::size_t count = 0, tables = 0;
  all.for_each_weight([&](auto const& info) {
    names.insert(info.name);
    ++count;
    tables += !info.trained;
  });
  CHECK(names.size() == count);
  CHECK(tables == 8);  // t and deltas of two filters in two layers
  for (char const* one : {"0.norm.weight", "1.inner.norm.bias", "1.inner.filter.reverse.hidden.1.weight",
                          "0.inner.residual_filter.forward.in.bias", "1.inner.short.weight"})
    CHECK(names.count(one) == 1);
}

TEST_CASE("a stack's stream goes on in a copy of its state") {
  reference_backend be;
  stack<block, 4> const m{.layer = block_of(4), .depth = 3};
  auto const w = initialize(be, m, 1);
  auto const x = random({2, 1, 6, 4}, 2);
  auto const whole = forward(be, m, w, x);
  tensor<double, 4> y(x.extents());
  auto s = m.make_state(be, w.read(), {x.cview()}, 6);
  auto frame = be.scope();
  m.prefill(be, w.read(), {slice(x.cview(), 2, 0, 4)}, s, slice(y.view(), 2, 0, 4));
  auto copy = clone_state(be, s);
  m.prefill(be, w.read(), {slice(x.cview(), 2, 4, 2)}, copy, slice(y.view(), 2, 4, 2));
  CHECK(s.tokens() == 4);
  CHECK(copy.tokens() == 6);
  auto const got = values(y.cview()), want = values(whole.cview());
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == test::Approx(want[i]).margin(1e-12));
}

TEST_CASE("states of layers of layers go through files, and files that contradict themselves are refused") {
  using model = stack<residual<m2_sequence_mixer<double>>, 4>;
  reference_backend be;
  model m;
  m.depth = 3;
  m.layer.norm.channels = m.layer.inner.channels = 4;
  m.layer.inner.max_length = 8, m.layer.inner.width = 4;
  auto w = initialize(be, m, 1);
  for (index_t i = 0; i < m.depth; ++i) m.layer.inner.fill_tables(be, w.write().layers[i].inner);
  auto const x = random({2, 1, 6, 4}, 2);
  inputs_in<model, reference_backend> const like{x.cview()};
  auto frame = be.scope();
  auto s = m.make_state(be, w.read(), like, 6);
  tensor<double, 4> y(x.extents()), z(x.extents());
  auto const feed = [&](auto& state, tensor<double, 4>& to, index_t first, index_t count) {
    m.prefill(be, w.read(), {slice(x.cview(), 2, first, count)}, state, slice(to.view(), 2, first, count));
  };
  feed(s, y, 0, 4);
  test::temporary_folder const folder;
  std::string const path = folder / "state";
  save_state(path, m, s);
  auto read = load_state(path, be, m, w.read(), like);
  feed(s, y, 4, 2);
  feed(read, z, 4, 2);
  CHECK(values(slice(y.cview(), 2, 4, 2)) == values(slice(z.cview(), 2, 4, 2)));

  auto const refused = [&](char const* why, auto const& change) {
    auto bad = clone_state(be, s);
    change(bad);
    save_state(path, m, bad);
    CHECK_THROWS_WITH(load_state(path, be, m, w.read(), like), test::contains(why));
  };
  refused("position", [](auto& one) { one.position = -1; });
  refused("tokens of a part", [](auto& one) { one.layers[2].position = 1; });
  refused("tokens of a part", [](auto& one) { one.layers[1].gates.position = 1; });
  refused("capacity of a part", [](auto& one) { one.layers[1].main.capacity = 1 << 20; });
  model deeper = m;
  deeper.depth = 4;
  auto const v = initialize(be, deeper, 1);
  save_state(path, m, s);
  CHECK_THROWS_WITH(load_state(path, be, deeper, v.read(), like), test::contains("depth"));
}

TEST_CASE("a call that a later part refuses leaves the state of the first") {
  using layer = sequential<short_convolution<double>, self_attention<double, causal_mask>>;
  reference_backend be;
  layer const m{{.channels = 4}, {.channels = 4, .heads = 2}};
  auto const w = initialize(be, m, 1);
  auto const x = random({1, 1, 3, 4}, 2);
  auto s = m.make_state(be, w.read(), {x.cview()}, 3);
  tensor<double, 4> y(extents<4>{1, 1, 4, 3}), wide(extents<4>{1, 1, 3, 4});
  auto const across = swap_axes(y.view(), 2, 3);  // rows that are not contiguous
  CHECK_THROWS_AS(m.prefill(be, w.read(), {x.cview()}, s, across), precondition_error);
  auto bad = w.read();
  bad.second.out.weight.ext[0] = 3;
  CHECK_THROWS_WITH(m.prefill(be, bad, {x.cview()}, s, wide.view()), test::contains("second.out.weight"));
  CHECK(s.tokens() == 0);
  CHECK(values(s.first.rows.cview()) == std::vector<double>(8, 0.0));
  CHECK_NOTHROW(m.prefill(be, w.read(), {x.cview()}, s, wide.view()));
}

}  // namespace
