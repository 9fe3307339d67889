// SPDX-License-Identifier: Apache-2.0
// A session computes each row of each layer once, with the input row that the frontier says, and gives the
// rows of the whole sequence.
#include <smx/mixers/streaming_session.hpp>

#include <algorithm>

#include <smx/backend/cpu.hpp>
#include <smx/backend/plan.hpp>
#include <smx/backend/reference.hpp>
#include <smx/io/safetensors.hpp>
#include <smx/mixers/causal_layer.hpp>
#include <smx/mixers/long_convolution.hpp>
#include <smx/mixers/stream_frontier.hpp>
#include <smx/testing/numbers.hpp>

#include "tests/catch.hpp"
#include "tests/mixers/lookahead_layer.hpp"

using namespace smx;
using smx::testing::values;
using test::lookahead_layer;

namespace {

using T = double;
using array4 = tensor<T, 4>;

/// Rows that came out of a session, each with the number of input rows that were there.
struct collected {
  array4 y;
  std::vector<index_t> with;  // of each row: the last input row there was; -1: it has not come out
};

/// Pushes rows by `sizes`, again from the front when they are used up.
template <class Session, class B>
collected collect(B&, Session& s, array4 const& x, extents<4> const& out_ext,
                  std::vector<index_t> const& sizes) {
  collected c{array4(out_ext), std::vector<index_t>(static_cast<std::size_t>(x.extents()[2]), -1)};
  index_t const length = x.extents()[2];
  auto const take = [&](std::span<index_range const> list) {
    for (index_range const r : list) {
      testing::copy_entries(s.rows(r), slice(c.y.view(), 2, r.first, r.last - r.first));
      for (index_t t = r.first; t < r.last; ++t) {
        index_t& with = c.with[static_cast<std::size_t>(t)];
        CHECK(with == -1);
        with = s.arrived() - 1;
      }
    }
  };
  for (std::size_t i = 0; s.arrived() < length; ++i) {
    index_t const n = std::min(sizes[i % sizes.size()], length - s.arrived());
    take(s.push(slice(x.cview(), 2, s.arrived(), n)));
  }
  take(s.finish());
  return c;
}

struct golden {
  index_t layers, length, dim;
  array4 x, y;
  std::vector<array4> w;                    // (1,3,dim,dim) of each layer
  std::vector<std::vector<index_t>> ahead;  // of each layer
  std::vector<index_t> frontier;

  explicit golden(std::string const& name) {
    safetensors_file const file(TEST_DATA "/lookahead/lookahead.safetensors");
    auto const shape = file.at(name + ".w").shape;
    layers = shape[0], dim = shape[2], length = file.at(name + ".x").shape[0];
    auto const load = [&](std::string const& key, extents<4> const& e, index_t first) {
      array4 to(e);
      auto const all = file.read<T>(name + key);
      std::copy_n(all.begin() + first, to.size(), to.data());
      return to;
    };
    x = load(".x", {1, 1, length, dim}, 0), y = load(".y", {1, 1, length, dim}, 0);
    auto const all = file.read<std::int64_t>(name + ".ahead");
    for (index_t l = 0; l < layers; ++l) {
      w.push_back(load(".w", {1, 3, dim, dim}, l * 3 * dim * dim));
      ahead.emplace_back(all.begin() + l * length, all.begin() + (l + 1) * length);
    }
    frontier = file.read<std::int64_t>(name + ".frontier");
  }

  lookahead_layer<host_space> layer(index_t l) const {
    auto const n = static_cast<std::size_t>(l);
    return {w[n].cview(), ahead[n]};
  }
};

/// Of a stack of N layers of the golden file.
template <std::size_t N, class B, class F> void with_session(B& be, golden const& g, F const& f) {
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    std::vector<test::row_counts> counts(N);
    auto const counted = [&](std::size_t l) {
      auto layer = g.layer(static_cast<index_t>(l));
      layer.counts = &counts[l];
      return layer;
    };
    streaming_session s(be, g.x.extents(), counted(I)...);
    f(s);
    for (auto const& c : counts) {
      CHECK(c.taken == std::vector<int>(static_cast<std::size_t>(g.length), 1));
      CHECK(c.run == std::vector<int>(static_cast<std::size_t>(g.length), 1));
    }
  }
  (std::make_index_sequence<N>{});
}

/// Relative to the largest entry: some 40 operations on sums of at most 24 terms in each of up to 6 layers,
/// eps 1.1e-16 each, and up to a factor of 5 that layers make of it.
constexpr double bound = 1e-12;

template <std::size_t N, class B> void check_golden(B& be, std::string const& name) {
  golden const g(name);
  CAPTURE(name);
  REQUIRE(g.layers == N);
  double largest = 0;
  for (double y : values(g.y.cview())) largest = std::max(largest, std::fabs(y));
  testing::numbers const tolerance(static_cast<std::size_t>(g.y.size()), bound * largest);
  for (std::vector<index_t> const& sizes : {std::vector<index_t>{1}, {3, 1, 5}, {g.length}}) {
    CAPTURE(sizes);
    with_session<N>(be, g, [&](auto& s) {
      auto const c = collect(be, s, g.x, g.y.extents(), sizes);
      CHECK(testing::within("y", values(c.y.cview()), values(g.y.cview()), tolerance).value_or("") == "");
      if (sizes.size() == 1 && sizes[0] == 1) CHECK(c.with == g.frontier);
    });
  }
}
template <class B> void check_goldens(B& be) {
  check_golden<4>(be, "four_layers");
  check_golden<2>(be, "far");
  check_golden<6>(be, "deep");
  check_golden<3>(be, "causal");
  check_golden<2>(be, "one_row");
}

constexpr index_t length = 40, dim = 6, channels = 3;

std::vector<index_t> random_ahead(std::uint64_t seed, index_t least, index_t most) {
  random_stream const random{seed, 0};
  std::vector<index_t> ahead;
  for (index_t t = 0; t < length; ++t)
    ahead.push_back(least + static_cast<index_t>(random.uniform(static_cast<std::uint64_t>(t)) *
                                                 static_cast<double>(most - least + 1)));
  return ahead;
}

/// With rows that see all there is, and nothing of the others.
std::vector<index_t> far(std::vector<index_t> ahead) {
  ahead[11] = std::numeric_limits<index_t>::max(), ahead[17] = std::numeric_limits<index_t>::min();
  return ahead;
}

/// Attention that looks ahead, a convolution, causal attention, attention that looks ahead or back.
template <class B> struct mixed_stack {
  using convolution = long_convolution<T>;
  std::vector<index_t> const low = random_ahead(1, 0, 4), high = far(random_ahead(2, -3, 5)),
                             none = std::vector<index_t>(length, 0);
  convolution const mix{.channels = dim, .taps = 9};
  parameters<convolution, B> w;
  array4 w0, w2, w3;

  explicit mixed_stack(B& be)
      : w(initialize(be, mix, 3)),
        w0(random_normal<T>(be, {1, 3, dim, dim}, 4)),
        w2(random_normal<T>(be, {1, 3, dim, dim}, 5)),
        w3(random_normal<T>(be, {1, 3, dim, dim}, 6)) {
    for (auto* one : {&w0, &w2, &w3}) be.map(scale_by<T>{0.4}, one->view(), one->cview());
  }

  template <class F> void run(B& be, index_t batch, F const& f) {
    std::vector<test::row_counts> counts(3);
    lookahead_layer<host_space> a{w0.cview(), low, &counts[0]}, c{w2.cview(), none, &counts[1]},
        d{w3.cview(), high, &counts[2]};
    streaming_session s(be, {batch, 1, length, dim}, a, causal_layer(be, mix, w), c, d);
    CHECK(s.capacity() == length);
    CHECK(s.bytes() == static_cast<std::size_t>(5 * batch * length * dim) * sizeof(T));
    f(s);
    for (auto const& one : counts) {
      CHECK(one.taken == std::vector<int>(length, 1));
      CHECK(one.run == std::vector<int>(length, 1));
    }
  }
  array4 offline(B& be, array4 const& x) {
    auto const h = test::whole(be, w0, low, x);
    auto const i = forward(be, mix, w, h);
    return test::whole(be, w3, high, test::whole(be, w2, none, i));
  }
  std::vector<index_t> frontier() const {
    stream_frontier last(length);
    for (auto const* ahead : {&low, &none, &none, &high})
      last.add_layer(view<index_t const, 1, host_space>(ahead->data(), {length}));
    std::vector<index_t> all;
    for (index_t t = 0; t < length; ++t) all.push_back(last(t));
    return all;
  }
};

template <class B> void check_mixed(B& be) {
  mixed_stack<B> stack(be);
  auto const x = random_normal<T>(be, {2, 1, length, dim}, 7);
  auto const y = stack.offline(be, x);
  double largest = 0;
  for (double one : values(y.cview())) largest = std::max(largest, std::fabs(one));
  testing::numbers const tolerance(static_cast<std::size_t>(y.size()), bound * largest);
  for (std::vector<index_t> const& sizes : {std::vector<index_t>{1}, {1, 7, 2}, {length}})
    stack.run(be, 2, [&](auto& s) {
      auto const c = collect(be, s, x, y.extents(), sizes);
      CHECK(testing::within("y", values(c.y.cview()), values(y.cview()), tolerance).value_or("") == "");
      if (sizes.size() == 1 && sizes[0] == 1) CHECK(c.with == stack.frontier());
    });
}

}  // namespace

TEST_CASE("sessions give the rows, and the steps, of the reference results", "[mixers][session]") {
  reference_backend reference;
  check_goldens(reference);
  cpu be(1);
  check_goldens(be);
}

TEST_CASE("attention that looks ahead mixed with causal layers: session = whole sequence",
          "[mixers][session]") {
  reference_backend reference;
  check_mixed(reference);
  cpu be(2);
  check_mixed(be);
}

TEST_CASE("rows that come out depend on no later row, whatever comes with it", "[mixers][session]") {
  reference_backend be;
  golden g("four_layers");
  with_session<4>(be, g, [&](auto& s) {
    auto const y = collect(be, s, g.x, g.y.extents(), {g.length});
    index_t const at = 15;
    testing::fill(slice(g.x.view(), 2, at, 1), NAN);
    with_session<4>(be, g, [&](auto& damaged) {
      auto const z = collect(be, damaged, g.x, g.y.extents(), {g.length});
      for (index_t t = 0; t < g.length; ++t) {
        bool const reached = g.frontier[static_cast<std::size_t>(t)] >= at;
        if (!reached)
          CHECK(values(slice(z.y.cview(), 2, t, 1)) == values(slice(y.y.cview(), 2, t, 1)));
        else if (t >= at)
          CHECK(std::isnan(z.y.cview()(0, 0, t, 0)));
      }
    });
  });
}

TEST_CASE("a session does not read rows: it runs where there is no memory", "[mixers][session]") {
  plan_backend<> be;
  auto const low = random_ahead(1, 0, 4), high = random_ahead(2, -3, 5);
  using meta_layer = lookahead_layer<meta_space>;
  view<T const, 4, meta_space> const w(nullptr, {1, 3, dim, dim});
  streaming_session s(be, {1, 1, length, dim}, meta_layer{w, low}, meta_layer{w, high});
  stream_frontier last(length);
  for (auto const* ahead : {&low, &high})
    last.add_layer(view<index_t const, 1, host_space>(ahead->data(), {length}));
  auto const expect = [&](std::span<index_range const> list, index_t with) {
    for (index_range const r : list)
      for (index_t t = r.first; t < r.last; ++t) CHECK(last(t) == with);
    index_t count = 0;
    for (index_range const r : list) count += r.last - r.first;
    return count;
  };
  index_t count = 0;
  for (index_t t = 0; t < length; ++t) {
    auto const list = s.push({nullptr, {1, 1, 1, dim}});
    count += expect(list, t);
  }
  for (index_range const r : s.finish()) {
    count += r.last - r.first;
    for (index_t t = r.first; t < r.last; ++t) CHECK(last(t) == length - 1);
  }
  CHECK(count == length);
  CHECK(be.result().launches > 0);
}

TEST_CASE("layers may change heads and dims", "[mixers][session]") {
  reference_backend be;
  auto const x = random_normal<T>(be, {2, 2, length, dim}, 1);
  auto const w = random_normal<T>(be, {1, 1, dim, channels}, 2);
  streaming_session s(be, x.extents(), test::product_layer{w.cview()}, test::product_layer{w.cview(), true});
  auto const r = s.push(slice(x.cview(), 2, 0, 5));
  REQUIRE(r.size() == 1);
  CHECK(r[0] == index_range{0, 5});
  CHECK(s.rows(r[0]).ext == extents<4>{2, 2, 5, dim});
  array4 want({2, 2, 5, channels}), back({2, 2, 5, dim});
  be.gemm(op::none, op::none, T(1), slice(x.cview(), 2, 0, 5), w.cview(), T(0), want.view());
  be.gemm(op::none, op::transpose, T(1), want.cview(), w.cview(), T(0), back.view());
  CHECK(values(s.rows(r[0])) == values(back.cview()));
}

TEST_CASE("a session refuses what does not fit and stays as it was", "[mixers][session]") {
  reference_backend be;
  golden const g("four_layers");
  with_session<4>(be, g, [&](auto& s) {
    auto const rows = [&](index_t first, index_t n) { return slice(g.x.cview(), 2, first, n); };
    array4 const other({1, 1, 2, g.dim + 1}), batch({2, 1, 1, g.dim});
    s.push(rows(0, 5));
    CHECK_THROWS_WITH(s.push(other.cview()), test::contains("streaming_session: x: expected extents"));
    CHECK_THROWS_WITH(s.push(batch.cview()), test::contains("streaming_session: x: expected extents"));
    CHECK_THROWS_WITH(
        s.push(rows(0, g.length)),
        test::contains("streaming_session: x: expected rows within the capacity; rows in all, got 29"));
    CHECK_THROWS_WITH(s.push(rows(5, 0)), test::contains("streaming_session: x"));
    CHECK_THROWS_WITH(s.rows({3, 6}), test::contains("streaming_session: rows") && test::contains("got 6"));
    CHECK_THROWS_WITH(s.rows({3, 3}), test::contains("streaming_session: rows"));
    CHECK_THROWS_WITH(s.rows({-1, 3}), test::contains("streaming_session: rows"));
    CHECK(s.arrived() == 5);
    s.push(rows(5, g.length - 5));
    s.finish();
    CHECK_THROWS_WITH(s.push(rows(0, 1)), test::contains("no rows after the last one"));
    CHECK_THROWS_WITH(s.finish(), test::contains("streaming_session: finish"));
    array4 all(g.y.extents());
    testing::copy_entries(s.rows({0, g.length}), all.view());
    for (std::size_t n = 0; n < values(all.cview()).size(); ++n)
      CHECK(values(all.cview())[n] == test::Approx(values(g.y.cview())[n]).margin(1e-11));
  });
  CHECK_THROWS_WITH(streaming_session(be, extents<4>{1, 1, 0, 3}, g.layer(0)),
                    test::contains("streaming_session: x"));
  lookahead_cache<T, host_space> cache(be, {1, 1, 4, 3}, {1, 1, 4, 3});
  array4 const two({1, 1, 2, 3});
  CHECK_THROWS_WITH(cache.put(be, 3, two.cview(), two.cview()),
                    test::contains("lookahead_cache: rows: expected within the capacity; end, got 5"));
  CHECK_THROWS_WITH((lookahead_cache<T, host_space>(be, {1, 1, 4, 3}, {1, 1, 5, 3})),
                    test::contains("lookahead_cache: v"));
}
