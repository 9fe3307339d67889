// SPDX-License-Identifier: Apache-2.0
// What this GPU does at best: a copy, and cuBLAS products, of which the fractions on the page are taken.
#include <cublas_v2.h>

#include <memory>

#include <bench/cuda/mixer_rows.cuh>

namespace {

using namespace bench;

/// A backend, and n arrays of random numbers in it.
template <class T> struct arrays {
  smx::cuda_backend be;
  std::vector<smx::tensor<T, 1, smx::device_space>> of;

  arrays(smx::cuda_options const& how, std::vector<index_t> const& sizes) : be(how) {
    std::uint32_t stream = 0;
    for (index_t n : sizes) {
      smx::tensor<float, 1, smx::device_space> made(be.memory(), smx::extents<1>{n});
      be.generate(hash_entries<float>{++stream, 1.7f}, made.view());
      if constexpr (std::is_same_v<T, float>) {
        of.push_back(std::move(made));
      } else {
        of.emplace_back(be.memory(), smx::extents<1>{n});
        be.copy(made.cview(), of.back().view());
        be.synchronize();
      }
    }
    be.synchronize();
  }
};

/// 4 GiB to 4 GiB: beyond any cache.
void add_copy(std::vector<gpu_row>& rows) {
  constexpr index_t count = index_t{1} << 30;
  constexpr double bytes = 8.0 * static_cast<double>(count);
  rows.push_back({gpu_row_name("copy", "device", "forward", "cuda", count), count, 1, count,
                  [] {
                    return costs{0, bytes, 0, bytes, 1};
                  },
                  [](int) {
                    auto const s = std::make_shared<arrays<float>>(smx::cuda_options{},
                                                                   std::vector<index_t>{count, count});
                    gpu_work w;
                    w.stream = s->be.stream();
                    w.call = [s](int) {
                      expect_success(cudaMemcpyAsync(s->of[1].data(), s->of[0].data(), 4 * count,
                                                     cudaMemcpyDeviceToDevice, s->be.stream()),
                                     "cudaMemcpyAsync");
                    };
                    return w;
                  }});
}

/// The operands of a product, and a cuBLAS handle with a workspace as large as cuBLAS asks for on this GPU.
template <class T> struct product_stage {
  static constexpr std::size_t bytes = std::size_t{64} << 20;
  arrays<T> operands;
  smx::tensor<std::byte, 1, smx::device_space> workspace;
  cublasHandle_t blas = nullptr;

  explicit product_stage(std::vector<index_t> const& sizes)
      : operands({}, sizes), workspace(operands.be.memory(), smx::extents<1>{static_cast<index_t>(bytes)}) {
    smx::cuda_kernels::check(cublasCreate(&blas), "cublasCreate");
    smx::cuda_kernels::check(cublasSetStream(blas, operands.be.stream()), "cublasSetStream");
    smx::cuda_kernels::check(cublasSetWorkspace(blas, workspace.data(), bytes), "cublasSetWorkspace");
  }
  product_stage(product_stage const&) = delete;
  product_stage& operator=(product_stage const&) = delete;
  ~product_stage() {
    if (blas != nullptr) static_cast<void>(cublasDestroy(blas));
  }
};

/// `batch` products (m,k) (k,n) of arrays of T.
template <class T>
void add_product(std::vector<gpu_row>& rows, char const* variant, index_t batch, index_t m, index_t n,
                 index_t k, std::string const& backend, cublasComputeType_t compute) {
  double const each = static_cast<double>(batch * (m * k + k * n + m * n)) * sizeof(T);
  double const flops = 2.0 * static_cast<double>(batch) * static_cast<double>(m * n) * static_cast<double>(k);
  rows.push_back({gpu_row_name("gemm", variant, "forward", backend, m), m, n, m,
                  [=] {
                    return costs{flops, each, 0, each, 1};
                  },
                  [=](int) {
                    auto const s = std::make_shared<product_stage<T>>(
                        std::vector<index_t>{batch * m * k, batch * k * n, batch * m * n});
                    gpu_work w;
                    w.stream = s->operands.be.stream();
                    w.call = [=](int) {
                      float const one = 1, zero = 0;
                      constexpr cudaDataType_t type = smx::cuda_kernels::blas_type<T>::data;
                      auto const i = [](index_t v) { return static_cast<int>(v); };
                      smx::cuda_kernels::check(
                          cublasGemmStridedBatchedEx(s->blas, CUBLAS_OP_N, CUBLAS_OP_N, i(n), i(m), i(k),
                                                     &one, s->operands.of[1].data(), type, i(n), k * n,
                                                     s->operands.of[0].data(), type, i(k), m * k, &zero,
                                                     s->operands.of[2].data(), type, i(n), m * n, i(batch),
                                                     compute, CUBLAS_GEMM_DEFAULT),
                          "cublasGemmStridedBatchedEx");
                    };
                    return w;
                  }});
}

}  // namespace

void bench::add_yardsticks(std::vector<gpu_row>& rows) {
  add_copy(rows);
  auto const add = [&](char const* variant, index_t batch, index_t m, index_t n, index_t k) {
    add_product<float>(rows, variant, batch, m, n, k, "cuda", CUBLAS_COMPUTE_32F);
    add_product<float>(rows, variant, batch, m, n, k, "cuda-tf32", CUBLAS_COMPUTE_32F_FAST_TF32);
    add_product<smx::bf16>(rows, variant, batch, m, n, k, "cuda-bf16", CUBLAS_COMPUTE_32F);
    add_product<smx::f16>(rows, variant, batch, m, n, k, "cuda-f16", CUBLAS_COMPUTE_32F);
  };
  add("cublas", 1, 8192, 8192, 8192);
  // What a Monarch matrix of order 2 does at L = 65536 with 768 channels, twice.
  add("cublas-batch-256", 256, 256, curve_dim, 256);
}
