// SPDX-License-Identifier: Apache-2.0
/// \file  monarch_projection: the best approximation of a dense M by a Monarch matrix of order 2, real or
/// complex.
///
/// Square: `sizes` (a,b), n = a b, a column blocks and low row digit b; sizes_defaulted: the factor pair of n
/// nearest to sqrt(n), larger first. Rectangular: nblocks1 column blocks and low row digit nblocks2; `rank`
/// terms a slice; `einsum` has b1 terms and rows (l j b2), which are the rows (l b2 j) of the others in
/// another order. Factors have a free sign: what is compared is their product.
#include <array>
#include <complex>

#include <smx/backend/cpu/monarch_projection.hpp>
#include <tests/goldens/family.hpp>

namespace goldens {
namespace {

template <class S> using matrix = smx::tensor<S, 2>;

/// The projection of m with k column blocks, low row digit l and `rank` terms a slice, as a dense matrix.
template <class S, class B>
matrix<S> projected(B& be, matrix<S> const& m, index_t k, index_t l, index_t rank) {
  auto const [rows, columns] = m.extents().n;
  smx::expects_value(columns % k == 0, "config", "column blocks that divide the columns", k);
  smx::expects_value(rows % l == 0, "config", "row blocks that divide the rows", l);
  index_t const p = columns / k, s = rows / l;
  smx::tensor<S, 3> w1(extents<3>{k, rank * l, p}), w2(extents<3>{l, s, k * rank});
  smx::project_monarch(be, m.cview(), w1.view(), w2.view());
  matrix<S> out(m.extents());
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < columns; ++j)
      for (index_t r = 0; r < rank; ++r) {
        index_t const low = i % l, block = j / p;
        out(i, j) += w2(low, i / l, block * rank + r) * w1(block, r * l + low, j % p);
      }
  return out;
}

/// Rows in the order (a,b,c) put into the order (a,c,b).
template <class S> matrix<S> swap_low_digits(matrix<S> const& m, index_t b, index_t c) {
  matrix<S> out(m.extents());
  for (index_t i = 0; i < m.extents()[0]; ++i) {
    index_t const high = i / (b * c), middle = i / c % b, low = i % c;
    for (index_t j = 0; j < m.extents()[1]; ++j) out((high * c + low) * b + middle, j) = m(i, j);
  }
  return out;
}

/// The factor pair of n nearest to its root, larger first.
std::array<index_t, 2> default_sizes(index_t n) {
  index_t small = 1;
  for (index_t d = 1; d <= n / d; ++d)
    if (n % d == 0) small = d;
  return {n / small, small};
}

struct monarch_projection_family {
  template <class T, class B> static void compute(B& be, golden const& g, comparison& c) {
    bool const complex = g.shape("in.M").size() == 3;
    if (complex)
      run<T, std::complex<T>>(be, g, c);
    else
      run<T, T>(be, g, c);
    for (auto const& name : g.file().names())
      if (name.starts_with("out.") && name.find("_w") != std::string::npos)
        c.leave_out(name);  // einsum_w1, ...
    for (char const* factor : {"out.w1_bfly", "out.w2_bfly"}) c.leave_out(factor);
  }

 private:
  template <class T, class S, class B> static void run(B& be, golden const& g, comparison& c) {
    extents<2> const e = g.extents_of<2>("in.M", sizeof(S) / sizeof(T) == 2 ? 2 : 0);
    matrix<S> m(e);
    std::vector<T> const values = g.file().read<T>("in.M");
    if (values.size() * sizeof(T) != m.bytes()) g.fail("tensor 'in.M': expected (m, n) or (m, n, 2)");
    std::memcpy(static_cast<void*>(m.data()), values.data(), m.bytes());  // complex: pairs
    auto const check = [&](char const* name, matrix<S> const& result) {
      std::vector<T> flat(values.size());
      std::memcpy(flat.data(), result.data(), result.bytes());
      c.check(name, flat);
    };

    if (g.contains("out.projected_dense")) {
      auto const [a, b] = sizes(g, e[1]);
      check("out.projected_dense", projected(be, m, a, b, 1));
    }
    if (g.contains("out.simple_dense"))
      check("out.simple_dense", projected(be, m, g.size_option("nblocks1"), g.size_option("nblocks2"), 1));
    if (g.contains("out.rank_dense"))
      check("out.rank_dense",
            projected(be, m, g.size_option("nblocks1"), g.size_option("nblocks2"), g.size_option("rank")));
    if (g.contains("out.einsum_dense")) {
      index_t const l = g.size_option("nblocks2"), b2 = g.size_option("b2");
      smx::expects_value(e[0] % (l * b2) == 0, "config", "b2 and nblocks2 that divide the rows", b2);
      auto const found =
          projected(be, swap_low_digits(m, l, b2), g.size_option("nblocks1"), l, g.size_option("b1"));
      check("out.einsum_dense", swap_low_digits(found, b2, l));
    }
  }

  static std::array<index_t, 2> sizes(golden const& g, index_t n) {
    std::array<index_t, 2> const by_rule = default_sizes(n);
    std::vector<index_t> const given = g.sizes_option("sizes");
    if (given.size() != 2) g.fail("config: 'sizes': expected two numbers");
    if (g.option("sizes_defaulted", false) && !std::equal(given.begin(), given.end(), by_rule.begin()))
      g.fail("config: 'sizes': not the default sizes");
    return {given[0], given[1]};
  }
};

}  // namespace

family family_monarch_projection() { return make_family<monarch_projection_family>("monarch_projection"); }

}  // namespace goldens
