// SPDX-License-Identifier: Apache-2.0
/// \file  Long convolutions on a GPU against sums written out in double: lengths around the sizes of the
/// tiles, kinds, gates, layouts, transforms of one and two parts, gradients, the plan.
///
/// Tolerances. One level of a transform rounds twice, with roots that carry three roundings: 12 u of the norm
/// at most. Signal, kernel and result pass p = log2 M levels each, and a few products: c = 36 p + 40, and an
/// output is within c u ||K||_inf ||v||_2 of the sum, K the kernel's spectrum. Kernels have few taps other
/// than 0, so that this is small against any one of them.
#include <numbers>

#include <smx/backend/plan.hpp>
#include <smx/testing/guarded.hpp>

#include "tests/cuda/device.cuh"
#include "tests/cuda/harness.hpp"

namespace {

using namespace smx;
using cuda_kernels::convolution_limits;
using cuda_kernels::convolution_program;
using testing::guarded;
using testing::layout;
using testing::numbers;
using testing::text;
using testing::verdict;

struct sizes {
  convolution_kind kind;
  index_t batch, heads, length, channels, taps;
  bool pre = false, post = false, skip = true;
  layout in = layout::contiguous, out = layout::contiguous;
};

std::string name(sizes const& s, convolution_limits const& l) {
  constexpr char const* kinds[] = {"causal", "bidirectional", "circular"};
  return text("%s (%lld,%lld,%lld,%lld), %lld taps%s%s%s, %s to %s, limits %lld %lld %lld%s",
              kinds[static_cast<int>(s.kind)], static_cast<long long>(s.batch),
              static_cast<long long>(s.heads), static_cast<long long>(s.length),
              static_cast<long long>(s.channels), static_cast<long long>(s.taps), s.pre ? ", pre" : "",
              s.post ? ", post" : "", s.skip ? ", skip" : "", testing::layout_name(s.in),
              testing::layout_name(s.out), static_cast<long long>(l.across), static_cast<long long>(l.along),
              static_cast<long long>(l.leaf), l.clusters ? ", clusters" : "");
}

/// Of a GPU with 227 KiB of shared memory for a block.
template <class T> convolution_limits limits_of(bool clusters) {
  return cuda_kernels::limits_of<T>(std::size_t{227} << 10, clusters);
}

template <class T, int R> guarded<T, R> normal_array(extents<R> const& e, layout how, std::uint64_t seed) {
  guarded<T, R> g(e, how, T(-777));
  testing::fill_normal(g.write(), random_stream{seed, 0});
  return g;
}

/// The arrays of one problem, and what a convolution makes of them, in double.
template <class T> struct problem {
  sizes s;
  guarded<T, 4> x, pre, post, y, dy, dx, dpre, dpost;
  guarded<T, 2> k, k_rev, dk, dk_rev;
  guarded<T, 1> skip, dskip;

  explicit problem(sizes const& how) : s(how) {
    extents<4> const e{s.batch, s.heads, s.length, s.channels}, none{};
    x = normal_array<T>(e, s.in, 1);
    pre = normal_array<T>(s.pre ? e : none, s.in, 2);
    post = normal_array<T>(s.post ? e : none, s.out, 3);
    y = normal_array<T>(e, s.out, 4);
    dy = normal_array<T>(e, s.out, 5);
    dx = normal_array<T>(e, s.in, 6);
    dpre = normal_array<T>(s.pre ? e : none, s.in, 7);
    dpost = normal_array<T>(s.post ? e : none, s.out, 8);
    extents<2> const taps{s.channels, s.taps}, no_taps{};
    bool const two = s.kind == convolution_kind::bidirectional;
    k = few_taps(taps, 9);
    k_rev = few_taps(two ? taps : no_taps, 10);
    skip = normal_array<T>(extents<1>{s.skip ? s.channels : 0}, layout::contiguous, 11);
    dk = normal_array<T>(taps, layout::gaps, 12);
    dk_rev = normal_array<T>(two ? taps : no_taps, layout::channel_major, 13);
    dskip = normal_array<T>(extents<1>{s.skip ? s.channels : 0}, layout::contiguous, 14);
  }

  /// Six taps of a channel are not 0: the ends, and others that differ from channel to channel.
  guarded<T, 2> few_taps(extents<2> const& e, std::uint64_t seed) const {
    guarded<T, 2> g(e, layout::gaps, T(-777));
    random_stream const from{seed, 1};
    testing::fill(g.write(), T(0));
    for (index_t d = 0; d < e[0]; ++d)
      for (index_t i = 0; i < 6; ++i) {
        auto const n = static_cast<std::uint64_t>(d * 6 + i);
        index_t const tap = i == 0 ? 0
                            : i == 1
                                ? s.taps - 1
                                : static_cast<index_t>(from.uniform(2 * n) * static_cast<double>(s.taps));
        g.write()(d, tap) = static_cast<T>(0.5 + from.uniform(2 * n + 1));
      }
    return g;
  }
};

using signal = std::vector<double>;
double norm(signal const& v) {
  double sum = 0;
  for (double e : v) sum += e * e;
  return std::sqrt(sum);
}

/// Lags 1 - L .. L - 1 of a channel's kernel, lag l at l + L - 1.
template <class T> signal lags_of(problem<T> const& p, index_t d) {
  sizes const& s = p.s;
  signal lags(static_cast<std::size_t>(2 * s.length - 1));
  for (index_t l = 1 - s.length; l < s.length; ++l) {
    double a = l == 0 && s.skip ? static_cast<double>(p.skip.read()(d)) : 0;
    if (l >= 0 && l < s.taps) a += static_cast<double>(p.k.read()(d, l));
    if (s.kind == convolution_kind::bidirectional && l < 0 && -l - 1 < s.taps)
      a += static_cast<double>(p.k_rev.read()(d, -l - 1));
    if (s.kind == convolution_kind::circular && l < 0 && l + s.length < s.taps)
      a += static_cast<double>(p.k.read()(d, l + s.length));
    lags[static_cast<std::size_t>(l + s.length - 1)] = a;
  }
  return lags;
}

/// No residue of a signal of these entries is larger than their sum; for dense ones the largest is far below
/// it and is searched for, by Goertzel's recurrence, a few at a time because each is a chain of dependent
/// sums.
double largest_residue(signal const& v, index_t points) {
  double sum = 0, largest = 0;
  index_t full = 0;
  for (double e : v) sum += std::fabs(e), full += e != 0;
  if (full <= 32) return sum;
  constexpr index_t width = 8;
  for (index_t first = 0; first < points; first += width) {
    double twice[width], now[width] = {}, before[width] = {};
    for (index_t j = 0; j < width; ++j)
      twice[j] = 2 * std::cos(2 * std::numbers::pi * (static_cast<double>(first + j) + 0.25) /
                              static_cast<double>(points));
    for (double e : v)
      for (index_t j = 0; j < width; ++j) {
        double const next = e + twice[j] * now[j] - before[j];
        before[j] = now[j];
        now[j] = next;
      }
    for (index_t j = 0; j < width; ++j) {
      double const square = now[j] * now[j] + before[j] * before[j] - twice[j] * now[j] * before[j];
      largest = std::max(largest, std::sqrt(std::max(square, 0.0)));
    }
  }
  return largest;
}

/// Keeps the first entry that is further off than its bound.
struct judge {
  verdict found = testing::holds;
  void operator()(char const* what, extents<4> const& i, double got, double want, double bound) {
    if (std::fabs(got - want) <= bound || found) return;
    found = text("%s at (%lld,%lld,%lld,%lld): %.9g, expected %.9g within %.3g", what,
                 static_cast<long long>(i[0]), static_cast<long long>(i[1]), static_cast<long long>(i[2]),
                 static_cast<long long>(i[3]), got, want, bound);
  }
};

/// What `p` holds after a run against sums in double; `before`: its gradients of kernels before.
template <class T> verdict right(problem<T> const& p, problem<T> const& before, double c, bool backward) {
  sizes const& s = p.s;
  judge check;
  index_t const length = s.length, points = cuda_kernels::convolution_points(length);
  c *= static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;
  double const u = static_cast<double>(std::numeric_limits<T>::epsilon());
  auto const sized = [&](index_t n) { return signal(static_cast<std::size_t>(n)); };
  auto const at = [](auto const& g, index_t b, index_t h, index_t i, index_t d) {
    return g.read().size() == 0 ? 1.0 : static_cast<double>(g.read()(b, h, i, d));
  };
  for (index_t d = 0; d < s.channels; ++d) {
    signal const lags = lags_of(p, d);
    std::vector<std::pair<index_t, double>> taps;  // those that are not 0
    for (index_t l = 1 - length; l < length; ++l)
      if (double const a = lags[static_cast<std::size_t>(l + length - 1)]; a != 0) taps.emplace_back(l, a);
    double const k_largest = largest_residue(lags, points);
    signal gradient = sized(2 * length - 1);
    double gradient_bound = 0;
    for (index_t b = 0; b < s.batch; ++b)
      for (index_t h = 0; h < s.heads; ++h) {
        signal v = sized(length), g = sized(length), out = sized(length), dv = sized(length);
        for (index_t i = 0; i < length; ++i) {
          auto const n = static_cast<std::size_t>(i);
          v[n] = at(p.x, b, h, i, d) * at(p.pre, b, h, i, d);
          g[n] = at(p.dy, b, h, i, d) * at(p.post, b, h, i, d);
        }
        for (auto const& [l, a] : taps)
          for (index_t i = std::max(l, index_t{0}); i < length + std::min(l, index_t{0}); ++i) {
            out[static_cast<std::size_t>(i)] += a * v[static_cast<std::size_t>(i - l)];
            dv[static_cast<std::size_t>(i - l)] += a * g[static_cast<std::size_t>(i)];
          }
        double const near = c * k_largest * norm(v), near_dv = c * k_largest * norm(g);
        for (index_t i = 0; i < length; ++i) {
          extents<4> const e{b, h, i, d};
          auto const n = static_cast<std::size_t>(i);
          double const pre = at(p.pre, b, h, i, d), post = at(p.post, b, h, i, d), x = at(p.x, b, h, i, d),
                       dy = at(p.dy, b, h, i, d);
          check("y", e, at(p.y, b, h, i, d), out[n] * post,
                std::fabs(post) * near + u * std::fabs(out[n] * post));
          if (!backward) continue;
          check("dx", e, at(p.dx, b, h, i, d), dv[n] * pre,
                std::fabs(pre) * near_dv + u * std::fabs(dv[n] * pre));
          if (s.pre)
            check("dpre", e, at(p.dpre, b, h, i, d), dv[n] * x,
                  std::fabs(x) * near_dv + u * std::fabs(dv[n] * x));
          if (s.post)
            check("dpost", e, at(p.dpost, b, h, i, d), out[n] * dy,
                  std::fabs(dy) * near + u * std::fabs(out[n] * dy));
        }
        if (!backward) continue;
        for (index_t i = 0; i < length; ++i)
          for (index_t j = 0; j < length; ++j)
            gradient[static_cast<std::size_t>(i - j + length - 1)] +=
                g[static_cast<std::size_t>(i)] * v[static_cast<std::size_t>(j)];
        gradient_bound += c * (largest_residue(v, points) * norm(g) + largest_residue(g, points) * norm(v));
      }
    if (!backward) continue;
    auto const lag = [&](index_t l) { return gradient[static_cast<std::size_t>(l + length - 1)]; };
    auto const close = [&](char const* what, index_t l, auto const& now, auto const& old, double sum) {
      double const want = static_cast<double>(old) + sum;
      check(what, {0, 0, l, d}, static_cast<double>(now), want,
            gradient_bound + u * (std::fabs(want) + std::fabs(static_cast<double>(old))));
    };
    for (index_t l = 0; l < s.taps; ++l) {
      double sum = lag(l);
      if (s.kind == convolution_kind::circular && l > 0) sum += lag(l - length);
      close("dk", l, p.dk.read()(d, l), before.dk.read()(d, l), sum);
      if (s.kind == convolution_kind::bidirectional)
        close("dk_rev", l, p.dk_rev.read()(d, l), before.dk_rev.read()(d, l),
              l + 1 < length ? lag(-l - 1) : 0);
    }
    if (s.skip) close("dskip", 0, p.dskip.read()(d), before.dskip.read()(d), lag(0));
  }
  auto const intact = [&](char const* what, auto const& array) {
    if (!check.found) check.found = array.intact(what);
  };
  intact("y", p.y), intact("dx", p.dx), intact("dpre", p.dpre), intact("dpost", p.dpost), intact("dk", p.dk);
  intact("dk_rev", p.dk_rev), intact("dskip", p.dskip), intact("x", p.x), intact("dy", p.dy);
  return check.found;
}

/// prepare, forward and backward on views there(array) of the problem's arrays.
template <class T, class B, class There, class Storage>
void run(B& be, convolution_program<B, T> const& program, problem<T> const& p, There const& there,
         Storage const& storage, bool backward) {
  program.prepare(be, there(p.k), there(p.k_rev), there(p.skip), storage);
  program.forward(be, storage, there(p.x), there(p.pre), there(p.post), there(p.y));
  if (!backward) return;
  program.backward(
      be, storage, there(p.x), there(p.pre), there(p.post), there(p.dy),
      {there(p.dk), there(p.dk_rev), there(p.dskip), there(p.dx), there(p.dpre), there(p.dpost)});
}

template <class T> verdict holds(sizes const& s, convolution_limits const& limits, bool backward = true) {
  problem<T> p(s);
  problem<T> const before(s);
  convolution_shape const shape{s.length, s.channels, s.taps, s.kind, false};
  cuda_backend device;
  convolution_program<cuda_backend, T> const program(shape, limits);
  if (!program.takes()) return text("not taken");
  tensor<T, 1, device_space> storage(device_memory(), {program.storage_size()});
  testing::mirror<device_space> mirror;
  auto const each = [&](auto const& f) {
    f(p.x), f(p.pre), f(p.post), f(p.y), f(p.dy), f(p.dx), f(p.dpre), f(p.dpost);
    f(p.k), f(p.k_rev), f(p.skip), f(p.dk), f(p.dk_rev), f(p.dskip);
  };
  each([&](auto const& g) { mirror.add(g.write()); });
  mirror.open();
  run<T>(
      device, program, p, [&](auto const& g) { return mirror.there(g.write()); }, storage.view(), backward);
  device.synchronize();
  mirror.close();

  auto const planned = [&](bool as_it_lies) {
    plan_backend<cuda_backend> planner(device.how());
    run<T>(
        planner, convolution_program<plan_backend<cuda_backend>, T>(shape, limits), p,
        [&](auto const& g) {
          auto const v = g.write();
          using there = view<typename std::remove_cvref_t<decltype(v)>::element_type,
                             std::remove_cvref_t<decltype(v)>::rank, meta_space>;
          return as_it_lies ? there(nullptr, v.ext, v.str) : there(nullptr, v.ext);
        },
        view<T, 1, meta_space>(nullptr, {program.storage_size()}), backward);
    return planner.result();
  };
  cost const own = planned(true), contiguous = planned(false);
  if (own.launches != device.launches() || own.workspace != device.workspace_bytes())
    return text("planned %lld launches and %zu bytes, used %lld and %zu",
                static_cast<long long>(own.launches), own.workspace,
                static_cast<long long>(device.launches()), device.workspace_bytes());
  if (own.workspace > contiguous.workspace)
    return text("%zu bytes, and %zu where arrays are contiguous", own.workspace, contiguous.workspace);
  double const levels = cuda_kernels::log2_of(cuda_kernels::convolution_points(s.length));
  return right(p, before, 36 * levels + 40, backward);
}

template <class T>
void check(test::reporter& report, sizes const& s, convolution_limits const& limits, bool backward = true) {
  report(name(s, limits), testing::judged([&] { return holds<T>(s, limits, backward); }));
}

constexpr convolution_kind kinds[] = {convolution_kind::causal, convolution_kind::bidirectional,
                                      convolution_kind::circular};

/// Transforms of one part: every tile, lengths around its size.
template <class T> void one_part(test::reporter& report) {
  convolution_limits const limits = limits_of<T>(false);
  for (convolution_kind kind : kinds)
    for (layout how : {layout::contiguous, layout::channel_major})
      for (index_t length : {1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257})
        for (index_t channels : {1, 3, 20}) {
          bool const gates = (length + channels) % 2 == 0;
          sizes s{kind, 1 + length % 3, 1 + channels % 2, length, channels, length, gates, gates};
          s.in = s.out = how;
          check<T>(report, s, limits);
          s.taps = std::max(index_t{1}, length - 1), s.skip = false, s.pre = !gates, s.post = false;
          check<T>(report, s, limits);
        }
  for (layout how : {layout::contiguous, layout::channel_major})
    for (index_t length : {1000, 1024, 1025, 2048, 2049, 4095, 4096}) {
      sizes s{convolution_kind::bidirectional, 2, 1, length, 9, length - 1, true, true};
      s.in = s.out = how;
      check<T>(report, s, limits, length < 2000);
    }
  convolution_limits whole = limits;
  whole.halves = 0;
  sizes s{convolution_kind::causal, 2, 1, 16384, 1, 16384, true, true};
  s.in = s.out = layout::channel_major;
  check<T>(report, s, whole, false);
}

/// By clusters: channels and positions that leave some of their lanes empty, gates, kinds, strides; every
/// tile, lengths around its size.
void clusters(test::reporter& report) {
  convolution_limits const limits = limits_of<float>(true);
  report("cuda_options::clusters = false",
         cuda_backend({.clusters = false}).how().clusters ? verdict("clusters are used") : testing::holds);
  for (convolution_kind kind : kinds)
    for (index_t length : {1025, 1300, 2048})
      for (index_t channels : {2, 8, 19}) {
        sizes s{kind, 1, 2, length, channels, length, length % 2 == 0, channels != 2, channels != 8};
        s.in = channels == 19 ? layout::gaps : layout::contiguous;
        s.out = length == 1300 ? layout::offset : length == 1025 ? layout::channel_major : layout::contiguous;
        check<float>(report, s, limits, channels == 2);
      }
  check<float>(report, {convolution_kind::causal, 2, 1, 1100, 9, 900, true, true}, limits);
  for (index_t length : {2049, 4095, 8192, 8193}) {
    sizes const s{convolution_kind::bidirectional, 1, 1, length, 9, length - 1, true, true};
    check<float>(report, s, limits, length < 2050);
  }
  check<float>(report, {convolution_kind::causal, 1, 1, 16384, 2, 16384, true, true}, limits, false);
}

/// Strides of every kind, one array's another than the others'.
template <class T> void strides(test::reporter& report) {
  convolution_limits limits = limits_of<T>(false);
  for (index_t leaf : {index_t{4096}, index_t{64}}) {
    limits.leaf = leaf;
    if (leaf == 64) limits = {64, 64, 64};
    for (layout in : {layout::contiguous, layout::offset, layout::gaps, layout::length_major,
                      layout::broadcast, layout::channel_major})
      for (layout out : {layout::contiguous, layout::gaps, layout::channel_major}) {
        sizes s{convolution_kind::bidirectional, 2, 2, 100, 11, 90, true, true};
        s.in = in == layout::broadcast ? layout::contiguous : in, s.out = out;
        check<T>(report, s, limits);
      }
  }
}

/// Transforms of two parts, with limits so low that they are small; slabs of a few channels or batch entries.
template <class T> void two_parts(test::reporter& report) {
  for (convolution_kind kind : kinds)
    for (layout how : {layout::contiguous, layout::channel_major})
      for (index_t length : {65, 255, 256, 257, 1000, 1024})
        for (std::size_t slab : {std::size_t{1} << 30, std::size_t{1} << 15}) {
          convolution_limits limits{64, 64, 64, slab, 0};
          sizes s{kind, 2, 1, length, 19, length - 1, length % 2 == 0, length % 2 == 0};
          s.in = s.out = how;
          check<T>(report, s, limits);
          if (how == layout::contiguous) continue;
          limits.along = 4096;  // one part, on the spectra of two
          check<T>(report, s, limits);
        }
  {  // a slab for 12 channels of 19: eight at once, in either layout
    sizes s{convolution_kind::causal, 2, 1, 1000, 19, 1000, true, true};
    s.in = s.out = layout::channel_major;
    check<T>(report, s, {64, 64, 64, 24 * 2048 * sizeof(T), 0}, false);
  }
  convolution_limits const limits{64, 64, 64, std::size_t{1} << 22, 0};
  for (layout how : {layout::contiguous, layout::channel_major}) {
    sizes s{convolution_kind::circular, 1, 1, 4000, 3, 3000, true, false};
    s.in = s.out = how;
    check<T>(report, s, limits);
  }
}

/// Around the longest lengths that one block transforms, in one part or in halves, and one with columns
/// of 64.
template <class T> void long_sequences(test::reporter& report) {
  convolution_limits const limits = limits_of<T>(true);
  for (layout how : {layout::contiguous, layout::channel_major})
    for (index_t length : {4097, 8192, 8193, 16384, 16385, 32768, 32769, 65537}) {
      if (how == layout::contiguous && limits.clusters && length < 16385) continue;  // `clusters` has them
      sizes s{convolution_kind::bidirectional, 1, length < 32768 ? 2 : 1, length, 2, length, true, true};
      s.in = s.out = how;
      check<T>(report, s, limits, length < 9000);
    }
}

/// As the backend runs them on this GPU, by tiles that its shared memory has room for.
template <class T> void on_this_gpu(test::reporter& report) {
  tiling const how = cuda_backend().how();
  convolution_limits const limits = cuda_kernels::limits_of<T>(how.block_bytes, how.clusters);
  for (layout lies : {layout::contiguous, layout::channel_major})
    for (index_t length : {1500, 2049, 5000, 8193}) {
      sizes s{convolution_kind::causal, 1, 2, length, 9, length, true, true};
      s.in = s.out = lies;
      check<T>(report, s, limits, length < 2050);
    }
}

test::suite const s4{"convolution_on_this_gpu",
                     [](test::reporter& r) { on_this_gpu<float>(r), on_this_gpu<double>(r); }};
test::suite const s1{"convolution", [](test::reporter& r) {
                       one_part<float>(r), strides<float>(r), two_parts<float>(r), long_sequences<float>(r);
                     }};
test::suite const s3{"convolution_clusters", clusters};
test::suite const s2{"convolution_f64", [](test::reporter& r) {
                       one_part<double>(r), strides<double>(r), two_parts<double>(r),
                           long_sequences<double>(r);
                     }};

}  // namespace
