// SPDX-License-Identifier: Apache-2.0
/// \file  monarch: two block-diagonal factors w1 (k,q,p), w2 (l,s,r) with l r = k q, real or complex, on the
/// last axis.
///
/// The flat index k q + q' between the factors is read again as r' l + l'; the output index is s' l + l'. The
/// product is linear in w1, w2 and x: the complex one is the sum over their real and imaginary parts of real
/// products times a power of i.
#include <smx/mixers/monarch.hpp>
#include <smx/mixers/run.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {
namespace {

/// i^n as (real, imaginary).
constexpr int powers_of_i[4][2] = {{1, 0}, {0, 1}, {-1, 0}, {0, -1}};

/// The real and, where there is one, imaginary part of a tensor; a complex one has a last axis of 2.
template <class T> struct complex_values {
  std::vector<T> part[2];

  complex_values() = default;
  complex_values(golden const& g, std::string const& name, std::size_t parts, index_t size) {
    std::vector<T> const all = g.file().read<T>(name);
    if (all.size() != static_cast<std::size_t>(size) * parts)
      g.fail("tensor '" + name + "': expected " + std::to_string(size) + " numbers");
    for (std::size_t n = 0; n < all.size(); ++n) part[n % parts].push_back(all[n]);
  }

  /// part[c] += factor * values
  template <class V> void add(std::size_t c, int factor, V const& values) {
    part[c].resize(values.size());
    for (std::size_t n = 0; n < values.size(); ++n) part[c][n] += static_cast<T>(factor) * values[n];
  }

  std::vector<T> interleaved(std::size_t parts) const {
    std::vector<T> all(part[0].size() * parts);
    for (std::size_t n = 0; n < all.size(); ++n) all[n] = part[n % parts][n / parts];
    return all;
  }
};

struct monarch_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    bool const complex = g.option("complex", false);
    std::size_t const parts = complex ? 2 : 1;
    auto const [k, q, p] = g.extents_of<3>("w.w1_bfly", complex ? 2 : 0).n;
    auto const [l, s, r] = g.extents_of<3>("w.w2_bfly", complex ? 2 : 0).n;
    index_t const n = k * p, m = l * s;
    index_t const rows = g.vectors("in.x", n * static_cast<index_t>(parts));
    bool const with_dense = g.contains("out.dense");
    if (with_dense && g.vectors("out.dense", n * static_cast<index_t>(parts)) != m)
      g.fail("tensor 'out.dense': expected (m, n)");
    complex_values<T> const w1(g, "w.w1_bfly", parts, k * q * p), w2(g, "w.w2_bfly", parts, l * s * r);
    complex_values<T> const x(g, "in.x", parts, rows * n), upstream(g, "in.r", parts, rows * m);

    using mixer = smx::monarch<T>;
    mixer const mix{.length = n,
                    .axis = smx::axis::channels,
                    .output_length = m,
                    .given_stages = smx::butterfly_stages(k, q, p, l, s, r)};
    smx::tensor<T, 4, smx::space_t<B>> unit;
    if (with_dense) {
      std::vector<T> identity(static_cast<std::size_t>(n * n));
      for (index_t i = 0; i < n; ++i) identity[static_cast<std::size_t>(i * (n + 1))] = 1;
      unit = upload<T>(be, identity, extents<4>{1, 1, n, n});
    }

    complex_values<T> y, dense_transposed, dw1, dw2, dx;
    for (std::size_t a = 0; a < parts; ++a)
      for (std::size_t b = 0; b < parts; ++b) {
        auto const factor1 = upload<T>(be, w1.part[a], extents<3>{k, q, p});
        auto const factor2 = upload<T>(be, w2.part[b], extents<3>{l, s, r});
        smx::weights_in<mixer, B> w;
        w.factor[0] = factor1;
        w.factor[1] = factor2;
        if (with_dense) {
          auto const columns = elements(smx::forward(be, mix, w, unit).cview());
          for (std::size_t z = 0; z < parts; ++z) dense_transposed.add(z, powers_of_i[a + b][z], columns);
        }
        for (std::size_t e = 0; e < parts; ++e) {
          int const* const power = powers_of_i[(a + b + e) % 4];
          auto const xe = upload<T>(be, x.part[e], extents<4>{1, 1, rows, n});
          auto const ye = elements(smx::forward(be, mix, w, xe).cview());
          std::vector<T> r_e(ye.size());
          for (std::size_t z = 0; z < parts; ++z) {
            y.add(z, power[z], ye);
            for (std::size_t i = 0; i < r_e.size(); ++i)
              r_e[i] += static_cast<T>(power[z]) * upstream.part[z][i];
          }
          auto const d = smx::gradients(be, mix, w, xe, upload<T>(be, r_e, extents<4>{1, 1, rows, m}));
          dw1.add(a, 1, elements(d.w.read().factor[0]));
          dw2.add(b, 1, elements(d.w.read().factor[1]));
          dx.add(e, 1, elements(d.x.cview()));
        }
      }
    if (with_dense) {
      complex_values<T> dense;
      for (std::size_t z = 0; z < parts; ++z) {
        smx::view<T const, 2, smx::host_space> const columns(dense_transposed.part[z].data(), {n, m});
        dense.part[z] = elements(smx::swap_axes(columns, 0, 1));
      }
      c.check("out.dense", dense.interleaved(parts));
    }
    c.check("out.y", y.interleaved(parts));
    c.check("grad.w1_bfly", dw1.interleaved(parts));
    c.check("grad.w2_bfly", dw2.interleaved(parts));
    c.check("grad.in.x", dx.interleaved(parts));
  }
};

}  // namespace

family family_monarch() { return make_family<monarch_family>("monarch"); }

}  // namespace goldens
