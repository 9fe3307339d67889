// SPDX-License-Identifier: Apache-2.0
#include <smx/nn/embedding.hpp>

#include <cstring>
#include <limits>

#include <smx/mixers/run.hpp>
#include <tests/catch.hpp>
#include <tests/nn/backends.hpp>

using smx::extents;
using smx::index_t;

namespace {

using layer = smx::embedding<float>;
using params = smx::parameters_in<layer, smx::host_space>;

constexpr layer sizes{.rows = 13, .channels = 5};

}  // namespace

TEST_CASE("embedding: rows are looked up and their gradients added in order", "[nn]") {
  auto const ids = test::ids_below<2>(sizes.rows, {3, 17}, 1);
  auto const dy = test::normal<float, 4>({3, 1, 17, 5}, 2);
  std::vector<float> expected;
  test::on_host_backends([&](auto& be) {
    params w = smx::initialize(be, sizes, 7), dw(be, sizes);
    smx::tensor<float, 4> y({3, 1, 17, 5});
    sizes.forward(be, w, ids.cview(), y.view());
    sizes.backward(be, ids.cview(), dy.cview(), dw.write());
    sizes.backward(be, ids.cview(), dy.cview(), dw.write());  // +=
    smx::tensor<double, 2> sums({sizes.rows, 5});
    for (index_t b = 0; b < 3; ++b)
      for (index_t l = 0; l < 17; ++l)
        for (index_t d = 0; d < 5; ++d) {
          CHECK(y(b, 0, l, d) == w.read().weight(ids(b, l), d));
          sums(ids(b, l), d) += 2 * static_cast<double>(dy(b, 0, l, d));
        }
    for (index_t r = 0; r < sizes.rows; ++r)
      for (index_t d = 0; d < 5; ++d)
        CHECK(static_cast<double>(dw.read().weight(r, d)) == test::Approx(sums(r, d)).margin(1e-5));
    std::vector<float> const got(dw.all().ptr, dw.all().ptr + dw.size());
    if (expected.empty()) expected = got;
    CHECK(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)) == 0);
  });
}

TEST_CASE("embedding: the padding row keeps every bit of its gradient", "[nn]") {
  layer padded = sizes;
  padded.padding_row = 4;
  auto ids = test::ids_below<2>(sizes.rows, {2, 40}, 1);
  ids(0, 0) = ids(1, 39) = 4;
  auto dy = test::normal<float, 4>({2, 1, 40, 5}, 2);
  dy(1, 0, 39, 2) = std::numeric_limits<float>::quiet_NaN();
  test::on_host_backends([&](auto& be) {
    params dw(be, sizes), all(be, sizes);
    dw.write().weight(4, 0) = 0.1f;
    padded.backward(be, ids.cview(), dy.cview(), dw.write());
    sizes.backward(be, ids.cview(), dy.cview(), all.write());
    for (index_t r = 0; r < sizes.rows; ++r)
      for (index_t d = 0; d < 5; ++d)
        CHECK(dw.read().weight(r, d) == (r != 4 ? all.read().weight(r, d) : d == 0 ? 0.1f : 0.f));
    params w = smx::initialize(be, padded, 3);
    padded.clear_padding_row(be, w.write());
    for (index_t d = 0; d < 5; ++d) CHECK((w.read().weight(4, d) == 0 && w.read().weight(3, d) != 0));
  });
}

TEST_CASE("embedding: strided ids and outputs are the same as contiguous ones", "[nn]") {
  auto const ids = test::ids_below<2>(sizes.rows, {17, 3}, 1);
  auto const across = smx::swap_axes(ids.cview(), 0, 1);  // (3,17)
  test::on_host_backends([&](auto& be) {
    params const w = smx::initialize(be, sizes, 7);
    params dw(be, sizes), dw2(be, sizes);
    smx::tensor<float, 4> wide({3, 1, 17, 9}), dy({3, 1, 17, 5});
    auto const y = smx::slice(wide.view(), 3, 2, 5);
    sizes.forward(be, w, across, y);
    for (index_t b = 0; b < 3; ++b)
      for (index_t l = 0; l < 17; ++l)
        for (index_t d = 0; d < 5; ++d) {
          CHECK(y(b, 0, l, d) == w.read().weight(ids(l, b), d));
          dy(b, 0, l, d) = y(b, 0, l, d);
        }
    sizes.backward(be, across, smx::as_input(y), dw.write());
    sizes.backward(be, across, dy.cview(), dw2.write());
    CHECK(std::memcmp(dw.all().ptr, dw2.all().ptr, dw.bytes()) == 0);
  });
}

TEST_CASE("embedding: the workspace is what was planned", "[nn]") {
  layer padded = sizes;
  padded.padding_row = 0;
  auto const ids = test::ids_below<2>(sizes.rows, {3, 17}, 1);
  auto const dy = test::normal<float, 4>({3, 1, 17, 5}, 2);
  smx::cpu be(2);
  params dw(be, sizes);
  padded.backward(be, ids.cview(), dy.cview(), dw.write());
  auto const planned = test::planned_workspace(be, [&](auto& plan) {
    smx::parameters<layer, std::remove_reference_t<decltype(plan)>> shapes(plan, sizes);
    padded.backward(plan, test::shape<index_t const>(ids.extents()), test::shape<float const>(dy.extents()),
                    shapes.write());
  });
  CHECK(planned == be.workspace_bytes());
  CHECK(planned > 0);
}

TEST_CASE("embedding: bad input is refused by name", "[nn]") {
  smx::cpu be(1);
  params w = smx::initialize(be, sizes, 7);
  auto ids = test::ids_below<2>(sizes.rows, {2, 4}, 1);
  smx::tensor<float, 4> y({2, 1, 4, 5});
  auto const forward = [&](layer const& e, smx::extents<4> const& ext) {
    smx::tensor<float, 4> to(ext);
    e.forward(be, w, ids.cview(), to.view());
  };
  CHECK_THROWS_WITH(forward(sizes, {2, 1, 4, 6}),
                    test::contains("embedding: y: expected extents (2, 1, 4, 5), got (2, 1, 4, 6)"));
  CHECK_THROWS_WITH(forward(sizes, {2, 2, 4, 5}), test::contains("embedding: y"));
  CHECK_THROWS_WITH(forward({.rows = 12, .channels = 5}, {2, 1, 4, 5}),
                    test::contains("embedding: weight: expected extents (12, 5), got (13, 5)"));
  CHECK_THROWS_WITH(forward({.rows = 0, .channels = 5}, {2, 1, 4, 5}), test::contains("embedding: rows"));
  CHECK_THROWS_WITH(forward({.rows = 13, .channels = 0}, {2, 1, 4, 5}),
                    test::contains("embedding: channels"));
  CHECK_THROWS_WITH(
      forward({.rows = 13, .channels = 5, .padding_row = 13}, {2, 1, 4, 5}),
      test::contains("embedding: padding_row: expected -1 (none) or a row of the table, got 13"));
  for (index_t const bad : {index_t{13}, index_t{-1}}) {
    ids(1, 2) = bad;
    CHECK_THROWS_WITH(forward(sizes, {2, 1, 4, 5}),
                      test::contains("embedding: ids(1, 2): expected a row of the table, 0 to 12, got " +
                                     std::to_string(bad)));
    CHECK_THROWS_WITH(sizes.backward(be, ids.cview(), y.cview(), w.write()),
                      test::contains("embedding: ids(1, 2)"));
  }
}
