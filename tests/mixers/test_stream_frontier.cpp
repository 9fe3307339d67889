// SPDX-License-Identifier: Apache-2.0
// The frontier of layers that look ahead, against what a perturbation of each row reaches and against sets of
// dependencies.
#include <smx/mixers/stream_frontier.hpp>

#include <set>

#include <smx/core/rng.hpp>
#include <smx/io/safetensors.hpp>

#include "tests/catch.hpp"

using namespace smx;

namespace {

using lookaheads = std::vector<std::vector<index_t>>;

view<index_t const, 1, host_space> row(std::vector<index_t> const& v) {
  return {v.data(), {static_cast<index_t>(v.size())}};
}

std::vector<index_t> frontier(lookaheads const& ahead, index_t length) {
  stream_frontier last(length);
  for (auto const& layer : ahead) last.add_layer(row(layer));
  CHECK(last.layers() == static_cast<index_t>(ahead.size()));
  CHECK(last.length() == length);
  std::vector<index_t> all;
  for (index_t t = 0; t < length; ++t) {
    all.push_back(last(t));
    CHECK(last.latency(t) == last(t) - t);
  }
  return all;
}

/// The last of the input rows that each output row depends on, from the sets of all of them.
std::vector<index_t> closure(lookaheads const& ahead, index_t length) {
  std::vector<std::set<index_t>> rows(static_cast<std::size_t>(length));
  for (index_t t = 0; t < length; ++t) rows[static_cast<std::size_t>(t)] = {t};
  for (auto const& layer : ahead) {
    auto const below = rows;
    for (std::size_t t = 0; t < rows.size(); ++t)
      for (std::size_t j = 0; j < rows.size(); ++j)
        if (static_cast<index_t>(j) - static_cast<index_t>(t) <= layer[t])
          rows[t].insert(below[j].begin(), below[j].end());
  }
  std::vector<index_t> last;
  for (auto const& set : rows) last.push_back(*set.rbegin());
  return last;
}

}  // namespace

TEST_CASE("the frontier is the last row whose change reaches a row", "[mixers][frontier]") {
  safetensors_file const file(TEST_DATA "/lookahead/lookahead.safetensors");
  for (std::string const name : {"four_layers", "far", "deep", "causal", "one_row"}) {
    CAPTURE(name);
    auto const shape = file.at(name + ".ahead").shape;
    auto const numbers = file.read<std::int64_t>(name + ".ahead");
    lookaheads ahead;
    for (index_t l = 0; l < shape[0]; ++l)
      ahead.emplace_back(numbers.begin() + l * shape[1], numbers.begin() + (l + 1) * shape[1]);
    CHECK(frontier(ahead, shape[1]) == file.read<std::int64_t>(name + ".frontier"));
  }
}

TEST_CASE("the frontier is the last of all dependencies, also behind rows that look back",
          "[mixers][frontier]") {
  index_t const most = std::numeric_limits<index_t>::max(), least = std::numeric_limits<index_t>::min();
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    random_stream const random{seed, 0};
    auto next = [&, n = std::uint64_t{0}](double below) mutable {
      return static_cast<index_t>(random.uniform(n++) * below);
    };
    index_t const length = 1 + next(25), layers = next(6);
    lookaheads ahead(static_cast<std::size_t>(layers));
    for (auto& layer : ahead)
      for (index_t t = 0; t < length; ++t) {
        index_t const a = next(13) - 7;
        layer.push_back(a == -7 ? least : a == 5 ? most : a);
      }
    CAPTURE(seed);
    CHECK(frontier(ahead, length) == closure(ahead, length));
  }
}

TEST_CASE("the latency is not the sum of the lookaheads", "[mixers][frontier]") {
  // row 0 looks at row 1 of a layer where row 0 looked two ahead: 2, not 1 + 2; row 2 inherits it
  CHECK(frontier({{2, 0, 0, 0}, {1, 0, 0, 0}}, 4) == std::vector<index_t>{2, 2, 2, 3});
  // row 1 looks nowhere, but at rows that wait
  CHECK(frontier({{3, 0, 0, 0}, {0, 0, 0, 0}}, 4) == std::vector<index_t>{3, 3, 3, 3});
}

TEST_CASE("a frontier refuses what does not fit and stays as it was", "[mixers][frontier]") {
  CHECK_THROWS_WITH(stream_frontier(0),
                    test::contains("stream_frontier: length: expected at least 1, got 0"));
  stream_frontier last(3);
  std::vector<index_t> const two{0, 0}, three{1, 0, 0};
  CHECK_THROWS_WITH(last.add_layer(row(two)), test::contains("stream_frontier: ahead: expected extents (3)"));
  CHECK(last.layers() == 0);
  last.add_layer(row(three));
  CHECK(last(0) == 1);
  CHECK_THROWS_WITH(last(3), test::contains("stream_frontier: row") && test::contains("got 3"));
  CHECK_THROWS_WITH(last.latency(-1), test::contains("stream_frontier: row") && test::contains("got -1"));
}
