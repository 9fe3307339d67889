// SPDX-License-Identifier: Apache-2.0
// The three answers of a mask agree, for every tile of small arrays.
#include <smx/core/mask.hpp>

#include "../catch.hpp"

namespace {

using smx::causal_mask;
using smx::full_mask;
using smx::index_range;
using smx::index_t;
using smx::tile_class;

template <class M> void check_agreement(M const& mask, index_t rows, index_t keys) {
  for (index_t r0 = 0; r0 < rows; ++r0)
    for (index_t r1 = r0 + 1; r1 <= rows; ++r1) {
      index_range const range = mask.keys(0, 0, {r0, r1}, keys);
      CHECK((0 <= range.first && range.first <= range.last && range.last <= keys));
      for (index_t k0 = 0; k0 < keys; ++k0)
        for (index_t k1 = k0 + 1; k1 <= keys; ++k1) {
          index_t seen = 0, outside = 0;
          for (index_t i = r0; i < r1; ++i)
            for (index_t j = k0; j < k1; ++j)
              if (mask.allow(0, 0, i, j)) {
                ++seen;
                if (j < range.first || j >= range.last) ++outside;
              }
          auto const expected = seen == 0                       ? tile_class::empty
                                : seen == (r1 - r0) * (k1 - k0) ? tile_class::full
                                                                : tile_class::partial;
          if (mask.tile(0, 0, {r0, r1}, {k0, k1}) != expected || outside != 0)
            FAIL("rows " << r0 << ".." << r1 << ", keys " << k0 << ".." << k1);
        }
    }
  SUCCEED();
}

TEST_CASE("tile classes and key ranges agree with allow") {
  check_agreement(full_mask{}, 6, 7);
  for (index_t offset = -8; offset <= 8; ++offset) {
    CAPTURE(offset);
    check_agreement(causal_mask{offset}, 6, 7);
    check_agreement(causal_mask{offset}, 7, 5);
  }
}

TEST_CASE("the key range of a causal mask is tight") {
  for (index_t offset = -4; offset <= 4; ++offset)
    for (index_t r1 = 1; r1 <= 6; ++r1) {
      causal_mask const mask{offset};
      index_range const range = mask.keys(0, 0, {0, r1}, 7);
      if (range.last > 0) CHECK(mask.allow(0, 0, r1 - 1, range.last - 1));
      if (range.last < 7) CHECK_FALSE(mask.allow(0, 0, r1 - 1, range.last));
    }
}

TEST_CASE("a causal mask after n rows is the same mask for rows numbered from n on") {
  causal_mask const mask{2};
  for (index_t n = 0; n < 4; ++n)
    for (index_t i = 0; i < 4; ++i)
      for (index_t j = 0; j < 10; ++j) CHECK(mask.after(n).allow(0, 0, i, j) == mask.allow(0, 0, n + i, j));
}

TEST_CASE("causal masks say so at compile time") {
  STATIC_REQUIRE(causal_mask::causal);
  STATIC_REQUIRE_FALSE(full_mask::causal);
  STATIC_REQUIRE(causal_mask{1} == causal_mask{1});
  STATIC_REQUIRE_FALSE(causal_mask{1} == causal_mask{2});
}

}  // namespace
