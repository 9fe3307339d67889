// SPDX-License-Identifier: Apache-2.0
#include <smx/nn/patch_embedding.hpp>

#include <smx/backend/cpu.hpp>
#include <smx/backend/reference.hpp>
#include <smx/mixers/run.hpp>
#include <tests/catch.hpp>

namespace {

using smx::index_t;
using layer_type = smx::patch_embedding<double>;
constexpr layer_type layer{.image_channels = 3, .patch_height = 2, .patch_width = 3, .channels = 5};

template <class B> void matches_convolution(B& be) {
  index_t const batch = 2, height = 4, width = 9, rows = 2, columns = 3;
  auto const w = smx::initialize(be, layer, 1);
  auto const x = smx::random_normal<double>(be, {batch, 3, height, width}, 2);
  auto const y = smx::forward(be, layer, w, x);
  REQUIRE(y.extents() == smx::extents<4>{batch, 1, rows * columns, 5});
  auto const dy = smx::random_normal<double>(be, {batch, 1, rows * columns, 5}, 3);
  auto g = smx::gradients(be, layer, w, x, dy);
  smx::tensor<double, 4> dx(x.extents()), dweight(smx::extents<4>{5, 3, 2, 3});
  smx::tensor<double, 1> dbias(smx::extents<1>{5});
  double error = 0;
  for (index_t b = 0; b < batch; ++b)
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < columns; ++j)
        for (index_t d = 0; d < 5; ++d) {
          double sum = w.read().bias(d);
          double const up = dy(b, 0, i * columns + j, d);
          dbias(d) += up;
          for (index_t c = 0; c < 3; ++c)
            for (index_t p = 0; p < 2; ++p)
              for (index_t q = 0; q < 3; ++q) {
                double const pixel = x(b, c, 2 * i + p, 3 * j + q), weight = w.read().weight(d, c, p, q);
                sum += weight * pixel;
                dweight(d, c, p, q) += up * pixel;
                dx(b, c, 2 * i + p, 3 * j + q) += up * weight;
              }
          error = std::max(error, std::abs(sum - y(b, 0, i * columns + j, d)));
        }
  for (index_t n = 0; n < dx.size(); ++n) error = std::max(error, std::abs(dx.data()[n] - g.x.data()[n]));
  for (index_t n = 0; n < dweight.size(); ++n)
    error = std::max(error, std::abs(dweight.data()[n] - g.w.read().weight.ptr[n]));
  for (index_t n = 0; n < 5; ++n) error = std::max(error, std::abs(dbias(n) - g.w.read().bias(n)));
  CHECK(error < 1e-13);  // sums of at most 18 products of numbers of size 1
}

}  // namespace

TEST_CASE("patch_embedding is a convolution whose kernel is its stride", "[nn]") {
  static_assert(smx::Layer<layer_type, smx::reference_backend>);
  smx::reference_backend reference;
  auto cpu = smx::cpu();
  matches_convolution(reference);
  matches_convolution(cpu);
}

TEST_CASE("patch_embedding refuses images that are not whole patches, and other extents", "[nn]") {
  auto be = smx::cpu();
  auto const w = smx::initialize(be, layer, 1);
  auto const with = [&](index_t channels, index_t height, index_t width) {
    auto const x = smx::random_normal<double>(be, {1, channels, height, width}, 2);
    smx::forward(be, layer, w, x);
  };
  with(3, 4, 9);
  CHECK_THROWS_WITH(with(3, 5, 9), test::contains("a multiple of the patches' height; height, got 5"));
  CHECK_THROWS_WITH(with(3, 4, 8), test::contains("a multiple of the patches' width; width, got 8"));
  CHECK_THROWS_WITH(with(1, 4, 9), test::contains("x: expected extents (*, 3, *, *), got (1, 1, 4, 9)"));
  layer_type const none{.image_channels = 3, .patch_height = 0, .channels = 5};
  CHECK_THROWS_WITH(smx::initialize(be, none, 1), test::contains("patch_height: expected at least 1, got 0"));
}
