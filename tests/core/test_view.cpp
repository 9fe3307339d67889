// SPDX-License-Identifier: Apache-2.0
// The algebra of views: each operation against plain index arithmetic over every index of small shapes.
#include <numeric>
#include <set>
#include <type_traits>
#include <vector>

#include <smx/core/view.hpp>

#include "../catch.hpp"

namespace {

using smx::extents;
using smx::host_space;
using smx::index_t;
using smx::view;

template <int R> index_t offset(extents<R> const& strides, extents<R> const& i) {
  index_t at = 0;
  for (int r = 0; r < R; ++r) at += i[r] * strides[r];
  return at;
}

template <int R, class F> void each(extents<R> const& e, F const& f) {
  index_t total = 1;
  for (int r = 0; r < R; ++r) total *= e[r];
  for (index_t n = 0; n < total; ++n) {
    extents<R> i = {};
    index_t rest = n;
    for (int r = R - 1; r >= 0; --r) i[r] = rest % e[r], rest /= e[r];
    f(i);
  }
}

std::vector<int> counted(index_t n) {
  std::vector<int> v(static_cast<std::size_t>(n));
  std::iota(v.begin(), v.end(), 0);
  return v;
}

TEST_CASE("row-major views enumerate memory in order, each entry once") {
  auto data = counted(2 * 3 * 1 * 5);
  view<int, 4, host_space> const v(data.data(), {2, 3, 1, 5});  // (2,3,1,5)
  int next = 0;
  each(v.ext, [&](extents<4> const& i) { CHECK(v(i[0], i[1], i[2], i[3]) == next++); });
  CHECK(v.size() == 30);
  CHECK(is_contiguous(v));
  CHECK_FALSE(v.empty());
  CHECK(view<int, 4, host_space>().empty());
}

TEST_CASE("views are trivially copyable, default to nothing, and become const but never the reverse") {
  using plain = view<float, 3, host_space>;
  using constant = view<float const, 3, host_space>;
  STATIC_REQUIRE(std::is_trivially_copyable_v<plain>);
  STATIC_REQUIRE(std::is_convertible_v<plain, constant>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<constant, plain>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<plain, view<float, 3, smx::device_space>>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<plain, view<double, 3, host_space>>);
  plain const v;
  CHECK(v.ptr == nullptr);
  CHECK(v.size() == 0);
}

TEST_CASE("swap_axes reads (.., j, .., i, ..) at (.., i, .., j, ..) and undoes itself") {
  auto data = counted(2 * 3 * 4);
  view<int, 3, host_space> const v(data.data(), {2, 3, 4});
  for (int a = 0; a < 3; ++a)
    for (int b = 0; b < 3; ++b) {
      auto const s = swap_axes(v, a, b);
      each(s.ext, [&](extents<3> const& i) {
        extents<3> j = i;
        std::swap(j[a], j[b]);
        CHECK(s(i[0], i[1], i[2]) == v(j[0], j[1], j[2]));
      });
      auto const twice = swap_axes(s, a, b);
      CHECK(twice.ext == v.ext);
      CHECK(twice.str == v.str);
    }
}

TEST_CASE("slice shifts one index; a slice of a slice adds up") {
  auto data = counted(4 * 7);
  view<int, 2, host_space> const v(data.data(), {4, 7});
  auto const s = slice(slice(v, 1, 2, 4), 1, 1, 3);
  CHECK(s.ext == extents<2>{4, 3});
  each(s.ext, [&](extents<2> const& i) { CHECK(s(i[0], i[1]) == v(i[0], i[1] + 3)); });
  auto const rows = slice(v, 0, 2, 2);
  each(rows.ext, [&](extents<2> const& i) { CHECK(rows(i[0], i[1]) == v(i[0] + 2, i[1])); });
  CHECK(slice(v, 0, 4, 0).size() == 0);
}

TEST_CASE("split_axis reads n = i * inner + j at (i, j), at every position and on strided axes") {
  auto data = counted(2 * 6 * 4 * 3);
  view<int, 3, host_space> const whole(data.data(), {2, 12, 6});
  view<int, 3, host_space> const v(data.data(), {2, 6, 4}, {72, 12, 1});  // every second row, two columns off
  for (auto const& from : {whole, v, swap_axes(v, 0, 1)}) {
    for (int axis = 0; axis < 3; ++axis) {
      for (index_t inner = 1; inner <= from.ext[axis]; ++inner) {
        if (from.ext[axis] % inner != 0) continue;
        auto const s = split_axis(from, axis, from.ext[axis] / inner, inner);
        CHECK(s.size() == from.size());
        each(s.ext, [&](extents<4> const& i) {
          extents<3> j = {};
          for (int r = 0, q = 0; r < 3; ++r) {
            j[r] = r == axis ? i[q] * inner + i[q + 1] : i[q];
            q += r == axis ? 2 : 1;
          }
          CHECK(offset(s.str, i) == offset(from.str, j));
        });
      }
    }
  }
}

TEST_CASE("broadcast_axis and fix_axis are inverse, and a broadcast axis does not move") {
  auto data = counted(2 * 3);
  view<int, 2, host_space> const v(data.data(), {2, 3});
  for (int axis = 0; axis <= 2; ++axis) {
    auto const b = broadcast_axis(v, axis, 5);
    CHECK(b.ext[axis] == 5);
    CHECK(b.str[axis] == 0);
    for (index_t k = 0; k < 5; ++k) {
      auto const back = fix_axis(b, axis, k);
      CHECK(back.ptr == v.ptr);
      CHECK(back.ext == v.ext);
      CHECK(back.str == v.str);
    }
  }
  CHECK(fix_axis(v, 0, 1)(2) == v(1, 2));
  CHECK(fix_axis(v, 1, 2)(1) == v(1, 2));
}

TEST_CASE("a permuted, split, sliced view of contiguous memory reaches distinct entries inside of it") {
  auto data = counted(3 * 4 * 6);
  view<int, 3, host_space> const v(data.data(), {3, 4, 6});
  auto const w = slice(swap_axes(split_axis(v, 2, 2, 3), 1, 3), 3, 1, 3);  // (3,3,2,3)
  std::set<index_t> seen;
  each(w.ext, [&](extents<4> const& i) {
    index_t const at = (w.ptr - v.ptr) + offset(w.str, i);
    CHECK((at >= 0 && at < v.size()));
    CHECK(seen.insert(at).second);
  });
  CHECK(static_cast<index_t>(seen.size()) == w.size());
}

TEST_CASE("is_contiguous: row-major without gaps; axes of extent 1 may have any stride") {
  int data[64] = {};
  using v3 = view<int, 3, host_space>;
  CHECK(is_contiguous(v3(data, {2, 3, 4})));
  CHECK(is_contiguous(v3(data, {2, 1, 4}, {4, 99, 1})));
  CHECK_FALSE(is_contiguous(v3(data, {2, 3, 4}, {12, 4, 2})));
  CHECK_FALSE(is_contiguous(v3(data, {2, 3, 4}, {16, 4, 1})));
  CHECK_FALSE(is_contiguous(v3(data, {2, 3, 4}, {0, 4, 1})));
  CHECK_FALSE(is_contiguous(swap_axes(v3(data, {2, 3, 4}), 1, 2)));
}

TEST_CASE("overlaps: exact for contiguous ranges, conservative for interleaved ones, negative strides too") {
  int data[32] = {};
  using v1 = view<int, 1, host_space>;
  for (index_t a = 0; a < 8; ++a)
    for (index_t n = 0; n < 5; ++n)
      for (index_t b = 0; b < 8; ++b)
        for (index_t m = 0; m < 5; ++m) {
          bool const meet = n > 0 && m > 0 && a < b + m && b < a + n;
          CHECK(overlaps(v1(data + a, {n}), v1(data + b, {m})) == meet);
          if (n > 0) {  // the same entries, last one first
            CHECK(overlaps(v1(data + a + n - 1, {n}, {-1}), v1(data + b, {m})) == meet);
          }
        }
  CHECK(overlaps(v1(data, {4}, {2}), v1(data + 1, {4}, {2})));  // interleaved: conservative
  CHECK_FALSE(overlaps(v1(), v1(data, {4})));
  CHECK_FALSE(overlaps(v1(data, {4}), v1()));
  view<double, 1, host_space> const bytes(reinterpret_cast<double*>(data + 2), {1});  // 8 bytes: two ints
  CHECK(overlaps(bytes, v1(data + 3, {1})));
  CHECK_FALSE(overlaps(bytes, v1(data + 4, {1})));
}

TEST_CASE("views without memory keep their null pointer under every operation") {
  view<float, 3, smx::meta_space> const v(nullptr, {4, 6, 8});
  CHECK(slice(v, 1, 2, 3).ptr == nullptr);
  CHECK(fix_axis(v, 0, 3).ptr == nullptr);
  CHECK(split_axis(v, 2, 2, 4).ptr == nullptr);
  CHECK(broadcast_axis(v, 0, 2).ptr == nullptr);
}

}  // namespace
