// SPDX-License-Identifier: Apache-2.0
#include <smx/models/vit_checkpoint.hpp>

#include <smx/backend/cpu.hpp>
#include <smx/backend/reference.hpp>
#include <smx/mixers/planning.hpp>
#include <smx/mixers/run.hpp>
#include <tests/catch.hpp>
#include <tests/io/temporary_folder.hpp>

namespace {

using smx::index_t;
using softmax_block = smx::vit_softmax_block<double>;
using m2_block = smx::vit_m2_block<double, smx::block_diagonal<double>>;

smx::vit_sizes small(bool class_token) {
  return {.image_height = 4,
          .image_width = 6,
          .image_channels = 2,
          .patch_height = 2,
          .patch_width = 2,
          .channels = 8,
          .depth = 2,
          .classes = 3,
          .mlp_channels = 12,
          .mlp_blocks = 2,
          .heads = 2,
          .filter_width = 6,
          .class_token = class_token,
          .eps = 1e-6,
          .deviation = 0.3};
}

template <class M, class B> smx::parameters<M, B> weights_of(B& be, M const& m) {
  auto w = smx::initialize(be, m, 7);
  smx::nn::fill_tables(be, m, w.write());
  return w;
}

/// sum(r forward(x))
template <class B, class M, class W, class X, class R>
double loss(B& be, M const& m, W const& w, X const& x, R const& r) {
  auto const y = smx::forward(be, m, w, x);
  double sum = 0;
  for (index_t n = 0; n < y.size(); ++n) sum += y.data()[n] * r.data()[n];
  return sum;
}

/// The gradients against central differences along a direction in all trained weights and the images.
template <class Block> void matches_differences(bool class_token) {
  auto be = smx::cpu();
  auto const m = smx::make_vit<Block>(small(class_token));
  using model = std::remove_const_t<decltype(m)>;
  auto w = weights_of(be, m);
  auto x = smx::random_normal<double>(be, {3, 2, 4, 6}, 2);
  auto const r = smx::random_normal<double>(be, {3, 1, 1, 3}, 3);
  auto const g = smx::gradients(be, m, w, x, r);
  auto along = smx::initialize(be, m, 8);
  auto const x_along = smx::random_normal<double>(be, {3, 2, 4, 6}, 9);
  double expected = 0;
  m.for_each_weight(
      [&](auto const& info, auto const& d, auto const& dw) {
        for (index_t n = 0; n < d.size(); ++n) {
          if (!info.trained) d.ptr[n] = 0;
          expected += d.ptr[n] * dw.ptr[n];
        }
      },
      along.write(), g.w.read());
  for (index_t n = 0; n < x.size(); ++n) expected += x_along.data()[n] * g.x.data()[n];
  auto const at = [&](double h) {
    smx::parameters<model, decltype(be)> moved(be, m);
    smx::tensor<double, 4> x2(x.extents());
    for (index_t n = 0; n < w.size(); ++n) moved.all()(n) = w.all()(n) + h * along.all()(n);
    for (index_t n = 0; n < x.size(); ++n) x2.data()[n] = x.data()[n] + h * x_along.data()[n];
    return loss(be, m, moved, x2, r);
  };
  // Richardson's combination: errors of h^4 and of rounding / h. The step is small because the kernels of m2
  // are sines of large arguments.
  double const h = 3e-5, one = (at(h) - at(-h)) / (2 * h), half = (at(h / 2) - at(-h / 2)) / h;
  double const difference = (4 * half - one) / 3;
  CHECK(std::abs(expected) > 0.1);
  CHECK(difference == test::Approx(expected).epsilon(1e-7));
}

template <class Block> void runs_alike() {
  smx::reference_backend reference;
  auto one = smx::cpu();
  auto two = smx::cpu(2);
  auto const m = smx::make_vit<Block>(small(true));
  auto const w = weights_of(one, m);
  auto const x = smx::random_normal<double>(one, {5, 2, 4, 6}, 2);
  auto const y = smx::forward(one, m, w, x), y2 = smx::forward(two, m, w, x),
             exact = smx::forward(reference, m, w, x);
  for (index_t n = 0; n < y.size(); ++n) {
    CHECK(y.data()[n] == y2.data()[n]);
    CHECK(y.data()[n] == test::Approx(exact.data()[n]).epsilon(1e-11));
  }
  auto const plan = smx::plan(one, m, x.extents());
  CHECK(plan.forward.flops > 0);
  {
    auto be = smx::cpu();
    smx::forward(be, m, w, x);
    CHECK(be.workspace_bytes() == plan.forward.workspace);
  }
  auto be = smx::cpu();
  smx::gradients(be, m, w, x, smx::random_normal<double>(one, {5, 1, 1, 3}, 3));
  CHECK(be.workspace_bytes() == plan.training.workspace);
}

}  // namespace

TEST_CASE("vit: gradients of all weights and of the images", "[models]") {
  for (bool const class_token : {true, false}) {
    matches_differences<softmax_block>(class_token);
    matches_differences<m2_block>(class_token);
  }
}

TEST_CASE("vit: backends and thread counts agree, and the plan is exact", "[models]") {
  runs_alike<softmax_block>();
  runs_alike<m2_block>();
}

TEST_CASE("vit: images and sizes that do not fit are refused", "[models]") {
  auto be = smx::cpu();
  auto const m = smx::make_vit<m2_block>(small(true));
  auto const w = weights_of(be, m);
  auto const larger = smx::random_normal<double>(be, {1, 2, 6, 6}, 2);
  CHECK_THROWS_WITH(smx::forward(be, m, w, larger),
                    test::contains("images: expected extents (*, 2, 4, 6), got (1, 2, 6, 6)"));
  smx::vit_sizes odd = small(true);
  odd.image_width = 5;
  CHECK_THROWS_WITH(smx::make_vit<m2_block>(odd), test::contains("width, got 5"));
  smx::vit_sizes heads = small(true);
  heads.heads = 3;
  CHECK_THROWS_WITH(smx::initialize(be, smx::make_vit<softmax_block>(heads), 1),
                    test::contains("a multiple of heads, or a head_dim, got 8"));
}

TEST_CASE("vit: published checkpoints are written and read, and all that is wrong is named", "[models]") {
  using act = smx::gelu_erf_activation;
  test::temporary_folder folder;
  smx::reference_backend be;
  auto const m = smx::make_vit<softmax_block>(small(true));
  using model = std::remove_const_t<decltype(m)>;
  auto w = weights_of(be, m);
  auto const file_with = [&](auto const& change) {
    smx::safetensors_writer file;
    smx::add_hf_vit<act, double>(m, true, w, file);
    change(file);
    file.write(folder / "model.safetensors");
    return smx::safetensors_file(folder / "model.safetensors");
  };
  auto const read = [&](smx::safetensors_file const& file, model const& into, bool refuse) {
    smx::parameters<model, smx::reference_backend> to(be, into);
    smx::checkpoint_reader from(file, {"vit.", ""});
    smx::read_hf_vit<act, double>(into, true, from, to.write());
    auto const unknown = from.finish(refuse);
    return std::pair(std::move(to), unknown);
  };
  double const extra[3] = {1, 2, 3};
  smx::view<double const, 1, smx::host_space> const three(extra, {3});
  auto const file = file_with([&](auto& f) {
    f.add("vit.pooler.dense.bias", three);
    f.add("vit.extra", three);
  });
  CHECK(file.at("vit.embeddings.cls_token").shape == std::vector<index_t>{1, 1, 8});
  CHECK(file.at("vit.embeddings.patch_embeddings.projection.weight").shape ==
        std::vector<index_t>{8, 2, 2, 2});
  auto const [back, unknown] = read(file, m, false);
  CHECK(unknown == std::vector<std::string>{"vit.extra"});
  double difference = 0;
  m.for_each_weight(
      [&](auto const&, auto const& a, auto const& b) {
        for (index_t n = 0; n < a.size(); ++n) difference += std::abs(a.ptr[n] - b.ptr[n]);
      },
      w.read(), back.read());
  CHECK(difference == 0);
  CHECK_THROWS_WITH(read(file, m, true), test::contains("tensor 'vit.extra' is unknown"));

  smx::vit_sizes deeper = small(true);
  deeper.depth = 3;
  deeper.classes = 4;
  CHECK_THROWS_WITH(read(file, smx::make_vit<softmax_block>(deeper), false),
                    test::contains("tensor 'encoder.layer.2.layernorm_before.weight' is missing") &&
                        test::contains("tensor 'encoder.layer.2.output.dense.bias' is missing") &&
                        test::contains("tensor 'classifier.weight': expected extents (4, 8), got (3, 8)"));
}
