// SPDX-License-Identifier: Apache-2.0
/// \file  Every primitive of the CUDA backend against the reference backend: layouts, broadcasts, aliases,
/// empty rows, NaN, element types, sizes around the edges of teams and tiles.
#include <tuple>

#include <smx/backend/reference.hpp>
#include <smx/testing/guarded.hpp>

#include "tests/cuda/device.cuh"
#include "tests/cuda/harness.hpp"

namespace {

using namespace smx;
using testing::guarded;
using testing::layout;
using testing::numbers;
using testing::text;
using testing::verdict;

constexpr layout layouts[] = {layout::contiguous, layout::offset, layout::gaps, layout::length_major,
                              layout::channel_major};
constexpr layout row_layouts[] = {layout::contiguous, layout::offset, layout::gaps, layout::length_major};

template <class T> constexpr double eps = static_cast<double>(std::numeric_limits<T>::epsilon());

/// An array with random entries in (-1, 1), the same for the same seed.
template <class T, int R> guarded<T, R> random_array(extents<R> const& e, layout how, std::uint64_t seed) {
  guarded<T, R> g(e, how, T(-777));
  std::uint64_t n = 0;
  random_stream const from{seed, 0};
  loops::for_each_index(e, [&](extents<R> const& i) {
    loops::at(g.write(), i) = static_cast<T>(static_cast<float>(2 * from.uniform(n++) - 1));
  });
  return g;
}

template <class T, std::size_t R> auto random_array(index_t const (&e)[R], layout how, std::uint64_t seed) {
  return random_array<T, static_cast<int>(R)>(make_extents(e), how, seed);
}

/// call(backend, views...) on the reference with copies, and on the GPU through a mirror with the arrays
/// themselves; every array afterwards within bound(entry) of the reference's, guards included.
template <class Call, class... G>
verdict agrees(char const* what, double bound, Call const& call, G&... arrays) {
  std::tuple<std::remove_cvref_t<G>...> copies(arrays...);
  // a copy's view still points into the original's cells: it is laid out anew
  auto const relocated = [](auto& copy, auto const& original) {
    auto v = original.write();
    v.ptr = copy.cells().data() + (v.ptr - original.cells().data());
    return v;
  };
  reference_backend host;
  std::apply([&](auto&... copy) { call(host, relocated(copy, arrays)...); }, copies);

  static cuda_backend device;
  testing::mirror<device_space> mirror;
  (mirror.add(arrays.write()), ...);
  mirror.open();
  {
    auto frame = device.scope();
    call(device, mirror.there(arrays.write())...);
    device.synchronize();
  }
  mirror.close();

  verdict bad;
  auto const compare = [&](auto const& copy, auto const& original) {
    for (std::size_t i = 0; i < copy.cells().size() && !bad; ++i) {
      double const got = static_cast<double>(original.cells()[i]),
                   want = static_cast<double>(copy.cells()[i]);
      if (got == want || (got != got && want != want)) continue;
      if (!(std::fabs(got - want) <= bound))
        bad = text("%s: cell %zu is %.17g, expected %.17g within %.3g", what, i, got, want, bound);
    }
  };
  std::apply([&](auto const&... copy) { (compare(copy, arrays), ...); }, copies);
  return bad;
}

template <class V> auto reading(V const& v) { return as_input(v); }

template <class T> void elementwise(test::reporter& report) {
  std::uint64_t seed = 1;
  for (extents<4> const e : {extents<4>{1, 1, 1, 1}, extents<4>{2, 3, 5, 7}, extents<4>{1, 2, 300, 4},
                             extents<4>{3, 1, 2, 1030}, extents<4>{2, 2, 33, 64}, extents<4>{1, 1, 1, 70000}})
    for (layout a : layouts)
      for (layout b : layouts) {
        auto y = random_array<T>(e, a, seed++), x = random_array<T>(e, b, seed++),
             z = random_array<T>(e, a, seed++);
        auto const name =
            text("map of (%lld,%lld,%lld,%lld), %s and %s", static_cast<long long>(e[0]),
                 static_cast<long long>(e[1]), static_cast<long long>(e[2]), static_cast<long long>(e[3]),
                 testing::layout_name(a), testing::layout_name(b));
        report(name, agrees(
                         "y", 4 * eps<T>,
                         [](auto& be, auto vy, auto vx, auto vz) {
                           be.map(multiply_add{}, vy, reading(vx), reading(vz), reading(vy));
                         },
                         y, x, z));
        report(name + ", copy",
               agrees(
                   "y", 0, [](auto& be, auto vy, auto vx) { be.copy(reading(vx), vy); }, y, x));
      }
  // broadcast operands, an alias, an empty array
  extents<4> const e{2, 3, 9, 32};
  auto y = random_array<T>(e, layout::contiguous, 50),
       row = random_array<T>(extents<4>{1, 1, 1, 32}, layout::contiguous, 51),
       column = random_array<T>(extents<4>{2, 3, 9, 1}, layout::gaps, 52);
  report("map with broadcasts", agrees(
                                    "y", 2 * eps<T>,
                                    [&](auto& be, auto vy, auto vrow, auto vcolumn) {
                                      auto r = reading(vrow), c = reading(vcolumn);
                                      r.ext = vy.ext, r.str = {0, 0, 0, 1};
                                      c.ext[3] = 32, c.str[3] = 0;
                                      be.map(multiply_add{}, vy, r, c, reading(vy));
                                    },
                                    y, row, column));
  report("map of a constant", agrees(
                                  "y", 0, [](auto& be, auto vy) { be.map(constant<T>{T(3)}, vy); }, y));
  report(
      "map of nothing",
      agrees(
          "y", 0,
          [](auto& be, auto vy) { be.map(negate{}, slice(vy, 2, 3, 0), slice(reading(vy), 2, 3, 0)); }, y));
  report("map along an axis that turns back", agrees(
                                                  "y", 2 * eps<T>,
                                                  [](auto& be, auto vy) {
                                                    auto const low = slice(vy, 2, 0, 4),
                                                               high = slice(vy, 2, 5, 4);
                                                    auto back = reading(high);
                                                    back.ptr += 3 * back.str[2], back.str[2] = -back.str[2];
                                                    be.map(add{}, low, reading(low), back);
                                                  },
                                                  y));
}

struct entry_number {
  SMX_HD double operator()(extents<3> const& i) const {
    return static_cast<double>(i[0] * 10000 + i[1] * 100 + i[2]) / 7;
  }
};

template <class T> void generating(test::reporter& report) {
  for (layout how : layouts) {
    auto y = random_array<T>(extents<3>{3, 7, 45}, how, 3);
    report("generate", agrees(
                           "y", 0, [](auto& be, auto v) { be.generate(entry_number{}, v); }, y));
  }
}

template <class From, class To> void converting(test::reporter& report) {
  for (layout a : row_layouts)
    for (layout b : row_layouts) {
      auto x = random_array<From>(extents<4>{2, 3, 5, 24}, a, 7);
      auto y = random_array<To>(extents<4>{2, 3, 5, 24}, b, 8);
      report(text("copy %s to %s", dtype_name<From>(), dtype_name<To>()),
             agrees(
                 "y", 0, [](auto& be, auto vx, auto vy) { be.copy(reading(vx), vy); }, x, y));
    }
}

template <class T> void products(test::reporter& report) {
  struct sizes {
    index_t n0, n1, m, n, k;
  };
  std::uint64_t seed = 100;
  for (sizes s : {sizes{1, 1, 1, 1, 1}, sizes{1, 3, 5, 7, 9}, sizes{2, 3, 16, 33, 20},
                  sizes{4, 1, 65, 64, 17}, sizes{2, 2, 70, 130, 1}, sizes{1, 1, 129, 3, 200}})
    for (op ta : {op::none, op::transpose})
      for (op tb : {op::none, op::transpose})
        for (int broadcast = 0; broadcast < 4; ++broadcast)
          for (T beta : {T(0), T(1), T(-0.5)}) {
            extents<4> ea{s.n0, s.n1, s.m, s.k}, eb{s.n0, s.n1, s.k, s.n};
            if (ta == op::transpose) std::swap(ea[2], ea[3]);
            if (tb == op::transpose) std::swap(eb[2], eb[3]);
            if (broadcast & 1) ea[0] = 1;
            if (broadcast & 2) eb[1] = 1;
            layout const how = row_layouts[seed % 4];
            auto a = random_array<T>(ea, how, seed++),
                 b = random_array<T>(eb, row_layouts[(seed / 3) % 4], seed + 1),
                 c = random_array<T>({s.n0, s.n1, s.m, s.n}, layout::gaps, seed + 2);
            // entries below 1: each of k terms rounds by at most k eps / 2, twice for two orders of the sum
            double const bound = static_cast<double>(s.k * s.k + 4) * eps<T>;
            auto const name = text("gemm of %lld x %lld (%lld,%lld,%lld)", static_cast<long long>(s.n0),
                                   static_cast<long long>(s.n1), static_cast<long long>(s.m),
                                   static_cast<long long>(s.n), static_cast<long long>(s.k));
            report(name, agrees(
                             "c", bound,
                             [&](auto& be, auto va, auto vb, auto vc) {
                               be.gemm(ta, tb, T(0.75), reading(va), reading(vb), beta, vc);
                             },
                             a, b, c));
            loops::at(a.write(), {0, 0, 0, 0}) = T(0);
            loops::at(b.write(), {0, 0, 0, 0}) = testing::quiet_nan<T>;
            report(name + ", select", agrees(
                                          "c", bound,
                                          [&](auto& be, auto va, auto vb, auto vc) {
                                            be.gemm_select(ta, tb, T(0.75), reading(va), reading(vb), beta,
                                                           vc);
                                          },
                                          a, b, c));
          }
  // rows of stride 0 and negative strides: not cuBLAS's
  auto a = random_array<T>({1, 2, 6, 5}, layout::contiguous, 1),
       b = random_array<T>({1, 2, 5, 4}, layout::contiguous, 2),
       c = random_array<T>({1, 2, 6, 4}, layout::contiguous, 3);
  report("gemm of rows that repeat or turn back",
         agrees(
             "c", 40 * eps<T>,
             [](auto& be, auto va, auto vb, auto vc) {
               auto same = reading(va), back = reading(vb);
               same.str[2] = 0;
               back.ptr += 4 * back.str[2], back.str[2] = -back.str[2];
               be.gemm(op::none, op::none, T(1), same, back, T(0), vc);
             },
             a, b, c));
  report("gemm of a batch that turns back", agrees(
                                                "c", 40 * eps<T>,
                                                [](auto& be, auto va, auto vb, auto vc) {
                                                  auto back = reading(va);
                                                  back.ptr += back.str[1], back.str[1] = -back.str[1];
                                                  be.gemm(op::none, op::none, T(1), back, reading(vb), T(0),
                                                          vc);
                                                },
                                                a, b, c));
  auto const of = [](index_t direction) {
    view<T const, 4, meta_space> a0(nullptr, {1, 2, 6, 5}, {60, direction * 30, 5, 1});
    return cuda_kernels::path_of(op::none, a0, view<T const, 4, meta_space>(nullptr, {1, 2, 5, 4}),
                                 view<T, 4, meta_space>(nullptr, {1, 2, 6, 4}));
  };
  report("by pointers, for cuBLAS says nothing of strides below 0",
         of(1) == cuda_kernels::gemm_path::strided && of(-1) == cuda_kernels::gemm_path::pointers
             ? testing::holds
             : verdict("another path"));
  report("gemm over an empty sum", agrees(
                                       "c", 0,
                                       [](auto& be, auto va, auto vb, auto vc) {
                                         be.gemm(op::none, op::none, T(1), slice(reading(va), 3, 0, 0),
                                                 slice(reading(vb), 2, 0, 0), T(2), vc);
                                       },
                                       a, b, c));
}

template <class T> void storage_products(test::reporter& report) {
  auto a = random_array<T>({2, 3, 17, 40}, layout::contiguous, 1),
       b = random_array<T>({1, 3, 40, 24}, layout::contiguous, 2),
       c = random_array<T>({2, 3, 17, 24}, layout::contiguous, 3);
  double const half_ulp = std::same_as<T, bf16> ? 0x1p-8 : 0x1p-11;  // of results below 16
  report(text("gemm of %s", dtype_name<T>()), agrees(
                                                  "c", 16 * half_ulp,
                                                  [](auto& be, auto va, auto vb, auto vc) {
                                                    be.gemm(op::none, op::none, 1.0f, reading(va),
                                                            reading(vb), 0.0f, vc);
                                                  },
                                                  a, b, c));
}

template <class T> void rows(test::reporter& report) {
  std::uint64_t seed = 500;
  for (extents<4> const e : {extents<4>{1, 1, 1, 1}, extents<4>{2, 3, 4, 31}, extents<4>{1, 2, 3, 33},
                             extents<4>{2, 1, 5, 257}, extents<4>{1, 1, 2, 1500}, extents<4>{1, 3, 1100, 5}})
    for (layout how : layouts) {
      extents<4> one = e;
      one[3] = 1;
      double const n = static_cast<double>(e[3]);
      auto x = random_array<T>(e, how, seed++), y = random_array<T>(one, layout::gaps, seed++),
           w = random_array<T>(e, layout::gaps, seed++), s = random_array<T>(e, how, seed++);
      auto const name = text("rows of %lld, %s", static_cast<long long>(e[3]), testing::layout_name(how));
      for (T beta : {T(0), T(0.5)})
        report(
            name + ": sum",
            agrees(
                "y", (n * n + 2) * eps<T>,
                [&](auto& be, auto vx, auto vy) { be.reduce(reduction::sum, reading(vx), beta, vy); }, x, y));
      report(
          name + ": max",
          agrees(
              "y", 0, [&](auto& be, auto vx, auto vy) { be.reduce(reduction::max, reading(vx), T(0), vy); },
              x, y));
      report(name + ": cumulative sum",
             agrees(
                 "y", (n * n + 2) * eps<T>,
                 [&](auto& be, auto vx, auto vw) { be.cumulative_sum(reading(vx), vw); }, x, w));
      report(
          name + ": cumulative sum in place",
          agrees(
              "y", (n * n + 2) * eps<T>, [&](auto& be, auto vx) { be.cumulative_sum(reading(vx), vx); }, x));
      auto const softmax = [&](char const* what, auto const& mask, score_origin o) {
        report(name + ": softmax " + what,
               agrees(
                   "y", (n + 16) * eps<T>,
                   [&](auto& be, auto vx, auto vw, auto vy) { be.softmax(mask, o, reading(vx), vw, vy); }, s,
                   w, y));
      };
      softmax("full", full_mask{}, {});
      softmax("causal", causal_mask{}, {0, 0, 2, 1});
      softmax("window", window_mask{3}, {0, 0, 30, 0});
      softmax("dilated", dilated_mask{3, 1}, {1, 0, 5, 2});
      softmax("of which nothing is seen", causal_mask{-5000}, {});
      report(name + ": softmax in place",
             agrees(
                 "y", (n + 16) * eps<T>,
                 [&](auto& be, auto vx, auto vy) {
                   be.softmax(causal_mask{}, score_origin{0, 0, 7, 0}, reading(vx), vx, vy);
                 },
                 s, y));
      report(name + ": softmax backward",
             agrees(
                 "dx", (n + 16) * eps<T>,
                 [&](auto& be, auto p, auto g, auto d) { be.softmax_backward(reading(p), reading(g), d); }, s,
                 x, w));
    }
  // NaN and infinities
  auto x = random_array<T>({1, 1, 4, 40}, layout::contiguous, 1),
       y = random_array<T>({1, 1, 4, 1}, layout::contiguous, 2),
       w = random_array<T>({1, 1, 4, 40}, layout::contiguous, 3);
  loops::at(x.write(), {0, 0, 0, 37}) = testing::quiet_nan<T>;
  for (index_t j = 0; j < 40; ++j) loops::at(x.write(), {0, 0, 1, j}) = -std::numeric_limits<T>::infinity();
  loops::at(x.write(), {0, 0, 2, 39}) = testing::quiet_nan<T>;
  report("max of NaN",
         agrees(
             "y", 0, [&](auto& be, auto vx, auto vy) { be.reduce(reduction::max, reading(vx), T(0), vy); }, x,
             y));
  report("softmax of NaN, of -inf, of a hidden NaN", agrees(
                                                         "y", 64 * eps<T>,
                                                         [&](auto& be, auto vx, auto vw, auto vy) {
                                                           be.softmax(causal_mask{36}, score_origin{},
                                                                      reading(vx), vw, vy);
                                                         },
                                                         x, w, y));
}

template <class T> void norms(test::reporter& report) {
  std::uint64_t seed = 900;
  for (extents<4> const e :
       {extents<4>{1, 1, 1, 1}, extents<4>{2, 3, 5, 33}, extents<4>{1, 1, 70, 64}, extents<4>{1, 2, 3, 1500}})
    for (norm_kind kind : {norm_kind::layer, norm_kind::rms})
      for (layout how : row_layouts) {
        extents<4> one = e, channels{1, 1, 1, e[3]};
        one[3] = 1;
        auto x = random_array<T>(e, how, seed++), y = random_array<T>(e, layout::gaps, seed++),
             gain = random_array<T>(channels, layout::contiguous, seed++),
             bias = random_array<T>(channels, layout::contiguous, seed++),
             mean = random_array<T>(one, layout::contiguous, seed++),
             scale = random_array<T>(one, layout::contiguous, seed++);
        double const n = static_cast<double>(e[3]), r = static_cast<double>(e[0] * e[1] * e[2]);
        // eps 0.1 keeps 1 / sqrt(variance + eps) below 3.2
        report("norm", agrees(
                           "y", 40 * (n + 8) * eps<T>,
                           [&](auto& be, auto vx, auto vg, auto vb, auto vy, auto vm, auto vs) {
                             be.norm(kind, T(0.1), reading(vx), reading(vg), reading(vb), vy, vm, vs);
                           },
                           x, gain, bias, y, mean, scale));
        auto dy = random_array<T>(e, how, seed++), dx = random_array<T>(e, layout::contiguous, seed++),
             dgain = random_array<T>(channels, layout::contiguous, seed++),
             dbias = random_array<T>(channels, layout::contiguous, seed++);
        report("norm backward",
               agrees(
                   "d", 200 * (n + r + 8) * eps<T>,
                   [&](auto& be, auto vx, auto vg, auto vm, auto vs, auto vdy, auto vdx, auto vdg, auto vdb) {
                     be.norm_backward(kind, reading(vx), reading(vg), reading(vm), reading(vs), reading(vdy),
                                      vdx, vdg, vdb);
                   },
                   x, gain, mean, scale, dy, dx, dgain, dbias));
        report("norm backward in place",
               agrees(
                   "d", 200 * (n + r + 8) * eps<T>,
                   [&](auto& be, auto vx, auto vg, auto vm, auto vs, auto vdy, auto vdg) {
                     be.norm_backward(kind, reading(vx), reading(vg), reading(vm), reading(vs), reading(vdy),
                                      vdy, vdg, std::remove_cvref_t<decltype(vdg)>{});
                   },
                   x, gain, mean, scale, dy, dgain));
      }
}

template <class T> void columns(test::reporter& report) {
  std::uint64_t seed = 1300;
  for (layout how : layouts)
    for (index_t width : {index_t{1}, index_t{9}}) {
      extents<4> const e{2, 3, 11, 9};
      extents<4> ea = e;
      ea[3] = width;
      auto a = random_array<T>(ea, how, seed++), x = random_array<T>(e, how, seed++),
           y = random_array<T>(e, layout::gaps, seed++);
      // decays up to e: 11 steps grow to e^11
      report("decayed scan",
             agrees(
                 "y", 60000 * 30 * eps<T>,
                 [](auto& be, auto va, auto vx, auto vy) { be.decayed_scan(reading(va), reading(vx), vy); },
                 a, x, y));
    }
  for (op t : {op::none, op::transpose}) {
    auto a = random_array<T>({2, 1, 7, 7}, layout::gaps, seed++),
         x = random_array<T>({2, 1, 7, 10}, layout::gaps, seed++);
    report("solve", agrees(
                        "x", 128 * 30 * eps<T>,
                        [&](auto& be, auto va, auto vx) { be.solve_unit_lower(t, reading(va), vx); }, a, x));
  }
  auto table = random_array<T>(extents<2>{13, 70}, layout::gaps, seed++),
       dy = random_array<T>(extents<2>{300, 70}, layout::gaps, seed++);
  guarded<index_t, 1> at(extents<1>{300}, layout::contiguous, -1);
  for (index_t i = 0; i < 300; ++i) at.write()(i) = i * i % 13;
  report("gather",
         agrees(
             "y", 0, [](auto& be, auto vt, auto vi, auto vy) { be.gather(reading(vt), reading(vi), vy); },
             table, at, dy));
  report("scatter_add",
         agrees(
             "table", 300 * eps<T>,
             [](auto& be, auto vt, auto vi, auto vy) { be.scatter_add(reading(vi), reading(vy), vt); }, table,
             at, dy));
}

test::suite const elementwise_suite{
    "elementwise", [](test::reporter& r) {
      elementwise<float>(r), elementwise<double>(r), generating<float>(r), generating<double>(r);
      converting<float, bf16>(r), converting<bf16, float>(r), converting<float, f16>(r),
          converting<f16, float>(r);
      converting<double, float>(r), converting<float, double>(r), converting<bf16, bf16>(r);
    }};
test::suite const products_suite{"products", [](test::reporter& r) {
                                   products<float>(r), products<double>(r), storage_products<bf16>(r),
                                       storage_products<f16>(r);
                                 }};
test::suite const rows_suite{"rows", [](test::reporter& r) { rows<float>(r), rows<double>(r); }};
test::suite const norms_suite{"norms", [](test::reporter& r) { norms<float>(r), norms<double>(r); }};
test::suite const columns_suite{"columns", [](test::reporter& r) { columns<float>(r), columns<double>(r); }};

}  // namespace
