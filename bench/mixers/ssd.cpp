// SPDX-License-Identifier: Apache-2.0
/// \file  SSD at the shape of a Mamba-2 layer of 768 channels (24 heads of 64, N = 128, one group), nc_ssd
/// and
///        linear attention; and the rivals of ssd: the same recurrence token by token, with the state where
///        it vectorises best and as ggml keeps it.
#include <bench/mixer_rows.hpp>
#include <bench/token_scan.hpp>
#include <smx/mixers/linear_attention.hpp>
#include <smx/mixers/nc_ssd.hpp>
#include <smx/mixers/ssd.hpp>

namespace {

using namespace bench;

constexpr index_t heads = 24, head_dim = 64, states = 128;

/// One thread; x, b, c and dt from a hash.
void add_token_scan(std::vector<row>& rows, std::string const& variant, index_t length, scan_layout how) {
  double const size = static_cast<double>(length * heads * states * head_dim);
  rows.push_back({row_name("token_scan", variant, "forward", 1, length), length, heads * head_dim,
                  [=] {
                    return costs{5 * size, 8 * static_cast<double>(length * heads * head_dim)};
                  },
                  [=] {
                    struct stage {
                      cpu be{1};
                      smx::tensor<float, 2> x, dt, b, c, y, state;
                      std::vector<float> a = std::vector<float>(heads, -1);
                      explicit stage(index_t n)
                          : x(smx::extents<2>{n, heads * head_dim}),
                            dt(smx::extents<2>{n, heads}),
                            b(smx::extents<2>{n, states}),
                            c(smx::extents<2>{n, states}),
                            y(x.extents()),
                            state(smx::extents<2>{heads, states * head_dim}) {
                        std::uint32_t stream = 0;
                        for (auto* v : {&x, &dt, &b, &c})
                          be.generate(hash_entries<float>{++stream, 1.7f}, v->view());
                        be.map([](float d) { return std::fabs(d) * 0.05f; }, dt.view(), dt.cview());
                      }
                    };
                    auto const s = std::make_shared<stage>(length);
                    return [s, length, how] {
                      token_scan(how, length, heads, states, head_dim, s->x.data(), s->dt.data(), s->a.data(),
                                 s->b.data(), s->c.data(), s->state.data(), s->y.data());
                    };
                  }});
}

}  // namespace

void bench::add_ssd(std::vector<row>& rows, int threads) {
  std::vector<index_t> lengths = curve_lengths();
  lengths.push_back(131072);
  for (index_t length : lengths) {
    smx::extents<4> const x{1, heads, length, head_dim}, dt{1, heads, length, 1}, key{1, 1, length, states};
    index_t const dim = heads * head_dim;
    add_rows(rows, "ssd", "heads-24", length, dim, job<smx::ssd<float>>{{.heads = heads}, {x, dt, key, key}},
             threads);
    add_token_scan(rows, "state-rows", length, scan_layout::rows);
    add_token_scan(rows, "ggml-order", length, scan_layout::columns);
    if (length > curve_lengths().back()) continue;
    add_rows(rows, "nc_ssd", "heads-24", length, dim,
             job<smx::nc_ssd<float>>{{.heads = heads}, {x, dt, key, key}}, threads);
    smx::extents<4> const head{1, 12, length, 64};
    add_rows(rows, "linear_attention", "heads-12", length, curve_dim,
             job<smx::linear_attention<float>>{{}, {head, head, head}}, threads);
    using smx::decay_kind;
    add_rows(rows, "linear_attention", "heads-12-decay-head", length, curve_dim,
             job<smx::linear_attention<float, decay_kind::head>>{{.heads = 12}, {head, head, head}}, threads);
    add_rows(rows, "linear_attention", "heads-12-decay-token", length, curve_dim,
             job<smx::linear_attention<float, decay_kind::token>>{{}, {head, head, head, {1, 12, length, 1}}},
             threads);
  }
}
