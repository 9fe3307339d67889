// SPDX-License-Identifier: Apache-2.0
// Masks: each says what its definition says, and its answers agree, for every tile of small arrays.
#include <smx/core/mask.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "../catch.hpp"

namespace {

using namespace smx;

constexpr index_t batches = 2, heads = 2;

/// Whether a tile's class and a key range are as tight as can be, or only never wrong.
enum class answers { exact, sound };

std::string describe(char const* what, index_t b, index_t h, index_range rows, index_range keys) {
  return std::string(what) + ": batch " + std::to_string(b) + ", head " + std::to_string(h) + ", rows " +
         std::to_string(rows.first) + ".." + std::to_string(rows.last) + ", keys " +
         std::to_string(keys.first) + ".." + std::to_string(keys.last);
}

/// Where the range of a row is not what the row sees, or "".
template <IntervalMask M> std::string wrong_row(M const& mask, index_t rows, index_t keys) {
  for (index_t b = 0; b < batches; ++b)
    for (index_t h = 0; h < heads; ++h)
      for (index_t i = 0; i < rows; ++i)
        for (index_t j = 0; j < keys; ++j) {
          index_range const range = mask.row(b, h, i);
          if ((range.first <= j && j < range.last) != mask.allow(b, h, i, j))
            return describe("row", b, h, {i, i + 1}, {j, j + 1});
        }
  return "";
}

/// The first disagreement between the answers of a mask, or "".
template <class M> std::string disagreement(M const& mask, index_t rows, index_t keys, answers how) {
  if constexpr (IntervalMask<M>)
    if (std::string const wrong = wrong_row(mask, rows, keys); wrong != "") return wrong;
  for (index_t b = 0; b < batches; ++b)
    for (index_t h = 0; h < heads; ++h)
      for (index_t r0 = 0; r0 < rows; ++r0)
        for (index_t r1 = r0 + 1; r1 <= rows; ++r1) {
          index_range const range = mask.keys(b, h, {r0, r1}, keys);
          if (range.first < 0 || range.first > range.last || range.last > keys)
            return describe("keys outside the array", b, h, {r0, r1}, range);
          index_range hull{keys, 0};
          for (index_t k0 = 0; k0 < keys; ++k0)
            for (index_t k1 = k0 + 1; k1 <= keys; ++k1) {
              index_t seen = 0;
              for (index_t i = r0; i < r1; ++i)
                for (index_t j = k0; j < k1; ++j)
                  if (mask.allow(b, h, i, j)) {
                    ++seen;
                    hull = {std::min(hull.first, j), std::max(hull.last, j + 1)};
                    if (j < range.first || j >= range.last)
                      return describe("an entry outside keys", b, h, {i, i + 1}, {j, j + 1});
                  }
              auto const truth = seen == 0                       ? tile_class::empty
                                 : seen == (r1 - r0) * (k1 - k0) ? tile_class::full
                                                                 : tile_class::partial;
              auto const said = mask.tile(b, h, {r0, r1}, {k0, k1});
              if (said != truth && (how == answers::exact || said != tile_class::partial))
                return describe("tile", b, h, {r0, r1}, {k0, k1});
            }
          if (how == answers::exact && range.first < range.last && range != hull && r1 - r0 == 1)
            return describe("keys not tight", b, h, {r0, r1}, range);
        }
  return "";
}

/// The first entry at which a mask differs from its definition, or its row from its entries, or "".
template <class M, class Truth>
std::string difference(M const& mask, index_t rows, index_t keys, Truth const& truth) {
  for (index_t b = 0; b < batches; ++b)
    for (index_t h = 0; h < heads; ++h)
      for (index_t i = 0; i < rows; ++i)
        for (index_t j = 0; j < keys; ++j) {
          if (mask.allow(b, h, i, j) != static_cast<bool>(truth(b, h, i, j)))
            return describe("allow", b, h, {i, i + 1}, {j, j + 1});
          if constexpr (IntervalMask<M>) {
            index_range const row = mask.row(b, h, i);
            if ((row.first <= j && j < row.last) != mask.allow(b, h, i, j))
              return describe("row", b, h, {i, i + 1}, {j, j + 1});
          }
        }
  return "";
}

/// `offset` numbers a mask's queries; all of it agrees for shifted queries too.
template <class M, class Truth> void check(M const& mask, answers how, Truth const& truth) {
  mask.expect_fits({batches, heads, 6, 7});
  CHECK(difference(mask, 6, 7, truth) == "");
  CHECK(disagreement(mask, 6, 7, how) == "");
  if constexpr (M::causal) {
    bool later = false;
    for (index_t i = 0; i < 6; ++i)
      for (index_t j = i + 1; j < 7; ++j) later = later || truth(0, 0, i, j);
    CHECK_FALSE(later);  // where no key precedes the first query
  }
  if constexpr (ShiftableMask<M>)
    for (index_t n : {0, 1, 4})
      CHECK(difference(mask.after(n), 6 - n, 7, [&](index_t b, index_t h, index_t i, index_t j) {
              return truth(b, h, i + n, j);
            }) == "");
  CHECK(mask == M(mask));
}

/// What f throws.
template <class F> std::string refusal(F const& f) {
  try {
    f();
  } catch (precondition_error const& e) { return e.what(); }
  return "nothing was thrown";
}
using test::contains;

std::vector<index_t> const lengths{3, 7};
std::unique_ptr<bool[]> table() {  // (2,1,6,7), with empty and full rows and columns
  auto t = std::make_unique<bool[]>(2 * 6 * 7);
  for (index_t n = 0; n < 2 * 6 * 7; ++n)
    t[static_cast<std::size_t>(n)] = n / 7 % 6 == 1 || (n / 7 % 6 != 2 && n * n % 11 < 5);
  return t;
}

}  // namespace

TEST_CASE("full and causal masks") {
  CHECK(disagreement(full_mask{}, 6, 7, answers::exact) == "");
  for (index_t offset = -8; offset <= 8; ++offset) {
    CAPTURE(offset);
    CHECK(disagreement(causal_mask{offset}, 6, 7, answers::exact) == "");
    CHECK(disagreement(causal_mask{offset}, 7, 5, answers::exact) == "");
    CHECK(difference(causal_mask{offset}, 6, 7,
                     [=](index_t, index_t, index_t i, index_t j) { return j <= i + offset; }) == "");
    for (index_t n : {0, 1, 4}) CHECK(causal_mask{offset}.after(n) == causal_mask{offset + n});
  }
  STATIC_REQUIRE(causal_mask::causal);
  STATIC_REQUIRE_FALSE(full_mask::causal);
}

TEST_CASE("windows") {
  for (index_t size = 1; size <= 8; ++size)
    check(window_mask{size}, answers::exact,
          [=](index_t, index_t, index_t i, index_t j) { return j <= i && j > i - size; });
  for (index_t offset = -3; offset <= 9; ++offset)
    CHECK(disagreement(window_mask{2, offset}, 6, 7, answers::exact) == "");
  for (index_t left = 0; left <= 4; ++left)
    for (index_t right = 0; right <= 4; ++right)
      for (index_t offset : {-2, 0, 3})
        check(band_mask{left, right, offset}, answers::exact, [=](index_t, index_t, index_t i, index_t j) {
          return i + offset - left <= j && j <= i + offset + right;
        });
}

TEST_CASE("rings: positions in rows, as the inner mask says of them") {
  for (index_t rows : {1, 4, 7})
    for (index_t first = 0; first <= 9; ++first)
      for (index_t last = first; last <= first + rows; ++last) {
        CAPTURE(rows, first, last);
        auto const truth = [=](auto const& inner) {
          return [=](index_t b, index_t h, index_t i, index_t j) {
            for (index_t p = first; p < last; ++p)
              if (p % rows == j) return inner.allow(b, h, i, p);
            return false;
          };
        };
        auto const holds = [&](auto const& inner) {
          ring_mask<std::remove_cvref_t<decltype(inner)>> const mask{inner, rows, first, last};
          CHECK(difference(mask, 6, rows, truth(inner)) == "");
          CHECK(disagreement(mask, 6, rows, answers::sound) == "");
          CHECK(mask == decltype(mask)(mask));
        };
        holds(causal_mask{first});
        holds(window_mask{3, last - 1});
        holds(block_causal_mask{2, 1, last / 2 * 2});
        holds(full_mask{});
      }
}

TEST_CASE("what windows need of a ring") {
  for (index_t size : {1, 3})
    for (index_t i = 0; i < 8; ++i) {
      window_mask const mask{size};
      CHECK(mask.oldest(i) == std::max<index_t>(0, mask.row(0, 0, i).first));
      CHECK(mask.reach() == size);
    }
  for (index_t i = 0; i < 13; ++i) {
    block_causal_mask const mask{4, 1, 2};
    CHECK(mask.oldest(i) == mask.row(0, 0, i).first);
    CHECK(mask.reach() == 8);
    index_t const closed = mask.closed(i);  // no query before it sees a key from there on
    CHECK(closed <= i);
    CHECK(i - closed < 4);
    CHECK((closed + 2) % 4 == 0);
  }
  CHECK(block_causal_mask{4}.reach() == 0);
  CHECK(block_causal_mask{4}.oldest(9) == 0);
  STATIC_REQUIRE(WindowedMask<window_mask> && WindowedMask<block_causal_mask>);
  STATIC_REQUIRE(StreamableMask<causal_mask> && !WindowedMask<causal_mask>);
  STATIC_REQUIRE(!StreamableMask<prefix_mask> && !StreamableMask<lookahead_mask>);
  auto const both = causal_mask{} & window_mask{3};
  CHECK(both.reach() == 3);
  CHECK(both.oldest(5) == 3);
}

TEST_CASE("prefixes") {
  for (index_t offset : {-2, 0, 3})
    check(prefix_mask{lengths.data(), 2, offset}, answers::exact,
          [=](index_t b, index_t, index_t i, index_t j) {
            return j <= i + offset || j < lengths[static_cast<std::size_t>(b)];
          });
  check(prefix_mask{lengths.data(), 1}, answers::exact,
        [](index_t, index_t, index_t i, index_t j) { return j <= i || j < 3; });
  for (index_t prompt = 0; prompt <= 7; ++prompt) {
    check(partial_causal_mask{prompt}, answers::exact, [=](index_t, index_t, index_t i, index_t j) {
      return i < prompt && j < prompt ? true : j <= i || j < prompt;
    });
    check(causal_then_full_mask{prompt}, answers::exact,
          [=](index_t, index_t, index_t i, index_t j) { return i >= prompt || j <= i; });
  }
}

TEST_CASE("blocks") {
  for (index_t block = 1; block <= 7; ++block)
    for (index_t offset : {0, 2, 5}) {
      check(block_causal_mask{block, -1, offset}, answers::exact,
            [=](index_t, index_t, index_t i, index_t j) { return j / block <= (i + offset) / block; });
      for (index_t history : {0, 1, 2})
        check(block_causal_mask{block, history, offset}, answers::exact,
              [=](index_t, index_t, index_t i, index_t j) {
                index_t const distance = (i + offset) / block - j / block;
                return 0 <= distance && distance <= history;
              });
    }
  for (index_t offset = -7; offset < 0; ++offset)  // queries before the first key see nothing
    check(block_causal_mask{3, 1, offset}, answers::exact, [=](index_t, index_t, index_t i, index_t j) {
      return i + offset >= 0 && j / 3 <= (i + offset) / 3 && j / 3 >= (i + offset) / 3 - 1;
    });
}

TEST_CASE("packed segments") {
  index_t const keys[] = {0, 2, 2, 5, 7}, queries[] = {0, 1, 4, 4, 6};
  auto const segment = [](index_t const* starts, index_t n) {
    index_t s = -1;
    for (index_t k = 0; k < 4; ++k)
      if (starts[k] <= n && n < starts[k + 1]) s = k;
    return s;
  };
  // no query stands in the segment of keys 2..4: a gap, which tiles may not know
  check(packed_mask{keys, 4, queries}, answers::sound,
        [&](index_t, index_t, index_t i, index_t j) { return segment(queries, i) == segment(keys, j); });
  index_t const alike[] = {0, 1, 4, 4, 6};
  packed_mask const self{alike, 4};
  self.expect_fits({1, 1, 6, 6});
  CHECK(disagreement(self, 6, 6, answers::exact) == "");
  CHECK(difference(self, 6, 6, [&](index_t, index_t, index_t i, index_t j) {
          return segment(alike, i) == segment(alike, j);
        }) == "");
  for (index_t j = 0; j < 6; ++j) CHECK_FALSE(self.allow(0, 0, 6, j));  // behind the last segment
}

TEST_CASE("padding, dilation and lookahead") {
  check(padding_mask{lengths.data(), 2}, answers::exact,
        [](index_t b, index_t, index_t, index_t j) { return j < lengths[static_cast<std::size_t>(b)]; });
  for (index_t step = 1; step <= 9; ++step)
    for (index_t offset : {-4, 0, 3}) {
      dilated_mask const mask{step, offset};
      CHECK(difference(mask, 6, 7, [=](index_t, index_t, index_t i, index_t j) {
              index_t const d = i + offset - j;
              return (d < 0 ? -d : d) % step == 0;
            }) == "");
      CHECK(disagreement(mask, 6, 7, answers::sound) == "");
      for (index_t r = 0; r < 6; ++r)  // tiles are exact, keys are not
        for (index_t k = 0; k < 6; ++k) {
          bool const any = mask.allow(0, 0, r, k) || mask.allow(0, 0, r, k + 1);
          CHECK((mask.tile(0, 0, {r, r + 1}, {k, k + 2}) == tile_class::empty) == !any);
          CHECK(mask.tile(0, 0, {r, r + 1}, {k, k + 1}) ==
                (mask.allow(0, 0, r, k) ? tile_class::full : tile_class::empty));
        }
    }
  index_t const ahead[] = {0, 2, 0, 1, 0, 3, -2, 4, 0, 0, -9, 1};
  check(lookahead_mask{view<index_t const, 2, host_space>(ahead, extents<2>{2, 6})}, answers::exact,
        [&](index_t b, index_t, index_t i, index_t j) { return j <= i + ahead[b * 6 + i]; });
  check(lookahead_mask{view<index_t const, 2, host_space>(ahead, extents<2>{1, 6}), 1}, answers::exact,
        [&](index_t, index_t, index_t i, index_t j) { return j <= i + 1 + ahead[i]; });
  index_t const most = std::numeric_limits<index_t>::max(), least = std::numeric_limits<index_t>::min();
  index_t const far[] = {0, most, 0, least, 1, most};
  for (index_t offset : {-3, 0, 2})
    check(lookahead_mask{view<index_t const, 2, host_space>(far, extents<2>{1, 6}), offset}, answers::exact,
          [&](index_t, index_t, index_t i, index_t j) {
            return far[i] == most || (far[i] != least && j <= i + offset + far[i]);
          });
}

TEST_CASE("boolean masks") {
  auto const t = table();
  auto const entry = [&](index_t b, index_t i, index_t j) {
    return t[static_cast<std::size_t>((b * 6 + i) * 7 + j)];
  };
  boolean_mask const each{view<bool const, 4, host_space>(t.get(), extents<4>{2, 1, 6, 7})};
  CHECK(disagreement(each, 6, 7, answers::sound) == "");
  check(each, answers::sound, [&](index_t b, index_t, index_t i, index_t j) { return entry(b, i, j); });
  boolean_mask const of_keys{view<bool const, 4, host_space>(t.get() + 5, extents<4>{2, 1, 1, 7})};
  check(of_keys, answers::sound,
        [&](index_t b, index_t, index_t, index_t j) { return t[static_cast<std::size_t>(5 + b * 7 + j)]; });
  view<bool const, 4, host_space> heads_differ(t.get(), extents<4>{1, 2, 6, 7});
  check(boolean_mask{heads_differ}, answers::sound,
        [&](index_t, index_t h, index_t i, index_t j) { return entry(h, i, j); });
}

TEST_CASE("tiles of a boolean mask are exact") {
  auto const t = table();
  boolean_mask const mask{view<bool const, 4, host_space>(t.get(), extents<4>{2, 1, 6, 7})};
  for (index_t r = 0; r < 6; ++r)
    for (index_t k = 0; k < 5; ++k) {
      int seen = 0;
      for (index_t j = k; j < k + 3; ++j) seen += mask.allow(1, 0, r, j) ? 1 : 0;
      auto const truth = seen == 0 ? tile_class::empty : seen == 3 ? tile_class::full : tile_class::partial;
      CHECK(mask.tile(1, 0, {r, r + 1}, {k, k + 3}) == truth);
    }
}

TEST_CASE("masks combine") {
  auto const t = table();
  boolean_mask const table_mask{view<bool const, 4, host_space>(t.get(), extents<4>{2, 1, 6, 7})};
  padding_mask const padding{lengths.data(), 2};
  auto const combined = [&](auto const& a, auto const& b) {
    check(a & b, answers::sound, [&](index_t x, index_t h, index_t i, index_t j) {
      return a.allow(x, h, i, j) && b.allow(x, h, i, j);
    });
    check(a | b, answers::sound, [&](index_t x, index_t h, index_t i, index_t j) {
      return a.allow(x, h, i, j) || b.allow(x, h, i, j);
    });
  };
  combined(window_mask{3}, padding);
  combined(padding, window_mask{3});
  combined(band_mask{0, 0, 20}, partial_causal_mask{2});  // the first shows nothing
  combined(partial_causal_mask{2}, band_mask{0, 0, 20});
  combined(padding, table_mask);
  combined(table_mask, block_causal_mask{2});
  combined(band_mask{0, 2}, partial_causal_mask{2});
  combined(dilated_mask{2}, window_mask{5});
  combined(window_mask{2} | partial_causal_mask{1}, table_mask & padding);

  using causal_and = decltype(causal_mask{} & padding);
  using causal_or = decltype(causal_mask{} | padding);
  using both = decltype(causal_mask{} | window_mask{2});
  STATIC_REQUIRE(causal_and::causal);
  STATIC_REQUIRE_FALSE(causal_or::causal);
  STATIC_REQUIRE(both::causal);
  STATIC_REQUIRE(IntervalMask<causal_and>);
  STATIC_REQUIRE_FALSE(IntervalMask<causal_or>);
  STATIC_REQUIRE(ShiftableMask<both>);
  STATIC_REQUIRE_FALSE(ShiftableMask<causal_and>);
}

TEST_CASE("a window with sinks leaves its gap out") {
  index_t const sinks = 2;
  auto const mask = window_mask{4} | (causal_mask{} & padding_mask{&sinks, 1});
  STATIC_REQUIRE(decltype(mask)::causal);
  CHECK(mask.tile(0, 0, {50, 60}, {10, 20}) == tile_class::empty);
  CHECK(mask.tile(0, 0, {50, 60}, {0, 2}) == tile_class::full);
  CHECK(mask.keys(0, 0, {50, 60}, 100) == index_range{0, 60});
}

TEST_CASE("prompts and answers of several packed sequences") {
  // a prompt is seen whole by its own sequence, an answer causally
  index_t const starts[] = {0, 4, 9, 12}, segment[] = {0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2};
  bool const prompt[] = {true, true, true, false, true, true, false, false, false, false, false, false};
  auto const mask =
      packed_mask{starts, 3} &
      (causal_mask{} | boolean_mask{view<bool const, 4, host_space>(prompt, extents<4>{1, 1, 1, 12})});
  mask.expect_fits({1, 1, 12, 12});
  CHECK(difference(mask, 12, 12, [&](index_t, index_t, index_t i, index_t j) {
          return segment[i] == segment[j] && (j <= i || (prompt[i] && prompt[j]));
        }) == "");
  CHECK(disagreement(mask, 12, 12, answers::sound) == "");
}

TEST_CASE("masks refuse what does not fit the scores") {
  extents<4> const scores{2, 2, 6, 7};
  auto const said = [&](auto const& mask) { return refusal([&] { expect_mask_fits(mask, scores); }); };
  index_t const numbers[] = {0, 3, 8, -1}, backwards[] = {0, 5, 3, 7}, short_last[] = {0, 8, 7},
                late[] = {1, 7}, wide[] = {0, 8}, fits[] = {0, 7};
  CHECK_THAT(said(window_mask{0}), contains("size of a window") && contains("got 0"));
  CHECK_THAT(said(band_mask{-1, 0}), contains("left reach") && contains("got -1"));
  CHECK_THAT(said(band_mask{0, -2}), contains("right reach") && contains("got -2"));
  CHECK_THAT(said(prefix_mask{}), contains("prefix lengths") && contains("got none"));
  CHECK_THAT(said(prefix_mask{numbers, 3}), contains("prefix lengths") && contains("got 3"));
  CHECK_THAT(said(prefix_mask{numbers + 1, 2}), contains("prefix length") && contains("got 8"));
  CHECK_THAT(said(partial_causal_mask{8}), contains("prompt") && contains("got 8"));
  CHECK_THAT(said(causal_then_full_mask{-1}), contains("causal rows") && contains("got -1"));
  CHECK_THAT(said(block_causal_mask{0}), contains("block") && contains("got 0"));
  CHECK_THAT(said(packed_mask{}), contains("segment starts") && contains("got none"));
  CHECK_THAT(said(packed_mask{fits, 0, nullptr}), contains("segments") && contains("got 0"));
  CHECK_THAT(said(packed_mask{late, 1}), contains("a first entry of 0") && contains("got 1"));
  CHECK_THAT(said(packed_mask{backwards, 3}), contains("do not decrease") && contains("got 3"));
  CHECK_THAT(said(packed_mask{short_last, 2}), contains("do not decrease") && contains("got 7"));
  CHECK_THAT(said(packed_mask{wide, 1}), contains("number of keys") && contains("got 8"));
  CHECK_THAT(said(packed_mask{fits, 1}), contains("number of queries") && contains("got 7"));
  CHECK_THAT(said(padding_mask{}), contains("padded lengths") && contains("got none"));
  CHECK_THAT(said(padding_mask{numbers, 4}), contains("padded lengths") && contains("got 4"));
  CHECK_THAT(said(padding_mask{numbers + 2, 2}), contains("padded length") && contains("got 8"));
  CHECK_THAT(said(padding_mask{numbers + 3, 1}), contains("padded length") && contains("got -1"));
  CHECK_THAT(said(dilated_mask{0}), contains("step") && contains("got 0"));
  CHECK_THAT(said(lookahead_mask{}), contains("lookahead") && contains("got none"));
  CHECK_THAT(said(lookahead_mask{view<index_t const, 2, host_space>(numbers, extents<2>{3, 1})}),
             contains("lookahead") && contains("got 3"));
  CHECK_THAT(said(lookahead_mask{view<index_t const, 2, host_space>(numbers, extents<2>{1, 5})}),
             contains("an entry for each query") && contains("got 5"));
  auto const t = table();
  auto const boolean = [&](extents<4> const& e) {
    return boolean_mask{view<bool const, 4, host_space>(t.get(), e)};
  };
  CHECK_THAT(said(boolean_mask{}), contains("visible") && contains("got none"));
  CHECK_THAT(said(boolean({3, 1, 6, 7})), contains("each batch entry") && contains("got 3"));
  CHECK_THAT(said(boolean({1, 3, 6, 7})), contains("each query head") && contains("got 3"));
  CHECK_THAT(said(boolean({1, 1, 5, 7})), contains("each query,") && contains("got 5"));
  CHECK_THAT(said(boolean({1, 1, 7, 6})), contains("each key,") && contains("got 6"));
  CHECK(said(boolean({1, 1, 6, 7})) == "nothing was thrown");
  CHECK_THAT(said(causal_mask{} & padding_mask{numbers + 2, 2}), contains("padded length"));
  CHECK_THAT(said(window_mask{0} | full_mask{}), contains("size of a window"));
}

TEST_CASE("masks draw the pictures of their papers") {
  auto const drawn = [](auto const& mask, index_t rows, index_t keys) {
    std::string picture;
    for (index_t i = 0; i < rows; ++i) {
      for (index_t j = 0; j < keys; ++j) picture += mask.allow(0, 0, i, j) ? '1' : '.';
      picture += ' ';
    }
    return picture;
  };
  // two sequences of one token each, one after the other: the first whole, the second causal
  CHECK(drawn(partial_causal_mask{3}, 6, 6) == "111... 111... 111... 1111.. 11111. 111111 ");
  // three frames of two positions
  CHECK(drawn(block_causal_mask{2}, 6, 6) == "11.... 11.... 1111.. 1111.. 111111 111111 ");
  // three clean frames, causal, then noisy ones that see everything
  CHECK(drawn(causal_then_full_mask{3}, 5, 5) == "1.... 11... 111.. 11111 11111 ");
  index_t const ahead[] = {0, 2, 0, 1, 0, 3, 0};
  CHECK(drawn(lookahead_mask{view<index_t const, 2, host_space>(ahead, extents<2>{1, 7})}, 7, 7) ==
        "1...... 1111... 111.... 11111.. 11111.. 1111111 1111111 ");
}
