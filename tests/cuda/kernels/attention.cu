// SPDX-License-Identifier: Apache-2.0
/// \file  The attention kernels against an oracle in double: shapes around the edges of tiles, masks of every
/// kind, shared key heads, layouts, operands of 8, 11 and 24 bits, numbers that are not finite.
#include <smx/testing/guarded.hpp>

#include "tests/cuda/device.cuh"
#include "tests/cuda/harness.hpp"
#include "tests/cuda/kernels/attention_oracle.hpp"

namespace {

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
enum class odd : char { none, hidden, infinite_keys, infinite_values, rows };

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
      }
  if (what != odd::infinite_keys) return;
  auto const q = a.q.write();  // scores are -inf where the first entry of q is positive
  for (index_t b = 0; b < p.batch; ++b)
    for (index_t h = 0; h < p.heads; ++h)
      for (index_t i = 0; i < p.queries; ++i) q(b, h, i, 0) = std::fabs(q(b, h, i, 0));
}

test::rounding rounding_of(cuda_operands how) {
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
verdict as_planned(cost const& planned, cuda_backend const& device) {
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

template <class M>
verdict differentiates(problem const& p, M const& mask, cuda_operands operands, odd what = odd::none) {
  arrays a(p, 7);
  guarded<float, 4> dy({p.batch, p.heads, p.queries, p.e}, p.how, -777.0f);
  testing::fill_normal(dy.write(), random_stream{7, 3});
  put(what, p, mask, a);
  if (what == odd::rows)
    for (index_t b = 0; b < p.batch; ++b)
      for (index_t h = 0; h < p.heads; ++h)
        for (index_t i = 3; i < p.queries; i += 37) {
          for (index_t d = 0; d < p.d; ++d) a.q.write()(b, h, i, d) = testing::quiet_nan<float>;
          for (index_t e = 0; e < p.e; ++e) dy.write()(b, h, i, e) = testing::quiet_nan<float>;
        }
  float const scale = p.scale != 0 ? p.scale : 1 / std::sqrt(static_cast<float>(p.d));
  auto const forward = test::attention_oracle(mask, static_cast<double>(scale), a.q.read(), a.k.read(),
                                              a.v.read(), rounding_of(operands));
  auto const set = [](auto const& to, testing::numbers const& from) {
    std::size_t n = 0;
    loops::for_each_index(to.ext,
                          [&](extents<4> const& i) { loops::at(to, i) = static_cast<float>(from[n++]); });
  };
  set(a.y.write(), forward.y), set(a.lse.write(), forward.lse);
  // f16 is bf16 in three parts here
  cuda_operands const rounds = operands == cuda_operands::f16 ? cuda_operands::f32 : operands;
  auto const want =
      test::attention_gradient_oracle(mask, static_cast<double>(scale), a.q.read(), a.k.read(), a.v.read(),
                                      a.y.read(), a.lse.read(), dy.read(), rounding_of(rounds));
  guarded<float, 4> dq({p.batch, p.heads, p.queries, p.d}, p.how, -777.0f),
      dk({p.batch, p.kv_heads, p.keys, p.d}, p.how, -777.0f),
      dv({p.batch, p.kv_heads, p.keys, p.e}, p.how, -777.0f);
  cuda_backend device({.operands = operands});
  plan_backend<cuda_backend> plan(device.how());
  bool taken = false;
  testing::mirror<device_space> mirror;
  mirror.add(a.q.read()), mirror.add(a.k.read()), mirror.add(a.v.read()), mirror.add(a.y.read());
  mirror.add(a.lse.read()), mirror.add(dy.read());
  mirror.add(dq.write()), mirror.add(dk.write()), mirror.add(dv.write());
  mirror.open();
  {
    auto const there = [&](auto const& v) { return mirror.there(v); };
    attention_backward_call<float, device_space, M> const c{mask,
                                                            scale,
                                                            there(a.q.read()),
                                                            there(a.k.read()),
                                                            there(a.v.read()),
                                                            there(a.y.read()),
                                                            there(a.lse.read()),
                                                            there(dy.read()),
                                                            there(dq.write()),
                                                            there(dk.write()),
                                                            there(dv.write())};
    taken = tuned(device, c);
    device.synchronize();
    tuned(plan, attention_backward_call<float, meta_space, M>{
                    mask, scale, shape_of(c.q), shape_of(c.k), shape_of(c.v), shape_of(c.y), shape_of(c.lse),
                    shape_of(c.dy), shape_of(c.dq), shape_of(c.dk), shape_of(c.dv)});
  }
  mirror.close();
  if (!taken) return text("no kernel took it");
  verdict bad = as_planned(plan.result(), device);
  if (!bad) bad = test::close_to("dq", testing::values(dq.read()), want.dq, want.dq_bound);
  if (!bad) bad = test::close_to("dk", testing::values(dk.read()), want.dk, want.dk_bound);
  if (!bad) bad = test::close_to("dv", testing::values(dv.read()), want.dv, want.dv_bound);
  if (!bad) bad = dq.intact("dq");
  if (!bad) bad = dk.intact("dk");
  if (!bad) bad = dv.intact("dv");
  return bad;
}

constexpr cuda_operands all_operands[] = {cuda_operands::f32, cuda_operands::bf16, cuda_operands::f16};

void shapes(test::reporter& report) {
  full_mask const all;
  causal_mask const past;
  problem const list[] = {
      {1, 1, 1, 2, 1, 8, 8},       {2, 2, 1, 31, 2, 8, 8, 4},   {1, 2, 2, 64, 64, 64, 64},
      {1, 1, 1, 65, 129, 20, 33},  {1, 4, 2, 65, 65, 33, 8},    {1, 1, 1, 129, 257, 64, 64},
      {1, 1, 1, 257, 64, 8, 8, 4}, {1, 1, 1, 65, 129, 96, 128}, {1, 1, 1, 130, 65, 128, 20},
      {1, 1, 1, 65, 65, 256, 256}, {1, 1, 1, 70, 129, 130, 8},  {1, 3, 1, 2, 31, 1, 1},
      {1, 1, 1, 66, 600, 16, 16},
  };
  for (cuda_operands const how : all_operands)
    for (problem p : list) {
      report(p.words("full", how), attends(p, all, how));
      report(p.words("causal", how), attends(p, past, how));
    }
  report(list[3].words("full", cuda_operands::tf32), attends(list[3], all, cuda_operands::tf32));
}

void layouts(test::reporter& report) {
  for (layout const how : {layout::offset, layout::gaps, layout::length_major})
    for (cuda_operands const operands : {cuda_operands::f32, cuda_operands::bf16})
      for (problem p : {problem{2, 4, 2, 33, 70, 20, 12}, problem{2, 2, 1, 5, 9, 7, 3}}) {
        p.how = how;
        report(p.words("causal", operands), attends(p, causal_mask{}, operands));
      }
}

/// Numbers that masks point at, where the device reads them.
tensor<index_t, 1> pinned(std::vector<index_t> const& numbers) {
  tensor<index_t, 1> t(pinned_memory(), {static_cast<index_t>(numbers.size())});
  std::copy(numbers.begin(), numbers.end(), t.data());
  return t;
}

template <class M> void masked(test::reporter& report, char const* name, problem const& p, M const& mask) {
  for (cuda_operands const how : {cuda_operands::f32, cuda_operands::bf16}) {
    report(p.words(name, how), attends(p, mask, how));
    report(p.words(name, how) + ", NaN where rows do not look", attends(p, mask, how, odd::hidden));
  }
}

void masks(test::reporter& report) {
  problem const p{1, 2, 1, 150, 150, 16, 16}, two{2, 2, 1, 150, 150, 16, 16}, cross{1, 2, 2, 70, 200, 16, 24};
  masked(report, "causal", two, causal_mask{});
  masked(report, "causal after 100", {1, 2, 1, 100, 200, 16, 16}, causal_mask{100});
  for (index_t const offset : {62, 63, 127})  // where a tile's last key is the first row's last, or is not
    masked(report, "causal after some", {1, 1, 1, 3, 260, 16, 16}, causal_mask{offset});
  for (index_t const size : {85, 86})  // the same for its first key and the last row
    masked(report, "window", {1, 1, 1, 150, 150, 16, 16}, window_mask{size});
  masked(report, "causal before 70", {1, 1, 1, 140, 140, 16, 16}, causal_mask{-70});
  masked(report, "window", p, window_mask{20});
  tensor<index_t, 1> const starts = pinned({0, 3, 70, 70, 110, 150}), lengths = pinned({140, 9});
  masked(report, "packed", p, packed_mask{starts.data(), 5, nullptr});
  masked(report, "prefix", two, prefix_mask{lengths.data(), 2, 0});
  tensor<bool, 4> visible(pinned_memory(), {1, 2, 70, 200});
  for (index_t h = 0; h < 2; ++h)
    for (index_t i = 0; i < 70; ++i)
      for (index_t j = 0; j < 200; ++j)
        visible(0, h, i, j) = i != 11 && (j < 64 ? false : j < 128 ? true : (i * 7 + j * 5 + h) % 3 != 0);
  masked(report, "boolean", cross, boolean_mask{visible.cview()});
  masked(report, "window or partial causal", p, window_mask{9} | partial_causal_mask{4});
  masked(report, "dilated causal", p, dilated_mask{3} & causal_mask{});
}

void odd_numbers(test::reporter& report) {
  for (cuda_operands const how : all_operands)
    for (problem const p : {problem{1, 2, 1, 70, 150, 16, 16}, problem{1, 1, 1, 65, 70, 128, 100}}) {
      report(p.words("full, keys of -inf", how), attends(p, full_mask{}, how, odd::infinite_keys));
      report(p.words("causal, keys of -inf", how), attends(p, causal_mask{}, how, odd::infinite_keys));
      report(p.words("full, infinite values", how), attends(p, full_mask{}, how, odd::infinite_values));
      report(p.words("causal, infinite values", how), attends(p, causal_mask{}, how, odd::infinite_values));
    }
}

void gradients(test::reporter& report) {
  problem const list[] = {{1, 1, 1, 1, 1, 8, 8},     {2, 2, 1, 31, 2, 8, 8, 4},   {1, 2, 2, 64, 64, 64, 64},
                          {1, 4, 2, 65, 65, 33, 8},  {1, 1, 1, 129, 257, 16, 16}, {1, 6, 2, 40, 70, 20, 33},
                          {1, 1, 1, 65, 70, 96, 128}};
  for (cuda_operands const how : {cuda_operands::f32, cuda_operands::bf16})
    for (problem const& p : list) {
      report(p.words("gradients, full", how), differentiates(p, full_mask{}, how));
      report(p.words("gradients, causal", how), differentiates(p, causal_mask{}, how));
    }
  report(list[3].words("gradients, causal", cuda_operands::f16),
         differentiates(list[3], causal_mask{}, cuda_operands::f16));
  for (layout const how : {layout::offset, layout::gaps, layout::length_major}) {
    problem p = list[5];
    p.how = how;
    report(p.words("gradients, causal", cuda_operands::f32),
           differentiates(p, causal_mask{}, cuda_operands::f32));
  }
}

template <class M>
void masked_gradients(test::reporter& report, char const* name, problem const& p, M const& mask) {
  for (cuda_operands const how : {cuda_operands::f32, cuda_operands::bf16})
    for (odd const what : {odd::none, odd::hidden, odd::rows})
      report(p.words(name, how) + (what == odd::none     ? ""
                                   : what == odd::hidden ? ", NaN in keys"
                                                         : ", NaN in rows"),
             differentiates(p, mask, how, what));
}

void gradients_under_masks(test::reporter& report) {
  problem const p{1, 2, 1, 150, 150, 16, 16};
  masked_gradients(report, "gradients, causal", {2, 2, 1, 150, 150, 16, 16}, causal_mask{});
  masked_gradients(report, "gradients, causal before 70", {1, 1, 1, 140, 140, 16, 16}, causal_mask{-70});
  masked_gradients(report, "gradients, window", p, window_mask{20});
  tensor<index_t, 1> const starts = pinned({0, 3, 70, 70, 110, 150});
  masked_gradients(report, "gradients, packed", p, packed_mask{starts.data(), 5, nullptr});
  masked_gradients(report, "gradients, window or partial causal", p, window_mask{9} | partial_causal_mask{4});
  masked_gradients(report, "gradients, dilated causal", p, dilated_mask{3} & causal_mask{});
}

void steps(test::reporter& report) {
  problem const list[] = {{1, 1, 1, 1, 1, 8, 8},      {2, 2, 1, 1, 31, 20, 33},
                          {1, 10, 2, 1, 600, 33, 8},  {1, 1, 1, 1, 2000, 64, 64, 4},
                          {2, 4, 4, 1, 257, 96, 128}, {1, 6, 1, 1, 700, 130, 256}};
  for (problem p : list)
    for (layout const how : {layout::contiguous, layout::offset, layout::length_major}) {
      p.how = how;
      cuda_operands const f32 = cuda_operands::f32;
      report(p.words("step, full", f32), attends(p, full_mask{}, f32));
      report(p.words("step, causal", f32), attends(p, causal_mask{p.keys / 2}, f32, odd::hidden));
      report(p.words("step, window", f32), attends(p, window_mask{5, p.keys - 1}, f32, odd::hidden));
      report(p.words("step, sees nothing", f32), attends(p, causal_mask{-2}, f32, odd::hidden));
      report(p.words("step, dilated", f32), attends(p, dilated_mask{3}, f32, odd::hidden));
      report(p.words("step, keys of -inf", f32), attends(p, full_mask{}, f32, odd::infinite_keys));
      report(p.words("step, infinite values", f32), attends(p, full_mask{}, f32, odd::infinite_values));
    }
  problem const p{1, 4, 1, 1, 600, 16, 16};  // heads that share keys see others of them
  tensor<bool, 4> visible(pinned_memory(), {1, 4, 1, 600});
  for (index_t h = 0; h < 4; ++h)
    for (index_t j = 0; j < 600; ++j) visible(0, h, 0, j) = j % 29 == 28 ? h == 0 : j % 4 == h && h != 2;
  report(p.words("step, boolean", cuda_operands::bf16),
         attends(p, boolean_mask{visible.cview()}, cuda_operands::bf16, odd::hidden));
}

test::suite const s7{"attention_kernel_gradients_under_masks", gradients_under_masks};
test::suite const s6{"attention_kernel_gradients", gradients};
test::suite const s5{"attention_kernel_steps", steps};
test::suite const s1{"attention_kernel_shapes", shapes};
test::suite const s2{"attention_kernel_layouts", layouts};
test::suite const s3{"attention_kernel_masks", masks};
test::suite const s4{"attention_kernel_odd_numbers", odd_numbers};

}  // namespace
