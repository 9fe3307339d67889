// SPDX-License-Identifier: Apache-2.0
#include <bench/cuda/attention_rows.cuh>

void bench::add_attention(std::vector<gpu_row>& rows) { add_attention_rows<smx::full_mask>(rows, "full"); }
