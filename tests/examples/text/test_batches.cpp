// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <vector>

#include <smx/core/check.hpp>

#include "examples/common/text/batches.hpp"
#include "tests/catch.hpp"

using namespace smx_examples;
using texts_t = std::vector<std::vector<token_id>>;

TEST_CASE("Batches: longest first, padded to the longest of a batch") {
  texts_t const texts{{1}, {2, 3, 4}, {5, 6}, {7, 8, 9}, {10}};
  auto const batches = make_batches(texts, 6, -1);
  REQUIRE(batches.size() == 2);
  CHECK(batches[0].texts == std::vector<std::size_t>{1, 3});
  CHECK(batches[0].ids == std::vector<token_id>{2, 3, 4, 7, 8, 9});
  CHECK(batches[0].length == 3);
  CHECK(batches[1].texts == std::vector<std::size_t>{2, 0, 4});
  CHECK(batches[1].lengths == std::vector<token_id>{2, 1, 1});
  CHECK(batches[1].length == 2);
  CHECK(batches[1].ids == std::vector<token_id>{5, 6, 1, -1, 10, -1});
  CHECK(batches[1].rows() == 3);
}

TEST_CASE("Batches: every text comes back in its place, for any limit") {
  texts_t texts;
  for (token_id i = 0; i < 57; ++i) {
    texts.emplace_back(static_cast<std::size_t>(1 + (i * 23) % 19));
    for (token_id& id : texts.back()) id = 1000 * (i + 1) + (&id - texts.back().data());
  }
  for (token_id const limit : {19, 20, 37, 38, 100, 5000}) {
    CAPTURE(limit);
    texts_t back(texts.size());
    token_id previous = limit;
    for (token_batch const& b : make_batches(texts, limit, 0)) {
      CHECK(b.length <= previous);
      previous = b.length;
      CHECK(static_cast<token_id>(b.rows()) * b.length <= limit);
      REQUIRE(b.ids.size() == b.rows() * static_cast<std::size_t>(b.length));
      REQUIRE(b.lengths.size() == b.rows());
      for (std::size_t r = 0; r < b.rows(); ++r) {
        auto const row = b.ids.begin() + static_cast<std::ptrdiff_t>(r) * b.length;
        CHECK(back[b.texts[r]].empty());
        back[b.texts[r]].assign(row, row + b.lengths[r]);
        for (token_id i = b.lengths[r]; i < b.length; ++i) CHECK(row[i] == 0);
      }
    }
    CHECK(back == texts);
  }
  CHECK(make_batches(texts, 5000, 0).size() == 1);
  CHECK(make_batches({}, 8, 0).empty());
}

TEST_CASE("Batches: what does not fit is refused") {
  CHECK_THROWS_WITH(make_batches(texts_t{{1}, {1, 2, 3}}, 2, 0),
                    test::contains("texts[1]: expected 1 to 2 tokens, got 3"));
  CHECK_THROWS_WITH(make_batches(texts_t{{}}, 2, 0),
                    test::contains("texts[0]: expected 1 to 2 tokens, got 0"));
  CHECK_THROWS_WITH(make_batches(texts_t{{1}}, 0, 0),
                    test::contains("max_padded_tokens: expected at least 1, got 0"));
}
