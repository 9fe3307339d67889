// SPDX-License-Identifier: Apache-2.0
/// \file  The yardsticks: what this machine gives to a large matrix product, to multiply-adds in registers,
/// to a copy.
///
/// sgemm/smx: the backend's product, 2048 cubed; sgemm/eigen: Eigen's. fma/f32: independent multiply-adds in
/// registers, the peak of the arithmetic. copy/f32: memcpy of 256 MiB, bytes read plus bytes written.
#include <cstring>
#include <memory>

#include <Eigen/Core>

#include <bench/rows.hpp>
#include <smx/backend/cpu.hpp>
#include <smx/core/tensor.hpp>

namespace {

using bench::row;
using smx::index_t;
using backend = smx::cpu_backend<>;

smx::tensor<float, 4> pattern(index_t rows, index_t cols) {
  smx::tensor<float, 4> t(smx::extents<4>{1, 1, rows, cols});
  for (index_t i = 0; i < t.size(); ++i) t.data()[i] = static_cast<float>(i % 17) * 0.125f - 1.0f;
  return t;
}

row sgemm(int threads) {
  constexpr index_t n = 2048;
  constexpr double entries = static_cast<double>(n) * n, bytes = 3 * sizeof(float) * entries;
  return {bench::row_name("sgemm", "smx", "forward", threads, n), n, n,
          [] {
            return bench::costs{2 * entries * n, bytes, 0, bytes};
          },
          [threads] {
            struct work {
              explicit work(int n_threads) : be(n_threads) {}
              backend be;
              smx::tensor<float, 4> a = pattern(n, n), b = pattern(n, n), c = pattern(n, n);
            };
            auto const w = std::make_shared<work>(threads);
            return [w] {
              w->be.gemm(smx::op::none, smx::op::none, 1.0f, w->a.cview(), w->b.cview(), 0.0f, w->c.view());
            };
          }};
}

row sgemm_of_eigen() {
  constexpr index_t n = 2048;
  row r = sgemm(1);
  r.name = bench::row_name("sgemm", "eigen", "forward", 1, n);
  r.prepare = [] {
    using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    struct work {
      matrix a = matrix::Random(n, n), b = matrix::Random(n, n), c = matrix::Zero(n, n);
    };
    auto const w = std::make_shared<work>();
    return [w] { w->c.noalias() = w->a * w->b; };
  };
  return r;
}

/// Twelve chains of `count` multiply-adds each: more than latency times issue width of today's cores.
[[gnu::noinline]] float multiply_add(index_t count) {
  using namespace smx::cpu_kernels;
  auto const start = [](int i) { return splat(static_cast<float>(i)); };
  vec<float> a = start(0), b = start(1), c = start(2), d = start(3), e = start(4), f = start(5), g = start(6),
             h = start(7), i = start(8), j = start(9), k = start(10), l = start(11);
  vec<float> const x = splat(0.999f), y = splat(1e-3f);
  auto const step = [&](auto&... sum) { ((sum = sum * x + y, pin(sum)), ...); };
  for (index_t n = 0; n < count; ++n) step(a, b, c, d, e, f, g, h, i, j, k, l);
  return (a + b + c + d + e + f + g + h + i + j + k + l)[0];
}

row fma(int threads) {
  constexpr index_t items = 64, count = 20000;
  constexpr double flops = 2.0 * 12 * smx::cpu_kernels::lanes<float> * count * items;
  return {bench::row_name("fma", "f32", "forward", threads, items * count), items * count, 1,
          [] {
            return bench::costs{flops, 0, 0, 0};
          },
          [threads] {
            struct work {
              explicit work(int n_threads) : be(n_threads) {}
              backend be;
              float results[items] = {};
            };
            auto const w = std::make_shared<work>(threads);
            return [w] {
              w->be.tiles(items, 0, [&](auto&, index_t first, index_t n) {
                for (index_t i = first; i < first + n; ++i) w->results[i] = multiply_add(count);
              });
            };
          }};
}

row copy(int threads) {
  constexpr index_t items = 64, chunk = index_t{1} << 20;  // floats
  constexpr double bytes = 2.0 * sizeof(float) * items * chunk;
  return {bench::row_name("copy", "f32", "forward", threads, items * chunk), items * chunk, 1,
          [] {
            return bench::costs{0, bytes, 0, bytes};
          },
          [threads] {
            struct work {
              explicit work(int n_threads) : be(n_threads) {}
              backend be;
              smx::tensor<float, 4> from = pattern(items, chunk), to = pattern(items, chunk);
            };
            auto const w = std::make_shared<work>(threads);
            return [w] {
              w->be.tiles(items, 0, [&](auto&, index_t first, index_t n) {
                std::memcpy(w->to.data() + first * chunk, w->from.data() + first * chunk,
                            static_cast<std::size_t>(n * chunk) * sizeof(float));
              });
            };
          }};
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_rows(argc, argv, [](int threads) {
    std::vector<row> rows{sgemm_of_eigen()};
    for (int t : bench::thread_counts(threads)) rows.insert(rows.end(), {sgemm(t), fma(t), copy(t)});
    return rows;
  });
}
