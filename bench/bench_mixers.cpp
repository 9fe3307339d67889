// SPDX-License-Identifier: Apache-2.0
/// \file  Mixers against sequence length: f32, batch 1, 768 channels.
#include <bench/mixer_rows.hpp>

int main(int argc, char** argv) {
  return bench::run_rows(argc, argv, [](int threads) {
    std::vector<bench::row> rows;
    bench::add_attention(rows, threads);
    bench::add_causal_monarch(rows, threads);
    bench::add_dense(rows, threads);
    bench::add_monarch(rows, threads);
    bench::add_long_convolution(rows, threads);
    bench::add_ssd(rows, threads);
    return rows;
  });
}
