// SPDX-License-Identifier: Apache-2.0
/// \file  Attention's arrays on a device, and what its kernels are asked there, against the oracle.
#pragma once

#include <smx/testing/guarded.hpp>

#include "tests/cuda/device.cuh"
#include "tests/cuda/harness.hpp"
#include "tests/cuda/kernels/attention_oracle.hpp"

namespace test::attention_kernel {

using namespace smx;
using testing::guarded;
using testing::holds;
using testing::layout;
using testing::text;
using testing::verdict;

struct problem {
  index_t batch, heads, kv_heads, queries, keys, d, e;
  float scale = 0;
  layout how = layout::contiguous;

  std::string words(char const* mask, cuda_operands operands) const {
    constexpr char const* names[] = {"f32", "tf32", "bf16", "f16"};
    return text("%s, B %lld, heads %lld/%lld, %lld queries, %lld keys, D %lld, E %lld, %s, %s", mask,
                static_cast<long long>(batch), static_cast<long long>(heads),
                static_cast<long long>(kv_heads), static_cast<long long>(queries),
                static_cast<long long>(keys), static_cast<long long>(d), static_cast<long long>(e),
                testing::layout_name(how), names[static_cast<int>(operands)]);
  }
};

/// What is put into the arrays beside normal numbers.
enum class odd : char { none, hidden, infinite_keys, infinite_values, faint_values, rows };

struct arrays {
  guarded<float, 4> q, k, v, y, lse;

  arrays(problem const& p, std::uint64_t seed)
      : q({p.batch, p.heads, p.queries, p.d}, p.how, -777.0f),
        k({p.batch, p.kv_heads, p.keys, p.d}, p.how, -777.0f),
        v({p.batch, p.kv_heads, p.keys, p.e}, p.how, -777.0f),
        y({p.batch, p.heads, p.queries, p.e}, p.how, -777.0f),
        lse({p.batch, p.heads, p.queries, 1}, layout::contiguous, -777.0f) {
    testing::fill_normal(q.write(), random_stream{seed, 0});
    testing::fill_normal(k.write(), random_stream{seed, 1});
    testing::fill_normal(v.write(), random_stream{seed, 2});
  }
};

/// Keys and values that some rows do not see become NaN; rows that see them are NaN then.
template <class M> void put(odd what, problem const& p, M const& mask, arrays& a) {
  auto const row = [](auto const& g, index_t b, index_t h, index_t j, float value, index_t step) {
    auto const w = g.write();
    for (index_t d = 0; d < w.ext[3]; d += step) w(b, h, j, d) = value;
  };
  float const nan = testing::quiet_nan<float>, infinity = std::numeric_limits<float>::infinity();
  for (index_t b = 0; b < p.batch; ++b)
    for (index_t h = 0; h < p.kv_heads; ++h)
      for (index_t j = 0; j < p.keys; ++j) {
        index_t rows = 0;
        for (index_t i = 0; i < p.queries; ++i)
          for (index_t g = 0; g < p.heads / p.kv_heads; ++g)
            rows += mask.allow(b, h * (p.heads / p.kv_heads) + g, i, j) ? 1 : 0;
        if (what == odd::hidden && (rows == 0 || j % 29 == 28)) {
          row(a.k, b, h, j, nan, 1);
          row(a.v, b, h, j, j % 2 == 0 ? nan : infinity, 1);
        }
        if (what == odd::infinite_keys && j % 3 == 1) row(a.k, b, h, j, -infinity, p.d);
        if (what == odd::infinite_values && j % 37 == 5)
          row(a.v, b, h, j, j % 2 == 0 ? infinity : -infinity, 3);
        if (what == odd::faint_values &&
            j % 5 == 2) {  // seen with a weight below exp(-30): f16 has no such number
          row(a.k, b, h, j, 0, 1);
          a.k.write()(b, h, j, 0) = -30 * std::sqrt(static_cast<float>(p.d));
          row(a.v, b, h, j, j % 2 == 0 ? infinity : nan, 3);
        }
      }
  if (what != odd::infinite_keys && what != odd::faint_values) return;
  auto const q = a.q.write();  // scores are -inf, or small, where the first entry of q is positive
  for (index_t b = 0; b < p.batch; ++b)
    for (index_t h = 0; h < p.heads; ++h)
      for (index_t i = 0; i < p.queries; ++i)
        q(b, h, i, 0) = what == odd::faint_values ? 1 : std::fabs(q(b, h, i, 0));
}

inline test::rounding rounding_of(cuda_operands how) {
  switch (how) {
    case cuda_operands::bf16:
      return {0x1p-8, false};
    case cuda_operands::f16:
      return {0x1p-11, false};
    default:
      return {0x1p-24, true};
  }
}

/// The same call for a planner.
template <class T> view<T, 4, meta_space> shape_of(view<T, 4, device_space> const& v) {
  return {nullptr, v.ext, v.str};
}

/// What the device has done since it was made is what was planned.
inline verdict as_planned(cost const& planned, cuda_backend const& device) {
  if (planned.launches != device.launches())
    return text("%lld launches, the plan says %lld", static_cast<long long>(device.launches()),
                static_cast<long long>(planned.launches));
  if (planned.workspace != device.workspace_bytes())
    return text("%zu bytes of workspace, the plan says %zu", device.workspace_bytes(), planned.workspace);
  return holds;
}

template <class M>
verdict attends(problem const& p, M const& mask, cuda_operands operands, odd what, bool warpgroups) {
  arrays a(p, 7);
  put(what, p, mask, a);
  float const scale = p.scale != 0 ? p.scale : 1 / std::sqrt(static_cast<float>(p.d));
  auto const want = test::attention_oracle(mask, static_cast<double>(scale), a.q.read(), a.k.read(),
                                           a.v.read(), rounding_of(operands));
  cuda_backend device({.operands = operands, .warpgroups = warpgroups});
  plan_backend<cuda_backend> plan(device.how());
  bool taken = false;
  testing::mirror<device_space> mirror;
  mirror.add(a.q.read()), mirror.add(a.k.read()), mirror.add(a.v.read());
  mirror.add(a.y.write()), mirror.add(a.lse.write());
  mirror.open();
  {
    auto const there = [&](auto const& v) { return mirror.there(v); };
    attention_forward_call<float, device_space, M> const call{mask,
                                                              scale,
                                                              there(a.q.read()),
                                                              there(a.k.read()),
                                                              there(a.v.read()),
                                                              there(a.lse.write()),
                                                              there(a.y.write())};
    taken = tuned(device, call);
    device.synchronize();
    tuned(plan, attention_forward_call<float, meta_space, M>{mask, scale, shape_of(call.q), shape_of(call.k),
                                                             shape_of(call.v), shape_of(call.lse),
                                                             shape_of(call.y)});
  }
  mirror.close();
  if (!taken) return text("no kernel took it");
  if (verdict bad = as_planned(plan.result(), device)) return bad;
  verdict bad = test::close_to("y", testing::values(a.y.read()), want.y, want.y_bound);
  if (!bad) bad = test::close_to("lse", testing::values(a.lse.read()), want.lse, want.lse_bound);
  if (!bad) bad = a.y.intact("y");
  if (!bad) bad = a.lse.intact("lse");
  return bad;
}

/// By mma, and in 16 bits by wgmma as well.
template <class M>
verdict attends(problem const& p, M const& mask, cuda_operands operands, odd what = odd::none) {
  verdict bad = attends(p, mask, operands, what, false);
  if (!bad && (operands == cuda_operands::bf16 || operands == cuda_operands::f16))
    bad = testing::in_context("by warpgroups", attends(p, mask, operands, what, true));
  return bad;
}

/// Numbers that masks point at, where the device reads them.
inline tensor<index_t, 1> pinned(std::vector<index_t> const& numbers) {
  tensor<index_t, 1> t(pinned_memory(), {static_cast<index_t>(numbers.size())});
  std::copy(numbers.begin(), numbers.end(), t.data());
  return t;
}

/// One query, every length of its loop over keys.
inline std::vector<problem> one_query() {
  problem const list[] = {{1, 1, 1, 1, 1, 8, 8},      {2, 2, 1, 1, 31, 20, 33},
                          {1, 10, 2, 1, 600, 33, 8},  {1, 1, 1, 1, 2000, 64, 64, 4},
                          {2, 4, 4, 1, 257, 96, 128}, {1, 6, 1, 1, 700, 130, 256}};
  std::vector<problem> all;
  for (problem p : list)
    for (layout const how : {layout::contiguous, layout::offset, layout::length_major}) {
      p.how = how;
      all.push_back(p);
    }
  return all;
}

template <class M> void masked(reporter& report, char const* name, problem const& p, M const& mask) {
  for (cuda_operands const how : {cuda_operands::f32, cuda_operands::bf16}) {
    report(p.words(name, how), attends(p, mask, how));
    report(p.words(name, how) + ", NaN where rows do not look", attends(p, mask, how, odd::hidden));
  }
}

}  // namespace test::attention_kernel
